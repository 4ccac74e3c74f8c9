"""A reconciliation as a page: how far it agrees, from measured to billed, what is left, since when.

Enters: records of reconciliations. Leaves: tables of text and exact values for the template
`reconciliation.html`, which the standalone page, the report and the console include. Bars are part
of the tables' rows, drawn without a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from flowcost import __version__, clock, money
from flowcost.bill.history import Record, records
from flowcost.bill.report import agreement
from flowcost.bill.residuals import CELL_REASONS, LINE_REASONS
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection
from flowcost.model import Finding
from flowcost.views.document import render
from flowcost.views.report import Cell, Figure, Section
from flowcost.views.tables import binary, dollars, share

WIDTH = 1000  # of a bar, in its own units


class Step(Struct, frozen=True, kw_only=True):
    """One step of the waterfall: what it adds, and where its bar lies in `WIDTH`.

    `total` steps stand on the ground, the others hang where the one before ended.
    """

    label: str
    note: str
    bytes: Cell
    amount: Cell
    total: bool
    falls: bool
    left: int
    width: int


class Reconciliation(Struct, frozen=True, kw_only=True):
    """Everything the template shows of one month."""

    title: str
    sentence: str
    figures: tuple[Figure, ...]
    steps: tuple[Step, ...]
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]


def within(ledger: Ledger, selection: Selection) -> list[Record]:
    """Return the records of a selection's tenant and months, newest first."""
    start, end = selection.start, selection.end
    return [
        one
        for one in records(ledger, tenant=selection.tenant)
        if (start is None or one.month >= clock.month_of(start))
        and (end is None or one.month < end.date())
    ]


def reconciliation(record: Record, history: Sequence[Record]) -> Reconciliation:
    """Return the page of one record; `history` holds all of its tenant, newest first."""
    return Reconciliation(
        title=f"Bill of {record.month:%Y-%m}",
        sentence=_sentence(record),
        figures=_figures(record),
        steps=waterfall(record),
        sections=(meters(record), residuals(record), unbilled(record), past(history)),
        findings=record.findings,
    )


def document(record: Record, history: Sequence[Record], *, command: str, now: datetime) -> str:
    """Return the page of one record as one HTML document, readable without network or scripts."""
    return render(
        "reconcile.html",
        bill=reconciliation(record, history),
        command=command,
        generated=clock.iso(now),
        version=__version__,
    )


def amount(record: Record, numerator: int) -> str:
    """Return money in the bill's own currency."""
    shown = dollars(numerator)
    return shown if record.currency == "USD" else shown.replace("$", f"{record.currency} ", 1)


def waterfall(record: Record) -> tuple[Step, ...]:
    """Return the steps from what was measured to what is invoiced; each sum is exact.

    Measured bytes at list price, less what no line met, at the prices paid, are what has an owner;
    with each residual it is the billed usage, with credits and discounts the network's invoice.
    List prices are US dollars: a bill in another currency begins at what has an owner.
    """
    owned, met = record.billed - record.residual, record.billed_bytes - record.residual_bytes
    steps: list[tuple[str, str, int | None, int, bool]] = []
    if record.currency == "USD":
        beyond = sum(int(rest.cost) for rest in record.unbilled)
        at_list = int(record.measured)
        steps += [
            ("measured", "by sensors, at list price", record.measured_bytes, at_list, True),
            (
                "met by no line",
                "booked, not on the bill",
                met - record.measured_bytes,
                -beyond,
                False,
            ),
            ("prices paid", "tiers, free lines, contracts", 0, owned - at_list + beyond, False),
        ]
    steps.append(("with an owner", "measured and billed", met, owned, True))
    steps += [
        (rest.reason, "without an owner", rest.bytes, int(rest.cost), False)
        for rest in record.residuals
    ]
    steps.append(("billed usage", "before credits", record.billed_bytes, record.billed, True))
    kinds: dict[str, int] = {}
    for one in record.apart:
        kinds[one.line_type] = kinds.get(one.line_type, 0) + int(one.cost)
    steps += [(kind, "set apart", None, cost, False) for kind, cost in sorted(kinds.items())]
    if kinds:
        net = record.billed + sum(kinds.values())
        steps.append(("network on the invoice", "tax aside", None, net, True))
    return tuple(_placed(record, steps))


def _placed(
    record: Record, steps: Iterable[tuple[str, str, int | None, int, bool]]
) -> Iterable[Step]:
    """Yield the steps with their bars; the scale spans every level that a bar touches."""
    spans = []
    level = 0
    for *_, cost, total in (kept := list(steps)):
        start, level = (0, cost) if total else (level, level + cost)
        spans.append((min(start, level), max(start, level)))
    low, high = min(0, *(low for low, _ in spans)), max(high for _, high in spans)
    whole = max(high - low, 1)
    for (label, note, size, cost, total), (start, end) in zip(kept, spans, strict=True):
        left = (start - low) * WIDTH // whole
        yield Step(
            label=label,
            note=note,
            bytes=Cell("", number=True) if size is None else _bytes(size, signed=not total),
            amount=_money(record, cost, signed=not total),
            total=total,
            falls=cost < 0,
            left=left,
            # A step that is not nothing is never invisible.
            width=max((end - low) * WIDTH // whole - left, 2 if cost else 0),
        )


def meters(record: Record) -> Section:
    """Return how far each meter agrees, dearest first."""
    return Section(
        id="meters",
        title="How far each meter agrees",
        text="What the provider metered beside what sensors saw, by usage type and operation.",
        columns=(
            "usage type", "operation", "lines", "billed bytes", "ledger bytes", "difference",
            "agreement", "billed", "without an owner",
        ),
        rows=[
            [
                Cell(one.usage_type),
                Cell(one.operation),
                _count(one.lines),
                _bytes(one.billed_bytes),
                _bytes(one.ledger_bytes),
                _bytes(one.ledger_bytes - one.billed_bytes, signed=True),
                Cell(agreement(one.ledger_bytes, one.billed_bytes), number=True),
                _money(record, int(one.billed)),
                _money(record, int(one.residual)),
            ]
            for one in record.meters
        ],
    )  # fmt: skip


def residuals(record: Record) -> Section:
    """Return what was billed without an owner, dearest first, each with the next step."""
    return Section(
        id="residuals",
        title="Billed without an owner",
        text="Every billed dollar that is nobody's, by reason, and what to do about it.",
        columns=("reason", "cost", "of the bill", "bytes", "lines", "next step"),
        rows=[
            [
                Cell(one.reason),
                _money(record, int(one.cost)),
                Cell(share(int(one.cost), record.billed), number=True),
                _bytes(one.bytes),
                _count(one.count),
                Cell(LINE_REASONS.get(one.reason, "")),
            ]
            for one in record.residuals
        ],
    )


def unbilled(record: Record) -> Section:
    """Return what was booked and met no line of the bill."""
    sums: dict[str, tuple[int, int, int]] = {}
    for one in record.unbilled:
        cells, size, cost = sums.get(one.reason, (0, 0, 0))
        sums[one.reason] = (cells + one.count, size + one.bytes, cost + int(one.cost))
    return Section(
        id="unbilled",
        title="Booked without a bill",
        text="What sensors saw on a meter and no line met; cells are account, hour, resource.",
        columns=("reason", "list cost", "bytes", "cells", "next step"),
        rows=[
            [
                Cell(reason),
                Cell(dollars(cost), money.exact(cost), number=True),
                _bytes(size),
                _count(cells),
                Cell(CELL_REASONS.get(reason, "")),
            ]
            for reason, (cells, size, cost) in sums.items()
        ],
    )


def past(history: Sequence[Record]) -> Section:
    """Return every reconciliation on record; of a restated month the newest bill counts."""
    seen: set[tuple[str, str, str]] = set()
    rows = []
    for one in history:
        key = (one.tenant, one.payer, f"{one.month:%Y-%m}")
        state = "final" if one.final else "an estimate"
        met = one.billed_bytes - one.residual_bytes
        rows.append(
            [
                Cell(f"{one.month:%Y-%m}"),
                Cell(one.payer or "not named"),
                Cell(one.assembly),
                Cell(one.at[:10], one.at),
                Cell(f"{state}, replaced by a later bill" if key in seen else state),
                _money(one, one.billed),
                _money(one, one.residual),
                Cell(share(one.billed - one.residual, one.billed), number=True),
                Cell(agreement(met, one.billed_bytes), number=True),
            ]
        )
        seen.add(key)
    return Section(
        id="history",
        title="History",
        text="A month that the provider restated keeps every bill that was held against it.",
        columns=(
            "month", "payer", "bill", "reconciled", "state", "billed", "without an owner",
            "with an owner", "bytes met",
        ),
        rows=rows,
    )  # fmt: skip


def _sentence(record: Record) -> str:
    owned = share(record.billed - record.residual, record.billed)
    text = (
        f"Of {amount(record, record.billed)} that {record.payer or 'the payer'} was billed for"
        f" network usage in {record.month:%Y-%m}, {owned} has an owner."
    )
    if not record.residual:
        return f"{text} Nothing is left over."
    worst = record.residuals[0]
    return (
        f"{text} {amount(record, record.residual)} has none; the largest part,"
        f" {amount(record, int(worst.cost))}, is {worst.reason}."
    )


def _figures(record: Record) -> tuple[Figure, ...]:
    met = record.billed_bytes - record.residual_bytes
    return (
        Figure("billed", amount(record, record.billed), f"{record.lines:,} network lines"),
        Figure("with an owner", share(record.billed - record.residual, record.billed),
               amount(record, record.billed - record.residual)),
        Figure("without", amount(record, record.residual), binary(record.residual_bytes)),
        Figure("bytes met", agreement(met, record.billed_bytes), binary(record.billed_bytes)),
        Figure("bill", "final" if record.final else "an estimate", f"reconciled {record.at[:10]}"),
    )  # fmt: skip


def _money(record: Record, numerator: int, *, signed: bool = False) -> Cell:
    text = amount(record, numerator)
    return Cell(
        f"+{text}" if signed and numerator > 0 else text, money.exact(numerator), number=True
    )


def _bytes(size: int, *, signed: bool = False) -> Cell:
    text = binary(size)
    return Cell(f"+{text}" if signed and size > 0 else text, str(size), number=True)


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", str(count), number=True)
