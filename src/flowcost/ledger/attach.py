"""Partitions become tables of an engine: the views that every question reads.

Enters: the partitions that answer. Leaves: `charges`, and each dimension with every id once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowcost.ledger.partition import IDS
from flowcost.ledger.remembered import Kept, Reduction, Remembered, merged, rows, together

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from flowcost.ledger.catalogue import Held


def attach_held(
    con: DuckDBPyConnection,
    held: Sequence[Held],
    *,
    summed: Reduction | None = None,
    remembered: Remembered | None = None,
) -> list[Kept]:
    """Create the temporary views of `Ledger.attach` over these partitions."""
    leases = []
    for table, name in IDS.items():
        once = Reduction(sql=f"SELECT DISTINCT ON ({name}) * FROM {{}}")
        kept, left = remembered.parts(con, table, once, held) if remembered else (None, held)
        _view(con, table, merged(table, once, kept, left))
        leases.append(kept)
    if summed is None:
        _view(con, "charges", f"FROM {rows('charges', held)}")
    else:
        kept, left = remembered.parts(con, "charges", summed, held) if remembered else (None, held)
        _view(con, "summed", together("charges", summed, kept, left))
        leases.append(kept)
    return [kept for kept in leases if kept]


def _view(con: DuckDBPyConnection, name: str, source: str) -> None:
    con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {source}")
