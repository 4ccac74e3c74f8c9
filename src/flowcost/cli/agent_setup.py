"""What `flowcost agent` is put together from: options become the agent's parts."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path

from flowcost import clock
from flowcost.address import UNSPECIFIED
from flowcost.agent import host
from flowcost.agent.apiserver import ApiServer, in_cluster
from flowcost.agent.conntrack import Conntrack, Dialed
from flowcost.agent.endpoint import Endpoint
from flowcost.agent.outbox import Outbox
from flowcost.agent.poster import Poster
from flowcost.agent.spool import Spool
from flowcost.agent.told import IdentityServer
from flowcost.errors import NotPermittedError, NotSupportedError, UsageError
from flowcost.price import RateBook, list_book, load_book
from flowcost.resolve import Layer, aws_ranges, inventory

LOG = logging.getLogger("flowcost.agent")
NOBODY: Dialed = (UNSPECIFIED, 1, UNSPECIFIED, 1, 6)
FLUSH_S = 3.0  # for what is left to post when the agent ends


def listen(text: str) -> tuple[str, int]:
    """Return the address and port of `ADDRESS:PORT`.

    Raises:
        UsageError: it is not one.
    """
    host_text, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text!r} is not ADDRESS:PORT", hint="as 0.0.0.0:9990")
    return host_text.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - scraped from elsewhere


def zones(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return zone ids by zone name.

    Raises:
        UsageError: a pair is not `NAME=ID`, or a name stands twice.
    """
    found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(found) != len(pairs):
        raise UsageError("--zone must be NAME=ID, each name once", hint="us-east-1a=use1-az1")
    return found


def api(url: str | None, token_file: Path | None, ca_file: Path | None) -> ApiServer | None:
    """Return the API server named, else that of the cluster around this process, if any."""
    if url:
        return ApiServer(url, token_file=token_file, ca_file=ca_file)
    return in_cluster(os.environ)


def kind_of_identities(
    asked: str | None, *, directory: Path | None, api_url: str | None, server: str | None
) -> str:
    """Return where identities come from: what was asked for, else what the options are for.

    Raises:
        UsageError: what was asked for lacks its option.
    """
    if asked is None:
        if directory:
            return "file"
        return "server" if server and not api_url else "kubernetes"
    for kind, needed, option in (
        ("file", directory, "--kubernetes DIR"),
        ("server", server, "--server URL"),
    ):
        if asked == kind and not needed:
            raise UsageError(f"--identities {kind} needs {option}")
    return asked


def identity_server(
    url: str | None, token_file: Path | None, ca_file: Path | None, spool: Path
) -> IdentityServer | None:
    """Return the server to ask for identities; its last answer is kept beside the spool."""
    if url is None:
        return None
    return IdentityServer(
        url, token_file=token_file, ca_file=ca_file, keep=spool / "identities.json"
    )


def posting(
    held: ExitStack,
    spool: Spool,
    url: str,
    *,
    token_file: Path | None,
    ca_file: Path | None,
    limit_mib: int,
) -> tuple[Outbox, Poster]:
    """Return the outbox beside the spool and the poster that empties it, not yet started."""
    endpoint = Endpoint(
        url,
        what="Flowcost server",
        token_file=token_file,
        ca_file=ca_file,
        most_bytes=1 << 16,
    )
    if token_file and not endpoint.encrypted and not endpoint.on_loopback:
        LOG.warning("%s is not encrypted: whoever is on the way reads the token", url)
    epoch = int(clock.now().timestamp() * 1_000_000) * 1000
    outbox = Outbox(
        spool.directory / "outbox", spool.directory, epoch=epoch, limit_bytes=limit_mib << 20
    )
    poster = Poster(outbox, endpoint)
    held.callback(poster.close, FLUSH_S)
    return outbox, poster


def layers(path: Path | None) -> tuple[Layer, ...]:
    """Return what is known beside Kubernetes, the ranges that AWS publishes included.

    Pods and Services come fresh from the API; an inventory's older ones would contradict them.
    """
    layers = inventory.read(path) if path else [aws_ranges.layer()]
    return tuple(layer for layer in layers if layer.source != "kubernetes")


def cgroup_root() -> Path:
    """Return where cgroup v2 is mounted.

    Raises:
        NotSupportedError: it is not.
    """
    root, _ = host.cgroup_root(host.mounts())
    if root is None:
        raise NotSupportedError("cgroup v2 is not mounted", hint="See flowcost doctor.")
    return root


def book(paths: tuple[Path, ...]) -> RateBook:
    """Return the list rates with the operator's own on top."""
    book: RateBook = list_book()
    for path in paths:
        book, warnings = load_book(path, book)
        for warning in warnings:
            LOG.warning("%s: %s", warning.subject, warning.hint)
    return book


def conntrack(held: ExitStack) -> Conntrack | None:
    """Return the node's connection table; without it, backends of Services are unknown."""
    try:
        connections = Conntrack()
        held.callback(connections.close)
        connections.join([NOBODY])
    except (NotPermittedError, NotSupportedError) as error:
        LOG.warning("%s", error)
        return None
    return connections
