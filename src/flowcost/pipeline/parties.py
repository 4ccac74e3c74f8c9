"""What rows need of gateways, as columns by number, and of moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from flowcost.arrays import counted, flat
from flowcost.errors import FlowcostError
from flowcost.pipeline.codes import coded, distinct, same
from flowcost.pipeline.gather import Slot
from flowcost.pipeline.world import create

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GATEWAYS = "SELECT kind, account, network, place FROM gateways ORDER BY rowid"
GATEWAY_AT = """
SELECT coalesce(g.rowid + 1, 0)::INTEGER AS gateway
FROM gateways_asked a
LEFT JOIN gateways g ON g.via = a.via AND a.moment >= g.valid_from AND a.moment < g.valid_to
ORDER BY a.asked
"""


def aligned(con: DuckDBPyConnection, query: str, rows: int) -> pa.Table:
    """Return the rows of a query that answers `rows` questions, each once and in their order.

    Raises:
        FlowcostError: a question has two answers.
    """
    found = con.sql(query).to_arrow_table().combine_chunks()
    if len(found) != rows:
        raise FlowcostError(
            "two identities, gateways or routes hold at one moment where one can",
            hint="report this with the inventory: its timeline is wrong",
        )
    return found


def gateways(con: DuckDBPyConnection) -> pa.Table:
    """Return kind, account, network and place of gateways, by number; number 0 has -1 in all."""
    known = con.sql(GATEWAYS).to_arrow_table().combine_chunks()
    nobody = pa.table({name: same(-1, 1) for name in known.column_names})
    return pa.concat_tables([nobody, known]).combine_chunks()


def moments(slots: Sequence[Slot]) -> pa.Array:
    """Return the moments of slots in the engine's naive UTC."""
    return pa.array([slot.moment.replace(tzinfo=None) for slot in slots], pa.timestamp("us"))


def gateways_at(con: DuckDBPyConnection, via: Any, slot: Any, slots: Sequence[Slot]) -> Any:  # noqa: ANN401 - Arrow
    """Return the number of the gateway that each row's `via` was then, 0 if none is known."""
    if not pc.any(pc.greater(via, 0), min_count=0).as_py():
        return same(0, len(via))
    asked = distinct([coded(via), (slot, len(slots))], len(via))
    create(con, "gateways_asked", {
        "asked": counted(asked.size),
        "via": via.take(asked.firsts),
        "moment": moments(slots).take(slot.take(asked.firsts)),
    })  # fmt: skip
    found = aligned(con, GATEWAY_AT, asked.size)["gateway"]
    return flat(found).take(asked.numbers)
