"""What the operator chooses about the server itself: sections of flowcost.toml."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

MIB = 1 << 20


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Certificate and key, PEM; both or neither."""

    certificate: Annotated[Path | None, Meta(description="certificate chain, PEM")] = None
    key: Annotated[Path | None, Meta(description="private key, PEM")] = None

    def __post_init__(self) -> None:
        if (self.certificate is None) is not (self.key is None):
            raise ValueError("certificate and key belong together")


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[server]`: where it listens, and how long it takes to leave."""

    listen: Annotated[str, Meta(description="HOST:PORT; port 0 takes a free one")] = (
        "127.0.0.1:8080"
    )
    drain: Annotated[
        timedelta, Meta(description="how long requests in flight may take at shutdown")
    ] = timedelta(seconds=10)
    tls: Annotated[Tls, Meta(description="serve HTTPS")] = Tls()

    def __post_init__(self) -> None:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"listen = {self.listen!r} is not HOST:PORT, as 127.0.0.1:8080")

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Live(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[live]`: from posted segments to ledger hours."""

    every: Annotated[timedelta, Meta(description="pause between two rounds, at least")] = timedelta(
        seconds=10
    )
    lateness: Annotated[timedelta, Meta(description="how long after its end an hour is open")] = (
        timedelta(hours=2)
    )
    memory: Annotated[str, Meta(description="memory of the engine, as 768MB")] = "768MB"
    threads: Annotated[int, Meta(ge=1, description="threads of the engine")] = 2


class Inbox(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inbox]`: what may wait between the network and the ledger."""

    waiting_bytes: Annotated[
        int, Meta(ge=MIB, description="stored bytes that may wait; beyond, agents are told to wait")
    ] = 2048 * MIB
    free_bytes: Annotated[
        int, Meta(ge=0, description="disk space that is left alone; below, agents are told to wait")
    ] = 512 * MIB


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`: how long what is kept.

    Raises:
        ValueError: hours go before late segments are refused, or days before hours.
    """

    minutes: Annotated[timedelta, Meta(description="flows as posted, for per-minute answers")] = (
        timedelta(days=3)
    )
    late: Annotated[
        timedelta, Meta(description="sums by the hour: how late a segment may still be booked")
    ] = timedelta(days=35)
    identities: Annotated[
        timedelta, Meta(description="who had an address, after the cluster took it back")
    ] = timedelta(days=40)
    hours: Annotated[
        timedelta, Meta(description="hours of the ledger; then each day is kept as one")
    ] = timedelta(days=93)
    days: Annotated[
        timedelta | None, Meta(description="days of the ledger; not given is for ever")
    ] = None

    def __post_init__(self) -> None:
        if self.hours < self.late + timedelta(days=1):
            raise ValueError("hours is to be a day longer than late: what is late changes its hour")
        if self.days is not None and self.days < self.hours:
            raise ValueError("days is to be longer than hours")


class Cluster(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[clusters]]`: a cluster to watch, in one of three ways.

    A `kubeconfig` (with a `context`), a `url` with a token, or the cluster the server runs in.
    """

    name: Annotated[str, Meta(min_length=1, description="k8s.cluster.name of its identities")]
    tenant: Annotated[str, Meta(min_length=1, description="whose cluster it is")] = "default"
    kubeconfig: Annotated[Path | None, Meta(description="how kubectl would reach it")] = None
    context: Annotated[str, Meta(description="which one of the file; its current one")] = ""
    url: Annotated[str, Meta(description="https://HOST:PORT of its API server")] = ""
    token_file: Annotated[Path | None, Meta(description="bearer token for url")] = None
    ca_file: Annotated[Path | None, Meta(description="authority of url, PEM")] = None
    in_cluster: Annotated[bool, Meta(description="the cluster this server runs in")] = False

    def __post_init__(self) -> None:
        if sum((bool(self.kubeconfig), bool(self.url), self.in_cluster)) != 1:
            raise ValueError("one of kubeconfig, url and in_cluster says where the cluster is")
