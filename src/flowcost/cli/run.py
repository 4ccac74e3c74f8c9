"""`flowcost run`: cloud flow logs to an attributed ledger."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import click

from flowcost.cli.options import Instant, ledger_option
from flowcost.cli.rates import book_option, open_books
from flowcost.errors import SourceError
from flowcost.ledger import Ledger
from flowcost.ledger.findings import findings as ledger_findings
from flowcost.ledger.query import Selection, costs
from flowcost.ledger.totals import totals
from flowcost.model import Finding
from flowcost.pipeline import kept
from flowcost.pipeline.flow_logs import located, reader_of
from flowcost.pipeline.hour import LayersOf, layers_beside
from flowcost.pipeline.memory import frugal
from flowcost.pipeline.run import Progress, Ran, run
from flowcost.pipeline.work import Settings
from flowcost.price import list_book
from flowcost.resolve import Layer, inventory
from flowcost.sources.kernel import Options
from flowcost.sources.objects import Access
from flowcost.sources.record import parse_format
from flowcost.views import summary
from flowcost.views.findings import FINDINGS, finding_rows
from flowcost.views.tables import binary, render


class _Location(click.ParamType[str]):
    """A place of flow logs."""

    name = "text"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Return what to give."""
        del param, ctx
        return "A folder, a file or s3://bucket/prefix, as --flow-logs s3://logs/AWSLogs"


class _InventoryPath(click.Path):
    """A place of an inventory."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Return where to get one."""
        del param, ctx
        return "`flowcost snapshot inventory --aws` writes one; a declared.toml will do"


@click.command()
@click.option(
    "--flow-logs",
    "locations",
    multiple=True,
    required=True,
    type=_Location(),
    help="Folder, file or s3:// URL of VPC, NAT gateway or transit gateway flow logs; repeatable.",
)
@click.option(
    "--inventory",
    "inventory_path",
    type=_InventoryPath(path_type=Path),
    required=True,
    help="What `flowcost snapshot` writes, or a declared.toml.",
)
@ledger_option
@click.option("--from", "start", type=Instant(), help="First UTC hour.")
@click.option("--to", "end", type=Instant(), help="UTC hour after the last.")
@click.option("--tenant", default="default", show_default=True, help="Whose ledger.")
@click.option(
    "--log-format",
    default="",
    metavar="'${version} ${account-id} …'",
    help="Fields of text logs without a header, as the flow log's own format names them.",
)
@click.option(
    "--nat-filter",
    type=click.Choice(["leg", "simple"]),
    default="leg",
    show_default=True,
    help="Which rows of a NAT gateway are booked; simple is for comparison.",
)
@click.option(
    "--tiering",
    type=click.Choice(["marginal", "account_meter"]),
    default="marginal",
    show_default=True,
    help="Price by the first paid tier, or through the tiers of the payer's month.",
)
@book_option
@click.option("--endpoint-url", default="", help="Another S3 endpoint than AWS's.")
@click.option("--region", default="", help="Region of the buckets.")
@click.option("--profile", default="", help="AWS profile that reads the buckets.")
@click.option(
    "--engine",
    default="duckdb",
    show_default=True,
    metavar="duckdb|spark://HOST:PORT",
    help="Where files are read: this machine, or a Spark cluster.",
)
@click.option("--workers", default=0, help="Files read at once here; 0 for one per core.")
@click.option("--memory", default="512MB", show_default=True, help="Memory of the engine.")
@click.option("--again", is_flag=True, help="Read and attribute again what has not changed.")
def command(
    *,
    locations: tuple[str, ...],
    inventory_path: Path,
    ledger_path: Path,
    start: datetime | None,
    end: datetime | None,
    tenant: str,
    log_format: str,
    nat_filter: str,
    tiering: str,
    books: tuple[Path, ...],
    endpoint_url: str,
    region: str,
    profile: str,
    engine: str,
    workers: int,
    memory: str,
    again: bool,
) -> None:
    """Read flow logs, attribute and price them into the ledger, and say what to look at first."""
    frugal()
    ledger = Ledger.open(ledger_path, create=True, memory=memory)
    known = kept.resolve(inventory_path, kept.folder_of(ledger.root))
    settings = Settings(
        options=Options(
            tenant=tenant,
            log_format=parse_format(log_format) if log_format else (),
            nat_filter=nat_filter,
        ),
        start=start,
        end=end,
        tiering=tiering,
        memory=memory,
        again=again,
    )
    rates = open_books(books, list_book())
    access = Access(endpoint=endpoint_url, region=region, profile=profile)
    with located(locations, ledger.root / ".run" / "spool", access) as logs, _bar() as progress:
        reader = reader_of(engine, logs.objects, workers)
        ran = run(
            logs.files,
            known,
            rates,
            ledger,
            settings,
            reader=reader,
            layers_of=_layers_of(ledger.root, tenant, inventory_path),
            progress=progress,
        )
    selection = Selection(start=start, end=end, tenant=tenant)
    found = totals(ledger, selection)
    click.echo(_read(ran))
    table = costs(ledger, selection, by=("path",))
    click.echo(str(render(table.columns, summary.shown(table), "table")).rstrip())
    click.echo(summary.headline(found))
    for line in summary.caveats(found, selection):
        click.echo(line)
    noticed = [n.finding for n in ledger_findings(ledger, selection, found)]
    click.echo(_trouble((*noticed, *logs.findings, *ran.findings)), nl=False)
    if table.rows:
        click.echo(_next(ledger_path, tenant))
    if ran.reports and all(report.error for report in ran.reports):
        first = ran.reports[0].error.splitlines()[0]
        raise SourceError(
            f"none of {len(ran.reports)} files could be read; the first: {first}",
            hint="the findings above name each; the ledger has nothing of them",
        )


def _layers_of(ledger: Path, tenant: str, path: Path) -> LayersOf:
    """Return what is known in an hour; the inventory is read when the first is asked for."""
    known = cache(lambda: layers_beside(ledger, tenant, inventory.load(path)))

    def layers(hour: datetime) -> Iterable[Layer]:
        return known()(hour)

    return layers


def _read(ran: Ran) -> str:
    """Return how the rows of all files are accounted for."""
    rows = sum(report.rows for report in ran.reports)
    by_fate: dict[str, int] = {}
    for report in ran.reports:
        for fate, tally in report.fates.items():
            by_fate[fate] = by_fate.get(fate, 0) + tally.rows
    fates = ", ".join(f"{count:,} {fate}" for fate, count in sorted(by_fate.items()))
    read = f"{ran.files_read} files read, {ran.files_known} known"
    hours = f"{ran.hours} hours attributed, {len(ran.changed)} changed"
    lines = [f"{read}; {hours}", f"{rows:,} records: {fates}" if rows else "no records"]
    external = sum(report.external_bytes for report in ran.reports)
    if external:
        simple = sum(report.translated_bytes for report in ran.reports)
        lines.append(
            f"NAT: each byte is logged twice; {binary(external)} of outer legs are not booked "
            f"(the simple filter would have summed {binary(simple)})"
        )
    lines += [
        f"cross-check, not booked: {binary(total)} seen again by {kind}"
        for kind, total in ran.cross_checked
    ]
    return "\n".join(lines)


def _trouble(found: tuple[Finding, ...]) -> str:
    if not found:
        return ""
    return "What to look at first:\n" + str(render(FINDINGS, finding_rows(found), "table"))


def _next(ledger: Path, tenant: str) -> str:
    """Return the questions that come next, ready to run."""
    where = f"--ledger {shlex.quote(str(ledger))}"
    if tenant != "default":
        where += f" --tenant {shlex.quote(tenant)}"
    return "\n".join(
        (
            "Next:",
            f"  flowcost costs {where} --by conversation,path --top 10",
            f"  flowcost explain {where} --top 3",
            f"  flowcost report {where} -o report.html",
        )
    )


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Show progress on a watched stderr."""
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.progress import Progress as Bar  # noqa: PLC0415 - heavy

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bar.add_task(progress.stage, total=progress.total)
            bar.update(tasks[progress.stage], completed=progress.done)

        yield show
