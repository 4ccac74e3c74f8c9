"""Charges, hour by hour, put into the ledger with the rows they refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.ledger import Input, Ledger, Partition
from flowcost.model import Facts, Rate, Verdict
from flowcost.pipeline.charges import Charges
from flowcost.price.tiers import numerator
from flowcost.schema import RATES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Hour(Struct, frozen=True):
    """A partition, and its rows with the columns of `schema.CHARGES`."""

    partition: Partition
    charges: pa.Table | Charges


class Dimensions(Struct, frozen=True):
    """What charges refer to, with the columns of `schema`: more than one hour needs."""

    identities: pa.Table
    verdicts: pa.Table
    rates: pa.Table


def put_hours(
    con: DuckDBPyConnection,
    ledger: Ledger,
    hours: Iterable[Hour],
    dimensions: Dimensions,
    inputs: Callable[[Partition], Sequence[Input]],
) -> list[Partition]:
    """Put every hour; return the partitions that changed.

    Raises:
        LedgerError: a partition cannot be written; hours written before it stand.
    """
    changed = []
    for hour in hours:
        charges = hour.charges
        ends = pa.concat_arrays([_ids(charges, f"{end}_id") for end in ("local", "remote")])
        contents = {
            "charges": charges,
            "identities": _named(dimensions.identities, "identity_id", ends),
            "verdicts": _named(dimensions.verdicts, "verdict_id", _ids(charges, "verdict_id")),
            "rates": _named(dimensions.rates, "rate_id", _ids(charges, "rate_id")),
        }
        if ledger.put(con, hour.partition, contents, inputs(hour.partition)):
            changed.append(hour.partition)
    return changed


def _ids(charges: pa.Table | Charges, name: str) -> pa.Array:
    return charges[name].unique() if isinstance(charges, pa.Table) else charges.ids(name)


def _named(rows: pa.Table, name: str, ids: pa.Array) -> pa.Table:
    """Return the rows whose id is among `ids`."""
    return rows.filter(pc.is_in(rows[name], ids.unique()))


def rate_rows(rates: dict[int, Rate], book: str) -> pa.Table:
    """Return a table with the columns of `schema.RATES` from rates by content id."""
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
    return pa.table(
        {
            column.name: derived[column.name]
            if column.name in derived
            else pa.array([getattr(rate, column.name) for _, rate in rows], types[column.type])
            for column in RATES
        }
    )


def verdict_rows(decided: dict[int, tuple[Verdict, Facts]]) -> pa.Table:
    """Return a table with the columns of `schema.VERDICTS` from verdicts by content id."""
    verdicts = [verdict for verdict, _ in decided.values()]
    facts = [msgspec.json.encode(facts).decode() for _, facts in decided.values()]
    text = pa.string()
    return pa.table(
        {
            "verdict_id": pa.array(list(decided), pa.int64()),
            "path": pa.array([str(verdict.path) for verdict in verdicts], text),
            "rule": pa.array([verdict.rule for verdict in verdicts], text),
            "confidence": pa.array([str(verdict.confidence) for verdict in verdicts], text),
            "evidence": pa.array([list(v.evidence) for v in verdicts], pa.list_(text)),
            "facts": pa.array(facts, text),
        }
    )
