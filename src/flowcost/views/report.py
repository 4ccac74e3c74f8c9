"""The report: one HTML file about one selection, readable without network and without scripts.

Every chart is drawn by the page from the table below it, so a figure exists once. Tables carry
the exact value of every cell beside the rounded one that is shown.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta

from msgspec import Struct, structs

from flowcost import __version__, clock
from flowcost.ledger import Ledger
from flowcost.ledger.findings import Noticed, findings
from flowcost.ledger.query import Selection, Table, conversations, costs, trend
from flowcost.ledger.totals import Totals, totals
from flowcost.schema import Column
from flowcost.views import summary
from flowcost.views.document import render
from flowcost.views.tables import NUMBERS, binary, dollars, human, plain, share

FLOWS = 24  # links of the sankey that a reader can still tell apart
ROWS = 10


class Cell(Struct, frozen=True):
    """What a table cell shows, and its exact value where that is a number."""

    text: str
    exact: str = ""
    number: bool = False


class Section(Struct, frozen=True, kw_only=True):
    """A titled table; `chart` names the drawing the page makes from it."""

    id: str
    title: str
    text: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    chart: str = ""


class Figure(Struct, frozen=True):
    """One of the numbers on top."""

    label: str
    value: str
    note: str = ""


def build(ledger: Ledger, selection: Selection, *, title: str, now: datetime) -> str:
    """Return the report as one HTML document.

    Raises:
        FilterError: the selection's filter cannot be read.
    """
    found = totals(ledger, selection)
    before = _previous(ledger, selection)
    flows = costs(ledger, selection, by=("owner", "path", "other.owner"), limit=FLOWS)
    return render(
        "report.html",
        scripts=("echarts.min.js", "charts.js"),
        title=title,
        generated=clock.iso(now),
        sentence=_sentence(found, flows),
        figures=_figures(found, before, now),
        caveats=summary.caveats(found, selection),
        scope=_scope(selection),
        command=_command(selection),
        sections=_sections(ledger, selection, found, flows),
        notices=[_notice(noticed) for noticed in findings(ledger, selection)],
        bill=_bill(ledger, selection),
        version=__version__,
    )


def _bill(ledger: Ledger, selection: Selection) -> object:
    """Return the newest reconciliation on record of the interval; of everything, or not at all."""
    # It is made of this page's own parts.
    from flowcost.views.reconciliation import reconciliation, within  # noqa: PLC0415

    if selection.where or selection.within:
        return None
    known = within(ledger, selection)
    return reconciliation(known[0], known) if known else None


def _sections(ledger: Ledger, selection: Selection, found: Totals, flows: Table) -> list[Section]:
    step = _step(found)
    over_time = trend(ledger, selection, step=step, by=("path",))
    talks = conversations(ledger, selection, limit=ROWS)
    bill = costs(ledger, selection, by=("payer_account", "usage_type"), limit=ROWS)
    return [
        _section(
            "flows",
            "Who pays whom",
            "From the paying owner over the billing path to the other end; widths are money.",
            ("owner", "billing path", "other end", "bytes", "list cost", "unpriced bytes"),
            flows,
            chart="sankey",
        ),
        _pivoted("trend", f"Cost per {step}", step, over_time),
        _section(
            "paths",
            "By billing path",
            "How the provider meters it.",
            ("billing path", "bytes", "list cost", "unpriced bytes"),
            costs(ledger, selection, by=("path",)),
        ),
        _section(
            "owners",
            "By owner",
            "Team, else namespace, service or account of the paying end.",
            ("owner", "bytes", "list cost", "unpriced bytes"),
            costs(ledger, selection, by=("owner",), limit=ROWS),
        ),
        _section(
            "conversations",
            "Dearest conversations",
            "Both directions and every metered leg between two ends.",
            ("conversation", "billing path", "bytes", "list cost", "unpriced bytes"),
            talks,
        ),
        _section(
            "bill",
            "As the bill says it",
            "Account and usage type, verbatim; bytes are what each meter counted.",
            ("account", "usage type", "metered bytes", "list cost", "unpriced bytes"),
            bill,
        ),
    ]


def _section(
    name: str, title: str, text: str, columns: tuple[str, ...], table: Table, *, chart: str = ""
) -> Section:
    rows = [
        [_cell(column, value) for column, value in zip(table.columns, row, strict=True)]
        for row in summary.shown(table)
    ]
    return Section(id=name, title=title, text=text, columns=columns, rows=rows, chart=chart)


def _pivoted(name: str, title: str, step: str, table: Table) -> Section:
    """Return costs with a row per step and a column per path, dearest path first."""
    costs_of: dict[str, int] = {}
    steps: dict[object, dict[str, int]] = {}
    for when, path, _, cost, _ in table.rows:
        costs_of[str(path)] = costs_of.get(str(path), 0) + cost
        steps.setdefault(when, {})[str(path)] = cost
    paths = sorted((path for path, cost in costs_of.items() if cost), key=lambda p: -costs_of[p])
    money = Column("list_cost", "money", "")
    rows = [
        [
            _cell(table.columns[0], when),
            *(_cell(money, values.get(path, 0)) for path in paths),
            _cell(money, sum(values.values())),
        ]
        for when, values in steps.items()
    ]
    return Section(
        id=name,
        title=title,
        text=f"List cost by billing path. A {step} without charges has no row.",
        columns=(f"{step} (UTC)", *paths, "all paths"),
        rows=rows,
        chart="bars",
    )


def _cell(column: Column, value: object) -> Cell:
    number = column.type in NUMBERS
    exact = "" if value is None or not number else str(plain(column, value))
    return Cell(human(column, value) or "(none)", exact, number)


def _step(found: Totals) -> str:
    if found.data_since is None or found.data_until is None:
        return "day"
    span = found.data_until - found.data_since
    if span <= timedelta(days=3):
        return "hour"
    return "day" if span <= timedelta(days=120) else "month"


def _previous(ledger: Ledger, selection: Selection) -> Totals | None:
    """Return the totals of the interval of equal length just before, if both ends are given."""
    if selection.start is None or selection.end is None:
        return None
    start = selection.start - (selection.end - selection.start)
    found = totals(ledger, structs.replace(selection, start=start, end=selection.start))
    return found if found.days else None


def _sentence(found: Totals, flows: Table) -> str:
    whole = summary.headline(found)
    if not found.list_cost:
        return whole
    owner, path, other, _, cost, _ = flows.rows[0]
    part = share(cost, found.list_cost)
    return f"{whole} The largest part, {part}, is {owner} over {path} to {other}."


def _figures(found: Totals, before: Totals | None, now: datetime) -> list[Figure]:
    change = Figure("change", "n/a", "no charges in the interval before")
    if before is not None:
        difference = found.list_cost - before.list_cost
        sign = "+" if difference > 0 else ""
        note = f"from {dollars(before.list_cost)}"
        change = Figure("change", f"{sign}{dollars(difference)}", note)
    return [
        Figure("list cost", dollars(found.list_cost), binary(found.bytes)),
        change,
        Figure(
            "with an owner",
            share(found.attributed_cost, found.list_cost),
            f"of the cost; {share(found.attributed_bytes, found.bytes)} of the bytes",
        ),
        Figure(
            "unpriced",
            binary(found.unpriced_bytes),
            f"unknown path: {share(found.unknown_bytes, found.bytes)} of the bytes",
        ),
        Figure(
            "newest data",
            summary.age(found.data_until, now) if found.data_until else "n/a",
            f"until {clock.iso(found.data_until)}" if found.data_until else "no charges",
        ),
    ]


def _notice(noticed: Noticed) -> dict[str, str]:
    finding = noticed.finding
    amount = "unpriced" if noticed.list_cost is None else dollars(noticed.list_cost)
    return {
        "severity": finding.severity,
        "subject": finding.subject,
        "size": binary(finding.bytes),
        "amount": f"saves {amount}" if noticed.saves else amount,
        "hint": finding.hint,
        "where": noticed.where,
    }


def _scope(selection: Selection) -> list[tuple[str, str]]:
    return [
        ("filter", selection.where or "everything"),
        ("from", clock.iso(selection.start) if selection.start else "the first hour"),
        ("to", clock.iso(selection.end) if selection.end else "the last hour"),
        ("attributed by", selection.attribute_by),
        ("basis", summary.BASIS_WORDS[selection.basis]),
    ]


def _command(selection: Selection) -> str:
    """Return the command line that prints the same charges."""
    words = ["flowcost", "costs", "--by", "owner,path,other.owner"]
    for option, value in (
        ("--filter", selection.where),
        ("--from", clock.iso(selection.start) if selection.start else ""),
        ("--to", clock.iso(selection.end) if selection.end else ""),
        ("--attribute-by", "" if selection.attribute_by == "local" else selection.attribute_by),
        ("--legs", "" if selection.legs == "all" else selection.legs),
        ("--tenant", selection.tenant),
    ):
        words += [option, value] if value else []
    return shlex.join(words)
