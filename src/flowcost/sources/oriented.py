"""What orientation leaves: each group with the end it was observed at and its fate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcost.sources.grouped import Grouped
from flowcost.sources.nat_like import NatLike
from flowcost.sources.report import Fate

if TYPE_CHECKING:
    import pyarrow as pa

# Fates as numbers, in the order of their declaration.
FATES = tuple(Fate)
FATE_NUMBERS = {fate: number for number, fate in enumerate(FATES)}
SOURCE, DESTINATION, UNTOLD = 1, 2, 0
GROUPS = ["src", "dst", "context", "code", "moment", "bytes", "packets", "rows", "seconds"]
# The fate is a position in `FATES`; side 1 where the observed end is the source; local and remote
# are positions in `packed`; what was translated is 1 for the source, 2 for the destination.
COLUMNS = ("fate", "side", "local", "remote", "at_nat", "translated")


@dataclass
class Oriented:
    """Groups with the end they were observed at.

    Attributes:
        addresses: texts; `packed` their 16 bytes, None where a text is no address.
        via: for each context, the gateway its rows were seen at.
        at_gateway: for each context, whether its observer is a NAT gateway.
        table: flows and refused ones, with the columns of the groups and `COLUMNS`.
        nat_like: interfaces that act as NAT gateways and are in no inventory.
    """

    grouped: Grouped
    packed: list[bytes | None]
    via: list[str]
    at_gateway: list[bool]
    table: pa.Table | None = None
    nat_like: list[NatLike] = field(default_factory=list)

    def broken(self, groups: pa.Table) -> Any:  # noqa: ANN401 - Arrow array
        """Return which of these groups have an end that is no address."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        if None not in self.packed:
            return pa.repeat(pa.scalar(value=False), len(groups))
        bad = [number for number, address in enumerate(self.packed) if address is None]
        listed = pa.array(bad, pa.int32())
        return pc.or_(pc.is_in(groups["src"], listed), pc.is_in(groups["dst"], listed))


def with_ends(groups: pa.Table, **given: Any) -> pa.Table:  # noqa: ANN401 - Arrow arrays
    """Return groups with the columns of `COLUMNS`; a plain value holds for all of them."""
    import pyarrow as pa  # noqa: PLC0415 - heavy

    kinds = dict(zip(COLUMNS, (pa.int8(), pa.int8(), pa.int32(), pa.int32(), pa.bool_(), pa.int8()),
                     strict=True))  # fmt: skip
    table = groups.select(GROUPS)
    for name, kind in kinds.items():
        value = given[name]
        if isinstance(value, int):
            column = pa.repeat(pa.scalar(value, kind), len(groups))
        else:
            column = value.cast(kind)
        table = table.append_column(name, column)
    return table
