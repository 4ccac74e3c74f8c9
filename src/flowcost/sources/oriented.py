"""What orientation leaves: each group with the end it was observed at and its fate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowcost.sources.grouped import Grouped
from flowcost.sources.nat_like import NatLike
from flowcost.sources.report import Fate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Fates as numbers, in the order of their declaration.
FATES = tuple(Fate)
FATE_NUMBERS = {fate: number for number, fate in enumerate(FATES)}
SOURCE, DESTINATION, UNTOLD = 1, 2, 0


@dataclass
class Oriented:
    """The table `oriented`, and what its numbers stand for.

    Attributes:
        addresses: texts; `packed` their 16 bytes, None where a text is no address.
        via: for each context, the gateway its rows were seen at.
        at_gateway: for each context, whether its observer is a NAT gateway.
        nat_like: interfaces that act as NAT gateways and are in no inventory.
    """

    grouped: Grouped
    packed: list[bytes | None]
    via: list[str]
    at_gateway: list[bool]
    nat_like: list[NatLike] = field(default_factory=list)


def register_addresses(con: DuckDBPyConnection, result: Oriented, private: list[bool]) -> None:
    """Register the table `addresses`: id, private, valid."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    con.register(
        "addresses",
        pa.table(
            {
                "id": pa.array(range(len(private)), pa.int32()),
                "private": pa.array(private, pa.bool_()),
                "valid": pa.array([address is not None for address in result.packed]),
            }
        ),
    )
