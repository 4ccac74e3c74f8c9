"""`flowcost lab`: the agent against the wire, in a cluster of network namespaces."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click

from flowcost import money
from flowcost.agent import probe
from flowcost.errors import EXIT_FINDINGS, NotSupportedError
from flowcost.lab import cgroup_tree
from flowcost.lab.agents import Agents
from flowcost.lab.cluster import Cluster, require
from flowcost.lab.demo import Story, tell
from flowcost.lab.plan import shop
from flowcost.lab.scenarios import MIB, SCENARIOS, Result, Scenario, measure, start_servers
from flowcost.model import Direction
from flowcost.schema import Column
from flowcost.views.tables import FORMATS, binary, render

COLUMNS = (
    Column("scenario", "text", "what the client did"),
    Column("end", "text", "pod whose end it is"),
    Column("direction", "text", "transmit or receive, seen from the end"),
    Column("agent_bytes", "int", "what the agent counted"),
    Column("wire_bytes", "int", "what the router counted, or the other pod where none is crossed"),
    Column("byte_difference", "int", "agent minus wire"),
    Column("packet_difference", "int", "agent minus wire"),
    Column("list_cost", "text", "of this end, at the marginal rate"),
)


@click.group(invoke_without_command=True)
@click.option("--only", metavar="TEXT", default="", help="Only scenarios whose name has TEXT.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table")
@click.pass_context
def command(context: click.Context, only: str, form: str) -> None:
    """Prove the agent against the wire: run traffic whose bytes a router counts as well.

    Needs root and a kernel that may load BPF. Everything happens in network namespaces that end
    with the command; exit 1 if a sender's bytes differ from the wire's.
    """
    if context.invoked_subcommand:
        return
    _require()
    chosen = [one for one in SCENARIOS if only.lower() in one.name.lower()]
    results = list(_run(chosen, progress=sys.stderr.isatty()))
    rows = [row for result in results for row in _rows(result)]
    content = render(COLUMNS, rows, form)
    click.echo(content, nl=False)
    if form == "table":
        _explain(results)
    if any(leg.difference.bytes for one in results for leg in one.of(Direction.TRANSMIT)):
        sys.exit(EXIT_FINDINGS)


@command.command()
@click.option("--mib", default=256, show_default=True, help="What cart sends, in MiB.")
def demo(mib: int) -> None:
    """Tell who pays when cart calls checkout in the other zone: both legs, live."""
    _require()
    for line in _lines(tell(mib * MIB)):
        click.echo(line)


@command.command()
def sweep() -> None:
    """Remove what killed runs left behind; runs that live are left alone."""
    for name in cgroup_tree.sweep():
        click.echo(f"removed {name}")


def _require() -> None:
    require()
    reason = probe.missing([check for check in probe.checks() if check.name != "pins"])
    if reason:
        raise NotSupportedError(reason, hint="See flowcost doctor.")


def _run(scenarios: Iterable[Scenario], *, progress: bool) -> Iterator[Result]:
    with Cluster(shop()) as cluster, Agents(cluster) as agents:
        start_servers(cluster)
        for scenario in scenarios:
            if progress:
                click.echo(f"\r\033[K{scenario.name}", nl=False, err=True)
            yield measure(cluster, agents, scenario)
    if progress:
        click.echo("\r\033[K", nl=False, err=True)


def _rows(result: Result) -> Iterator[tuple[object, ...]]:
    for leg in result.legs:
        cost = sum(
            line.cost
            for line in result.lines
            if (line.local.k8s_pod_name, line.direction) == (leg.pod, leg.direction)
        )
        yield (
            result.scenario.name,
            leg.pod,
            str(leg.direction),
            leg.agent.bytes,
            leg.wire.bytes,
            leg.difference.bytes,
            leg.difference.packets,
            money.rounded(cost, 6),
        )


def _explain(results: list[Result]) -> None:
    sent = [leg for result in results for leg in result.of(Direction.TRANSMIT)]
    exact = sum(leg.difference.bytes == 0 == leg.difference.packets for leg in sent)
    total = binary(sum(leg.agent.bytes for leg in sent))
    click.echo(f"\n{exact} of {len(sent)} sending ends equal the wire exactly, over {total}.")
    for result in results:
        if result.scenario.gap:
            click.echo(f"{result.scenario.name}: {result.scenario.gap}.")


def _lines(story: Story) -> Iterator[str]:
    cart, checkout = story.own("cart"), story.own("checkout")
    yield "A real kernel: two nodes in two zones, a ClusterIP, kube-proxy's translation."
    yield f"cart-0 (use1-az1) called the Service shop/checkout at {story.dialed}."
    yield ""
    yield "Each end pays for its own end:"
    for where, lines in (("node-a", cart), ("node-b", checkout)):
        for line in lines:
            (meter,) = line.verdict.meters
            yield (
                f"  {where}  {line.local.k8s_workload_name:<8}  {line.direction:<8}  "
                f"{line.verdict.path}  {meter.operation:<13}  {binary(line.bytes):>10}  "
                f"${money.rounded(line.cost, 6)}"
            )
    (dialed,) = {line.dialed for line in cart}
    zones = {line.remote.cloud_availability_zone for line in cart}
    yield f"  cart dialed {dialed}; conntrack says the backend is in {', '.join(sorted(zones))}."
    yield ""
    difference = story.account - story.bill
    yield (
        f"The router saw {binary(story.wire_bytes)}; at 2 x $0.01/GiB the account is billed "
        f"${money.rounded(story.bill, 6)}."
    )
    yield (
        f"The two agents booked ${money.rounded(story.account, 6)}: "
        f"difference ${money.exact(difference)}."
    )
    yield ""
    yield "The same bytes, told by a reader of one address only:"
    yield (
        f"  after the translation: {story.client} -> {story.backend}. Zones are known, the "
        "Service is not: cart pays, and nobody knows for what it dialed."
    )
    yield (
        f"  before the translation: {story.client} -> {story.dialed}. A ClusterIP has no zone: "
        f"path {story.virtual.path} ({story.virtual.rule}), $0 priced, the leg is missed."
    )
