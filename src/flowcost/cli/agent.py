"""`flowcost agent`: count every byte of every pod of this node, and say what it costs."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import click

from flowcost.address import UNSPECIFIED
from flowcost.agent import host, node
from flowcost.agent.apiserver import ApiServer, in_cluster
from flowcost.agent.capture import DEFAULT_PINS, Capture, Settings
from flowcost.agent.conntrack import Conntrack, Dialed
from flowcost.agent.daemon import Agent
from flowcost.agent.exposition import MetricsServer
from flowcost.agent.identities import Identities, Source, service_ranges
from flowcost.agent.imds import Place
from flowcost.agent.spool import Spool
from flowcost.agent.tally import Tally
from flowcost.errors import NotPermittedError, NotSupportedError, UsageError
from flowcost.price import RateBook, list_book, load_book
from flowcost.resolve import Layer, aws_ranges, inventory

NOBODY = Dialed(UNSPECIFIED, 1, UNSPECIFIED, 1, 6)
LOG = logging.getLogger("flowcost.agent")
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option("--node", "node_name", envvar="NODE_NAME", help="Node name. Default: host name.")
@click.option("--cluster", default="", help="Cluster name, kept on every identity.")
@click.option("--kubernetes", type=FOLDER, help="Folder of kubectl JSON, instead of the API.")
@click.option("--api", metavar="URL", help="API server. Default: the cluster around this pod.")
@click.option("--token-file", type=FILE, help="Bearer token for --api.")
@click.option("--ca-file", type=FILE, help="Certificate authority of --api.")
@click.option(
    "--inventory",
    "inventory_path",
    type=click.Path(path_type=Path, exists=True),
    help="Routes, gateways, networks: an inventory, or a declared.toml.",
)
@click.option("--provider", default="", help="Cloud provider. Default: from instance metadata.")
@click.option("--region", default="", help="Region, as us-east-1.")
@click.option("--zone-id", default="", help="Availability zone id, as use1-az1.")
@click.option("--subnet", default="", help="Subnet id, for its routes in declared.toml.")
@click.option("--vpc", default="", help="VPC id.")
@click.option("--account", default="", help="Cloud account id.")
@click.option("--zone", "zones", multiple=True, metavar="NAME=ID", help="us-east-1a=use1-az1 …")
@click.option("--imds/--no-imds", "ask", default=True, help="Ask instance metadata (v2 only).")
@click.option("--service-cidr", "cidrs", multiple=True, help="Block of Service addresses.")
@click.option("--mtu", type=int, help="Largest packet. Default: of the default route's device.")
@click.option("--book", "books", type=click.Path(path_type=Path), multiple=True, help="Rates.")
@click.option("--listen", default="0.0.0.0:9990", show_default=True, help="Of /metrics.")
@click.option("--interval", default=5.0, show_default=True, help="Seconds between drains, ≤ 10.")
@click.option("--top", default=200, show_default=True, help="Conversations shown one by one.")
@click.option("--rows", default=131_072, show_default=True, help="Rows of each kernel flow map.")
@click.option("--spool", "spool_path", type=FOLDER, default=Path("/var/lib/flowcost/spool"))
@click.option("--pins", type=FOLDER, default=DEFAULT_PINS, show_default=True, help="On a bpffs.")
@click.option("--cgroup", type=FOLDER, help="Count below this cgroup. Default: the v2 root.")
@click.option("--stop-counting", is_flag=True, help="Drain, detach from the kernel, and exit.")
def command(
    *,
    node_name: str | None,
    cluster: str,
    kubernetes: Path | None,
    api: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    inventory_path: Path | None,
    provider: str,
    region: str,
    zone_id: str,
    subnet: str,
    vpc: str,
    account: str,
    zones: tuple[str, ...],
    ask: bool,
    cidrs: tuple[str, ...],
    mtu: int | None,
    books: tuple[Path, ...],
    listen: str,
    interval: float,
    top: int,
    rows: int,
    spool_path: Path,
    pins: Path,
    cgroup: Path | None,
    stop_counting: bool,
) -> None:
    """Run the agent of this node until it is told to end.

    It needs CAP_BPF and CAP_NET_ADMIN and the node's network namespace, writes to --spool and
    --pins only, and changes no packet. Counting goes on in the kernel when it ends; the next one
    takes over. `flowcost doctor` says beforehand what is missing.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    address = _listen(listen)
    if not 0 < interval <= 10:
        raise UsageError(
            f"--interval {interval}: must be above 0 and at most 10 seconds",
            hint="conntrack forgets reset connections after 10 seconds, and with them the backend",
        )
    given = Place(
        provider=provider, region=region, zone_id=zone_id, subnet=subnet, vpc=vpc, account=account
    )
    with ExitStack() as held:
        identities = Identities(
            Source(
                node=node_name or node.name(),
                cluster=cluster,
                place=node.place(given, ask=ask),
                api=None if kubernetes else _api(api, token_file, ca_file),
                directory=kubernetes,
                zone_ids=_zones(zones),
                layers=_layers(inventory_path),
            )
        )
        held.callback(identities.close)
        settings = Settings(
            mtu=mtu or node.mtu(),
            service_ranges=service_ranges(identities.directory.world, cidrs),
            flows=rows,
        )
        root = cgroup or _cgroup_root()
        spool = Spool(spool_path)
        held.callback(spool.close)
        capture = Capture.attach(root, spool, pins=pins, settings=settings)
        if stop_counting:
            capture.detach()
            LOG.info("detached; what was counted is in %s", spool_path)
            return
        held.callback(capture.close)
        agent = Agent(
            capture,
            identities,
            _book(books),
            cgroup_root=root,
            connections=_conntrack(held),
            tally=Tally(top=top),
            map_rows=rows,
        )
        agent.round_safely()
        server = MetricsServer(
            address,
            page=lambda: agent.page,
            healthy=lambda: time.monotonic() - agent.status.last_drain < 5 * interval + 10,
        )
        held.callback(server.close)
        LOG.info(
            "counting below %s on %s; metrics on %s:%s",
            root,
            identities.source.node,
            address[0],
            server.port,
        )
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        agent.run(stop, interval)


def _listen(text: str) -> tuple[str, int]:
    host_text, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text!r} is not ADDRESS:PORT", hint="as 0.0.0.0:9990")
    return host_text.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - scraped from elsewhere


def _zones(pairs: tuple[str, ...]) -> dict[str, str]:
    found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(found) != len(pairs):
        raise UsageError("--zone must be NAME=ID, each name once", hint="us-east-1a=use1-az1")
    return found


def _api(url: str | None, token_file: Path | None, ca_file: Path | None) -> ApiServer | None:
    if url:
        return ApiServer(url, token_file=token_file, ca_file=ca_file)
    return in_cluster(os.environ)


def _layers(path: Path | None) -> tuple[Layer, ...]:
    """Return what is known beside Kubernetes, the ranges that AWS publishes included.

    Pods and Services come fresh from the API; an inventory's older ones would contradict them.
    """
    layers = inventory.read(path) if path else [aws_ranges.layer()]
    return tuple(layer for layer in layers if layer.source != "kubernetes")


def _cgroup_root() -> Path:
    root, _ = host.cgroup_root(host.mounts())
    if root is None:
        raise NotSupportedError("cgroup v2 is not mounted", hint="See flowcost doctor.")
    return root


def _book(paths: tuple[Path, ...]) -> RateBook:
    book: RateBook = list_book()
    for path in paths:
        book, warnings = load_book(path, book)
        for warning in warnings:
            LOG.warning("%s: %s", warning.subject, warning.hint)
    return book


def _conntrack(held: ExitStack) -> Conntrack | None:
    """Return the node's connection table; without it, backends of Services are unknown."""
    try:
        connections = Conntrack()
        held.callback(connections.close)
        connections.join([NOBODY])
    except (NotPermittedError, NotSupportedError) as error:
        LOG.warning("%s", error)
        return None
    return connections
