"""Questions to the ledger: costs by any keys, conversations, trend.

Enters: a `Selection` (which charges, whose point of view). Leaves: a `Table` of exact integers.
The law it keeps: whatever the keys, the rows of one selection add up to its totals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from flowcost.errors import UsageError
from flowcost.ledger import condition, keys
from flowcost.ledger.filter import And, Expression, parse, used
from flowcost.ledger.levels import FINEST, Detail, detail_of
from flowcost.ledger.remembered import Reduction
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.model import Provenance
from flowcost.schema import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OTHER = "(other)"  # the sum of what a limit leaves out
LEGS = ("all", "observed")
# What a total stands for: the account's bill has every leg, a sensor's sight its own.
BASES = {"all": "account_bill", "observed": "per_leg"}
STEPS = ("hour", "day", "month")

_COLUMN = re.compile(r"\bc\.(\w+)")
_SUMMED = {
    "bytes": "CAST(sum(bytes) AS DECIMAL(38,0))",
    "quantity": "CAST(sum(quantity) AS DECIMAL(38,0))",
    "list_cost": "CAST(sum(list_cost) AS DECIMAL(38,0))",
}
_METERED = "CASE WHEN c.unit = 'bytes' THEN c.quantity ELSE 0 END"
_UNPRICED = "CASE WHEN c.unit = 'bytes' AND c.list_cost IS NULL THEN c.quantity ELSE 0 END"

MEASURES = (
    Column("bytes", "bytes", "flow bytes; metered bytes where a key tells meters apart"),
    Column("list_cost", "money", "sum of what has a rate"),
    Column("unpriced_bytes", "bytes", "metered bytes without a rate; never counted as free"),
)


class Selection(Struct, frozen=True, kw_only=True):
    """Which charges a view shows and who pays them.

    `start` and `end` are a half-open interval in UTC; a charge belongs to the hour it starts in.
    `legs` is `all` (what the account is billed) or `observed` (only the metered ends that were
    seen themselves). `where` is text of the asker; `within` is what the asker may see at all, a
    tree from our own code. `tenant` None is every tenant, which only the command line may ask.

    Raises:
        ValueError: `tenant` is empty: it was lost on the way, and would have opened all of them.
    """

    where: str = ""
    start: datetime | None = None
    end: datetime | None = None
    attribute_by: str = "local"
    legs: str = "all"
    tenant: str | None = None
    within: Expression | None = None

    def __post_init__(self) -> None:
        if self.tenant == "":
            raise ValueError("a selection of no tenant; None is every tenant")

    @property
    def basis(self) -> str:
        """Return what a total stands for: `account_bill` or `per_leg`."""
        return BASES[self.legs]


EVERYTHING = Selection()


class Table(Struct, frozen=True):
    """Columns and rows; money is numerators over `money.ONE`."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]


class Scan(Struct, frozen=True, kw_only=True):
    """A selection as SQL: its condition, the values to bind, one charge's bytes, its detail."""

    where: str
    values: list[object]
    bytes: str
    detail: Detail

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the SQL of `MEASURES`."""
        return summed(self.bytes), summed("c.list_cost"), summed(_UNPRICED)

    def charges(self, what: str, rest: str = "") -> str:
        """Return a SELECT of `what` over the selected charges, one by one."""
        return f"SELECT {what} FROM charges AS c {self._joined(what)} {rest}"

    def sums(self, what: str, rest: str = "") -> str:
        """Return a SELECT of `what`, which sums, over the selected charges as `summed`."""
        return f"SELECT {what} FROM summed AS c {self._joined(what)} {rest}"

    def summed(self, *whats: str) -> Reduction:
        """Return the sums of charges by all columns that `whats` and the condition name.

        So ends are looked up once per distinct pair and not once per charge (six times faster by
        conversation over ten million charges), and what was summed can be remembered.
        """
        named = {"unit"}
        for what in whats:
            named.update(_COLUMN.findall(f"{what} {self._joined(what)}"))
        columns = ", ".join(sorted(named - set(_SUMMED)))
        sums = ", ".join(f"{sql} AS {name}" for name, sql in _SUMMED.items())
        return Reduction(
            sql=f"SELECT {columns}, {sums} FROM {{}} GROUP BY {columns}, list_cost IS NULL"
        )

    def _joined(self, what: str) -> str:
        return f"{keys.joins(what, self.where)} WHERE {self.where}"


@reread
def costs(
    ledger: Ledger,
    selection: Selection = EVERYTHING,
    *,
    by: Sequence[str] = ("path",),
    sort: str = "-list_cost",
    limit: int | None = None,
    offset: int | None = None,
) -> Table:
    """Return one row per distinct value of the keys `by`: the keys, then `MEASURES`.

    `sort` is a key or a measure, `-` for descending; ties are broken by the keys. Beyond `limit`
    rows the rest is one row `(other)`, so that the rows always add up; with an `offset` they are
    a page, and no rest is made.

    Raises:
        UsageError: an unknown key, sort or attribution.
        FilterError: the selection's filter cannot be read.
    """
    found = _keys(by, selection)
    scan = scanned(selection, found)
    columns = (*(Column(key.name, key.type, key.doc) for key in found), *MEASURES)
    numbers = range(1, len(found) + 1)
    grouping = f"GROUP BY {', '.join(map(str, numbers))} " if found else ""
    order = f"ORDER BY {_order(sort, columns, len(found))}"
    cut = "" if limit is None else f" LIMIT {int(limit)} OFFSET {int(offset or 0)}"
    named = [key.sql for key in found]
    folded = limit is not None and offset is None  # what the limit leaves out is one more row
    wholes = (
        [f"CAST(sum({sql}) OVER () AS DECIMAL(38,0))" for sql in scan.measures] if folded else []
    )
    what = ", ".join((*named, *scan.measures, *wholes))
    with opened(ledger, selection, scan.detail, scan.summed(what)) as con:
        rows = con.execute(scan.sums(what, grouping + order + cut), scan.values).fetchall()
    width = len(columns)
    exact = [(*row[: len(found)], *map(int, row[len(found) : width])) for row in rows]
    rest = [
        int(total) - sum(row[len(found) + index] for row in exact)
        for index, total in enumerate(rows[0][width:] if rows else ())
    ]
    if any(rest):
        exact.append((*(OTHER if key.type == "text" else None for key in found), *rest))
    return Table(columns, tuple(exact))


def conversations(
    ledger: Ledger, selection: Selection = EVERYTHING, *, limit: int = 10, sort: str = "-list_cost"
) -> Table:
    """Return the dearest conversations by billing path, each with both directions and all legs."""
    return costs(ledger, selection, by=("conversation", "path"), sort=sort, limit=limit)


def trend(
    ledger: Ledger, selection: Selection = EVERYTHING, *, step: str = "day", by: Sequence[str] = ()
) -> Table:
    """Return costs per `step` in ascending time; a step without charges has no row.

    Raises:
        UsageError: `step` is not one of `STEPS`.
    """
    if step not in STEPS:
        raise UsageError(f"cannot step by {step!r}", hint=f"one of {', '.join(STEPS)}")
    return costs(ledger, selection, by=(step, *by), sort=step)


def scanned(selection: Selection, found: Sequence[keys.Key] = ()) -> Scan:
    """Return the selection as SQL; the keys `found` say how bytes are counted.

    Raises:
        UsageError: an unknown attribution or leg.
        FilterError: the filter cannot be read.
    """
    if selection.legs not in LEGS:
        raise UsageError(f"unknown legs {selection.legs!r}", hint=f"one of {', '.join(LEGS)}")
    tree = _both(parse(selection.where), selection.within)
    where, values = condition.sql(tree, selection.attribute_by)
    if selection.legs == "observed":
        where += f" AND c.provenance = '{Provenance.OBSERVED}'"
    named = [keys.find(name, selection.attribute_by) for name in used(tree)]
    metered = any(key.counts_quantities for key in (*named, *found))
    return Scan(
        where=where,
        values=values,
        bytes=_METERED if metered else "c.bytes",
        detail=detail_of((key.name for key in (*named, *found)), selection.attribute_by),
    )


def _both(asked: Expression | None, within: Expression | None) -> Expression | None:
    return And((within, asked)) if asked and within else asked or within


@contextmanager
def opened(
    ledger: Ledger, selection: Selection, detail: Detail = FINEST, summed: Reduction | None = None
) -> Iterator[DuckDBPyConnection]:
    """Attach the selection's hours to an engine of their own (`Ledger.attach`)."""
    start, end, tenant = selection.start, selection.end, selection.tenant or ""
    with ledger.attached(start, end, tenant=tenant, detail=detail, summed=summed) as con:
        yield con


def _keys(by: Sequence[str], selection: Selection) -> list[keys.Key]:
    found = [keys.find(name, selection.attribute_by) for name in by]
    names = [key.name for key in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"group key {name} is given twice", hint="name each key once")
    return found


def _order(sort: str, columns: Sequence[Column], count: int) -> str:
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    names = [column.name for column in columns]
    wanted = name if name in names else keys.canonical(name)
    if wanted not in names:
        raise UsageError(f"cannot sort by {name!r}", hint=f"one of {', '.join(names)}")
    first = f"{names.index(wanted) + 1} {'DESC' if descending else 'ASC'} NULLS LAST"
    # Free rows tie at zero: the larger flow first, then the keys, so that the order is total.
    return ", ".join(
        [first, f"{count + 1} DESC", *(f"{n} NULLS LAST" for n in range(1, count + 1))]
    )


def summed(what: str, where: str = "TRUE") -> str:
    """Return SQL of the exact sum of `what`; 0 where there is nothing."""
    # DuckDB sums BIGINT to HUGEINT, which other engines read as a float: say what it is.
    return f"CAST(coalesce(sum(CASE WHEN {where} THEN {what} END), 0) AS DECIMAL(38,0))"
