"""A table of charges, cut into hours and put into the ledger with the rows it refers to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import Struct

from flowcost.ledger import Input, Ledger, Partition
from flowcost.model import Rate
from flowcost.pipeline.world import create
from flowcost.price.tiers import numerator
from flowcost.schema import CHARGES, IDENTITIES, RATES, VERDICTS, Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Tables(Struct, frozen=True):
    """Engine tables that together hold charges and all their dimension rows."""

    charges: str
    identities: str
    verdicts: str
    rates: str


def put_hours(
    con: DuckDBPyConnection,
    ledger: Ledger,
    tables: Tables,
    inputs: Callable[[Partition], Sequence[Input]],
) -> list[Partition]:
    """Put every hour of `tables.charges`; return the partitions that changed.

    Raises:
        LedgerError: a partition cannot be written; hours written before it stand.
    """
    keys = con.execute(
        f"SELECT DISTINCT tenant, cluster, hour FROM {tables.charges} ORDER BY ALL"
    ).fetchall()
    changed = []
    for tenant, cluster, hour in keys:
        partition = Partition(tenant, cluster, hour.replace(tzinfo=UTC))
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE hour_charges AS SELECT * FROM {tables.charges}"
            " WHERE hour = ? AND tenant = ? AND cluster = ?",
            [hour, tenant, cluster],
        )
        if ledger.put(con, partition, _queries(tables), inputs(partition)):
            changed.append(partition)
    return changed


def create_rates(con: DuckDBPyConnection, name: str, rates: dict[int, Rate], book: str) -> None:
    """Create a table `name` with the columns of `schema.RATES` from rates by content id."""
    rows = list(rates.items())
    exact, text, day = pa.decimal128(38, 0), pa.string(), pa.date32()
    derived = {
        "rate_id": pa.array([key for key, _ in rows], pa.int64()),
        "book": pa.array([book for _ in rows], text),
        "price": pa.array([f"{rate.price:f}" for _, rate in rows], text),
        "numerator": pa.array([Decimal(numerator(rate)) for _, rate in rows], exact),
        "tier_from": pa.array([Decimal(rate.tier_from) for _, rate in rows], exact),
    }
    types = {"text": text, "day": day, "int": pa.int64()}
    create(
        con,
        name,
        {
            column.name: derived[column.name]
            if column.name in derived
            else pa.array([getattr(rate, column.name) for _, rate in rows], types[column.type])
            for column in RATES
        },
    )


def _queries(tables: Tables) -> dict[str, str]:
    def names(columns: Sequence[Column]) -> str:
        return ", ".join(column.name for column in columns)

    return {
        "charges": f"SELECT {names(CHARGES)} FROM hour_charges",
        "identities": f"SELECT {names(IDENTITIES)} FROM {tables.identities} WHERE identity_id IN"
        " (SELECT local_id FROM hour_charges UNION SELECT remote_id FROM hour_charges)",
        "verdicts": f"SELECT {names(VERDICTS)} FROM {tables.verdicts}"
        " WHERE verdict_id IN (SELECT verdict_id FROM hour_charges)",
        "rates": f"SELECT {names(RATES)} FROM {tables.rates}"
        " WHERE rate_id IN (SELECT rate_id FROM hour_charges)",
    }
