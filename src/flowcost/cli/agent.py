"""`flowcost agent`: count every byte of every pod of this node, and say what it costs."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from flowcost.agent import node
from flowcost.agent.capture import DEFAULT_PINS, Capture, Settings
from flowcost.agent.daemon import Agent
from flowcost.agent.endpoint import Endpoint
from flowcost.agent.exposition import MetricsServer
from flowcost.agent.identities import Identities, Source, service_ranges
from flowcost.agent.imds import Place
from flowcost.agent.otlp import Exporter
from flowcost.agent.spool import Spool
from flowcost.agent.tally import Tally
from flowcost.cli import agent_setup as setup
from flowcost.errors import UsageError

LOG = logging.getLogger("flowcost.agent")
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option("--node", "node_name", envvar="NODE_NAME", help="Node name. Default: host name.")
@click.option("--cluster", default="", help="Cluster name, kept on every identity.")
@click.option("--server", metavar="URL", help="Flowcost server to post every flow to.")
@click.option("--token-file", type=FILE, help="Bearer token for --server, read anew each time.")
@click.option("--ca", "ca_file", type=FILE, help="Certificate authority of --server.")
@click.option(
    "--outbox-mib", default=256, show_default=True, help="Kept while it is away, at most."
)
@click.option(
    "--identities",
    "kind",
    type=click.Choice(("kubernetes", "file", "server")),
    help="Default: file with --kubernetes, server with --server, else kubernetes.",
)
@click.option("--kubernetes", type=FOLDER, help="Folder of kubectl JSON, instead of the API.")
@click.option("--api", metavar="URL", help="API server. Default: the cluster around this pod.")
@click.option("--api-token-file", type=FILE, help="Bearer token for --api.")
@click.option("--api-ca-file", type=FILE, help="Certificate authority of --api.")
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
@click.option("--otlp", metavar="URL", help="OpenTelemetry collector to push the metrics to.")
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
    server: str | None,
    token_file: Path | None,
    ca_file: Path | None,
    outbox_mib: int,
    kind: str | None,
    kubernetes: Path | None,
    api: str | None,
    api_token_file: Path | None,
    api_ca_file: Path | None,
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
    otlp: str | None,
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
    address = setup.listen(listen)
    if not 0 < interval <= 10:
        raise UsageError(
            f"--interval {interval}: must be above 0 and at most 10 seconds",
            hint="conntrack forgets reset connections after 10 seconds, and with them the backend",
        )
    if outbox_mib < 1:
        raise UsageError(f"--outbox-mib {outbox_mib}: must be at least 1")
    asked, kind = (
        kind,
        setup.kind_of_identities(kind, directory=kubernetes, api_url=api, server=server),
    )
    given = Place(
        provider=provider, region=region, zone_id=zone_id, subnet=subnet, vpc=vpc, account=account
    )
    with ExitStack() as held:
        spool = Spool(spool_path)
        held.callback(spool.close)
        told = setup.identity_server(server, token_file, ca_file, spool_path)
        identities = Identities(
            Source(
                node=node_name or node.name(),
                cluster=cluster,
                place=node.place(given, ask=ask),
                server=told if kind == "server" else None,
                api=setup.api(api, api_token_file, api_ca_file)
                if kind == "kubernetes" or asked is None
                else None,
                directory=kubernetes if kind == "file" else None,
                zone_ids=setup.zones(zones),
                layers=setup.layers(inventory_path),
            )
        )
        held.callback(identities.close)
        settings = Settings(
            mtu=mtu or node.mtu(),
            service_ranges=service_ranges(identities.directory.world, cidrs),
            flows=rows,
        )
        root = cgroup or setup.cgroup_root()
        capture = Capture.attach(root, spool, pins=pins, settings=settings)
        if stop_counting:
            capture.detach()
            LOG.info("detached; what was counted is in %s", spool_path)
            return
        held.callback(capture.close)
        agent = Agent(
            capture,
            identities,
            setup.book(books),
            cgroup_root=root,
            connections=setup.conntrack(held),
            tally=Tally(top=top),
            map_rows=rows,
            follow_services=not cidrs,
        )
        if server:
            outbox, poster = setup.posting(
                held, spool, server, token_file=token_file, ca_file=ca_file, limit_mib=outbox_mib
            )
            agent.post_to(outbox, poster)
            poster.start()
        agent.round_safely()
        page = MetricsServer(
            address, page=lambda: agent.page, health=lambda: agent.health(5 * interval + 10)
        )
        held.callback(page.close)
        if otlp:
            exporter = Exporter(Endpoint(otlp, what="OpenTelemetry collector"), agent.collect)
            held.callback(exporter.close)
            exporter.start()
        LOG.info(
            "counting below %s on %s; metrics on %s:%s%s",
            root,
            identities.source.node,
            address[0],
            page.port,
            f"; posting to {server}" if server else "",
        )
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        agent.run(stop, interval)
