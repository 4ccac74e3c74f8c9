"""Tiers by the account's own meter: which price each byte of a month got.

`settle` is a function of what the ledger holds for a payer's month, never of the order in which
hours arrived: it undoes earlier splits, walks the hours in time order, and rewrites the hours
whose prices change. It can be interrupted and run again. Within an hour that spans a tier bound
every charge is split by largest remainder, so each tier's bytes, and each charge's, stay exact.

All accounts of a tenant are taken as one payer, as consolidated billing aggregates them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from msgspec import Struct

from flowcost import clock, money
from flowcost.content import remember
from flowcost.ledger import Ledger, Partition
from flowcost.model import Finding, Rate
from flowcost.pipeline.partitions import Dimensions, Hour, put_hours, rate_rows
from flowcost.pipeline.world import create
from flowcost.price import NoRate, RateBook
from flowcost.price.tiers import Position, Segment, account_meter, free_pool, numerator
from flowcost.schema import CHARGES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Internet egress of all regions shares the payer's free allowance; nothing else has one.
POOLED = "DataTransfer-Out-Bytes"

_MEASURES = ("bytes", "packets", "quantity", "rate_id", "list_cost")
_KEYS = tuple(column.name for column in CHARGES if column.name not in _MEASURES)


class _Use(Struct, frozen=True):
    """What one meter counted in one region and hour; operations share a meter's tiers."""

    hour: datetime
    provider: str
    usage_type: str
    region: str
    operation: str
    quantity: int


class _Priced(Struct, frozen=True):
    """A use and the segments its quantity fell into."""

    use: _Use
    segments: tuple[Segment, ...]


def settle(
    ledger: Ledger,
    rates: RateBook,
    *,
    tenant: str,
    month: date,
    free_tier_counts_in_tier: bool = True,
) -> list[Partition]:
    """Price one tenant's UTC month by cumulative use; return the partitions that changed.

    Raises:
        LedgerError: a partition cannot be written; hours settled before it stand.
    """
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    end = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
    with duckdb.connect() as con:
        ledger.attach(con, start, end, tenant=tenant)
        tiered = _tiered_meters(con, rates)
        create(con, "tiered", {"usage_type": pa.array(tiered, pa.string())})
        con.execute(
            f"CREATE TEMP TABLE metered AS SELECT {', '.join(_KEYS)}, sum(bytes)::BIGINT AS bytes,"
            " sum(packets)::BIGINT AS packets, sum(quantity)::BIGINT AS quantity"
            " FROM charges WHERE usage_type IN (FROM tiered) GROUP BY ALL"
        )
        priced = list(_walk(_uses(con), rates, counts_in_tier=free_tier_counts_in_tier))
        _apply(con, priced, rates.name)
        return _rewrite(con, ledger, start, end, tenant)


def settle_months(
    ledger: Ledger,
    rates: RateBook,
    *,
    tenant: str,
    hours: Iterable[datetime],
    kept_from: datetime,
) -> list[Finding]:
    """Settle the months of `hours`; return a finding for each that began before `kept_from`.

    Raises:
        LedgerError: a partition cannot be written; hours settled before it stand.
    """
    found = []
    for month in sorted({clock.month_of(hour) for hour in hours}):
        if datetime(month.year, month.month, 1, tzinfo=UTC) >= kept_from:
            settle(ledger, rates, tenant=tenant, month=month)
            continue
        found.append(
            Finding(
                code="month-not-settled",
                severity="warning",
                subject=f"{month:%Y-%m}",
                hint="hours of this month were pruned, so its tiers can no longer be counted from "
                "its first byte; new hours have the first paid tier's price",
            )
        )
    return found


def _tiered_meters(con: DuckDBPyConnection, rates: RateBook) -> list[str]:
    """Return the usage types that occur and have more than one tier on some day they occur."""
    found = con.execute(
        "SELECT DISTINCT provider, usage_type, operation, region, hour::DATE"
        " FROM charges WHERE usage_type <> '' ORDER BY ALL"
    ).fetchall()
    return sorted(
        {
            usage_type
            for provider, usage_type, operation, region, day in found
            if not isinstance(
                tiers := rates.lookup(
                    provider=provider,
                    usage_type=usage_type,
                    operation=operation,
                    region=region,
                    on=day,
                ),
                NoRate,
            )
            and len(tiers) > 1
        }
    )


def _uses(con: DuckDBPyConnection) -> list[_Use]:
    rows = con.execute(
        "SELECT hour, provider, usage_type, region, min(operation), sum(quantity)::BIGINT"
        " FROM metered GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [_Use(*row) for row in rows]


def _walk(uses: list[_Use], rates: RateBook, *, counts_in_tier: bool) -> Iterator[_Priced]:
    """Price uses in time order. One position per pool of meters is all the state there is."""
    positions: dict[tuple[str, str], Position] = {}
    for (_, provider, meter), group in groupby(
        sorted(uses, key=lambda use: (use.hour, use.provider, _meter(use), use.region)),
        key=lambda use: (use.hour, use.provider, _meter(use)),
    ):
        hour = {use.region: use for use in group}
        on = next(iter(hour.values())).hour.date()
        tiers = {region: _tiers(use, rates, on) for region, use in hour.items()}
        split, positions[provider, meter] = account_meter(
            positions.get((provider, meter), Position()),
            {region: use.quantity for region, use in hour.items()},
            tiers,
            pool=free_pool(rates, provider, on) if meter == POOLED else 0,
            free_tier_counts_in_tier=counts_in_tier,
        )
        for region, use in hour.items():
            yield _Priced(use, split[region])


def _meter(use: _Use) -> str:
    """Return the meter without its region prefix; meters of one name aggregate separately."""
    return POOLED if use.usage_type.endswith(POOLED) else use.usage_type


def _tiers(use: _Use, rates: RateBook, on: date) -> tuple[Rate, ...]:
    found = rates.lookup(
        provider=use.provider,
        usage_type=use.usage_type,
        operation=use.operation,
        region=use.region,
        on=on,
    )
    return () if isinstance(found, NoRate) else found


def _apply(con: DuckDBPyConnection, priced: Sequence[_Priced], book: str) -> None:
    """Create `settled`: the metered charges with the rate each part of them got."""
    rates: dict[int, Rate] = {}
    parts: list[tuple[object, ...]] = []
    for each in priced:
        use = each.use
        rows = con.execute(
            "SELECT rowid, quantity, bytes, packets FROM metered"
            " WHERE hour = ? AND usage_type = ? AND region = ?"
            f" ORDER BY {', '.join(_KEYS)}",
            [use.hour, use.usage_type, use.region],
        ).fetchall()
        left = [quantity for _, quantity, _, _ in rows]
        first = [True] * len(rows)
        for segment in each.segments:
            rate_id = remember(rates, segment.rate) if segment.rate else None
            price = numerator(segment.rate) if segment.rate else 0
            for index, share in enumerate(money.split(segment.quantity, left)):
                if not share and (left[index] or not first[index]):
                    continue
                left[index] -= share
                row, _, size, packets = rows[index]
                carried = (size, packets) if first[index] else (0, 0)
                first[index] = False
                parts.append((row, share, *carried, rate_id, Decimal(share * price)))
    columns = list(zip(*parts, strict=True)) if parts else [()] * 6
    types = (pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.decimal128(38, 0))
    names = ("row", "quantity", "bytes", "packets", "rate_id", "list_cost")
    create(
        con,
        "parts",
        {
            name: pa.array(column, kind)
            for name, column, kind in zip(names, columns, types, strict=True)
        },
    )
    create(con, "rates_settled", rate_rows(rates, book))
    con.execute(
        f"CREATE TEMP TABLE settled AS SELECT {', '.join('m.' + key for key in _KEYS)},"
        " p.* EXCLUDE (row) FROM metered m JOIN parts p ON p.row = m.rowid"
    )


def _rewrite(
    con: DuckDBPyConnection, ledger: Ledger, start: datetime, end: datetime, tenant: str
) -> list[Partition]:
    """Put every hour again; hours that come out as they are stay untouched."""
    columns = ", ".join(column.name for column in CHARGES)
    con.execute(
        f"CREATE TEMP TABLE month_charges AS SELECT {columns} FROM charges"
        f" WHERE usage_type NOT IN (FROM tiered) UNION ALL SELECT {columns} FROM settled"
    )
    # The views read files that the first hour's rewrite replaces.
    known = {
        table: con.sql(f"FROM {table}").to_arrow_table() for table in ("identities", "verdicts")
    }
    dimensions = Dimensions(
        **known, rates=con.sql(
            "SELECT DISTINCT ON (rate_id) * FROM (FROM rates UNION ALL FROM rates_settled)"
        ).to_arrow_table(),
    )  # fmt: skip
    inputs = {m.partition: m.inputs for m in ledger.manifests(start, end, tenant=tenant)}
    hours = (Hour(partition, _rows(con, partition)) for partition in sorted(inputs))
    return put_hours(con, ledger, hours, dimensions, inputs.__getitem__)


def _rows(con: DuckDBPyConnection, partition: Partition) -> pa.Table:
    return con.sql(
        "SELECT * FROM month_charges WHERE hour = ? AND tenant = ? AND cluster = ?",
        params=[partition.hour.replace(tzinfo=None), partition.tenant, partition.cluster],
    ).to_arrow_table()
