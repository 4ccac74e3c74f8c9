"""An hour's charges as numbers, made into rows when they are written.

The rows are those of `post`; what they say is looked up row group by row group. Their order is the
ledger's (`ledger.order`), found from the numbers: by the ranks of both ends and of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from flowcost.arrays import Digits, counted, flat
from flowcost.ledger.order import keys, order, packed, ranks, replaced, ties, without
from flowcost.pipeline.codes import same, summed
from flowcost.pipeline.observe import Met
from flowcost.pipeline.world import World
from flowcost.schema import CHARGES

_DIGITS = 18  # of a numerator beside 19 of a quantity, in 38


class Kinds(Struct, frozen=True):
    """What a charge of each kind says.

    `words` are its texts and `ids`; `payer` and `resource` are numbers of the account and of the
    gateway that carry the line, -1 where they are the local end's own; `carried` says whether the
    flow's bytes are on the line.
    """

    words: dict[str, Any]
    ids: dict[str, Any]
    payer: Any
    resource: Any
    carried: Any
    numerators: list[int | None]

    def taken(self, numbers: Any) -> Kinds:  # noqa: ANN401 - Arrow
        """Return some of the kinds."""
        return Kinds(
            words={name: column.take(numbers) for name, column in self.words.items()},
            ids={name: column.take(numbers) for name, column in self.ids.items()},
            payer=self.payer.take(numbers),
            resource=self.resource.take(numbers),
            carried=self.carried.take(numbers),
            numerators=[self.numerators[number] for number in numbers.to_pylist()],
        )

    def ranked(self) -> Digits:
        """Return the place of each kind among the sorted ones; those of equal words share it."""
        of = {**self.words, **self.ids}
        digits = [ranks(of[name]) for name in keys(CHARGES) if name in of]
        return ranks(packed(digits, len(self.payer)))


class Ends(Struct, frozen=True):
    """What charges say of their ends.

    `ids`, `accounts` and `resources` are by party. An end that nobody knows is minus its address's
    number; `ranks` are of all ends, from the last address's on.
    """

    ids: Any
    accounts: Any
    resources: Any
    addresses: Any
    account_words: Any
    resource_words: Any
    ranks: Digits

    def rank(self, ends: Any) -> Digits:  # noqa: ANN401 - Arrow
        """Return the place of each end among the ends sorted by id and address."""
        least = pa.scalar(len(self.addresses) - 1, ends.type)
        return self.ranks[0].take(pc.add(ends, least)), self.ranks[1]


def ends_of(world: World, met: Met) -> Ends:
    """Return what charges say of the ends of one attribution."""
    ids, addresses = flat(world.identity_rows["identity_id"]), met.given.addresses
    gateways = len(world.vias.values)
    return Ends(
        ids=ids,
        accounts=flat(met.parties["account"]),
        resources=pc.add(flat(met.parties["resource"]), pa.scalar(gateways, pa.int32())),
        addresses=addresses,
        account_words=pa.array(world.accounts.values, pa.string()),
        resource_words=pa.array([*world.vias.values, *world.resources.values], pa.string()),
        ranks=end_ranks(ids, addresses),
    )


def end_ranks(ids: Any, addresses: Any) -> Digits:  # noqa: ANN401 - Arrow
    """Return `Ends.ranks` of the ids by party, and of the addresses by number."""
    unknown, count = ranks(addresses)
    known, more = ranks(ids)
    # Nobody's id is the smallest, so unknown ends come first, by address.
    backwards = unknown.take(pc.array_sort_indices(counted(len(addresses)), order="descending"))
    return pa.concat_arrays([backwards, pc.add(known.slice(1), count)]), count + more


class Charges:
    """Rows of one hour: numbers `kind`, `near`, `far`, and `bytes` and `packets`.

    Rows of one kind between the same two ends are one charge.
    """

    def __init__(self, rows: pa.Table, hour: datetime, kinds: Kinds, ends: Ends) -> None:
        self._rows, self._kinds, self._ends = rows, kinds, ends
        self._hour = hour.replace(tzinfo=None)
        found, equal = self._sorted()
        if len(equal):
            places = found.take(equal)
            alike = summed(self._rows.take(places), ("kind", "near", "far"))
            if len(alike) < len(places):
                others = self._rows.take(without(found, equal))
                self._rows = pa.concat_tables([others, alike.select(others.column_names)])
                self._rows = self._rows.combine_chunks()
                found, equal = self._sorted()
        if len(equal):
            places = found.take(equal)
            among = order(self._made(self._rows.take(places)), CHARGES)
            found = replaced(found, equal, places.take(among))
        self._order = found

    def _sorted(self) -> tuple[Any, Any]:
        """Return the positions of rows in their order, and which places of it are undecided."""
        ranked, size = self._kinds.ranked()
        rows = self._rows
        local, remote = (self._ends.rank(flat(rows[name])) for name in ("near", "far"))
        kind = ranked.take(flat(rows["kind"]))
        key = packed([local, remote, (kind, size)], len(rows))
        found = pc.array_sort_indices(key)
        return found, ties(key.take(found))

    def __len__(self) -> int:
        return len(self._rows)

    def piece(self, start: int, size: int) -> pa.Table:
        """Return rows with the columns of `schema.CHARGES`."""
        return self._made(self._rows.take(self._order.slice(start, size)))

    def ids(self, name: str) -> pa.Array:
        """Return the distinct values of a column of ids."""
        if name in self._kinds.ids:
            return self._kinds.ids[name].take(flat(self._rows["kind"]).unique()).unique()
        ends = flat(self._rows["near" if name == "local_id" else "far"]).unique()
        return self._ends.ids.take(pc.max_element_wise(ends, 0)).unique()

    def _made(self, rows: pa.Table) -> pa.Table:
        kinds, ends = self._kinds, self._ends
        kind, quantity, near = (flat(rows[name]) for name in ("kind", "bytes", "near"))
        given = {name: pa.DictionaryArray.from_arrays(kind, texts)
                 for name, texts in kinds.words.items()}  # fmt: skip
        party = pc.max_element_wise(near, pa.scalar(0, near.type))
        payer, resource = kinds.payer.take(kind), kinds.resource.take(kind)
        payer = pc.if_else(pc.less(payer, 0), ends.accounts.take(party), payer)
        resource = pc.if_else(pc.less(resource, 0), ends.resources.take(party), resource)
        given["payer_account"] = pa.DictionaryArray.from_arrays(payer, ends.account_words)
        given["resource_id"] = pa.DictionaryArray.from_arrays(resource, ends.resource_words)
        for end, who in (("local", near), ("remote", flat(rows["far"]))):
            known = pc.greater(who, 0)
            given[f"{end}_id"] = ends.ids.take(pc.max_element_wise(who, pa.scalar(0, who.type)))
            address = pc.if_else(known, pa.scalar(None, pa.int32()), pc.negate(who))
            given[f"{end}_address"] = pa.DictionaryArray.from_arrays(address, ends.addresses)
        carried = kinds.carried.take(kind)
        given["bytes"] = pc.if_else(carried, quantity, 0)
        given["packets"] = pc.if_else(carried, flat(rows["packets"]), 0)
        given["quantity"] = quantity
        given["list_cost"] = _costs(quantity, kind, kinds.numerators)
        given["hour"] = same(self._hour, len(rows), pa.timestamp("us"))
        for name, column in kinds.ids.items():
            given[name] = column.take(kind)
        return pa.table({column.name: given[column.name] for column in CHARGES})


def _costs(quantity: Any, kind: Any, numerators: Sequence[int | None]) -> pa.Array:  # noqa: ANN401
    """Return quantity times numerator, exactly; null where there is no price."""
    if all(numerator is None or numerator < 10**_DIGITS for numerator in numerators):
        exact = pa.array([None if n is None else Decimal(n) for n in numerators],
                         pa.decimal128(_DIGITS, 0))  # fmt: skip
        return pc.multiply(quantity.cast(pa.decimal128(19, 0)), exact.take(kind))
    found = [
        None if price is None else Decimal(count * price)
        for count, price in zip(
            quantity.to_pylist(), (numerators[number] for number in kind.to_pylist()), strict=True
        )
    ]
    return pa.array(found, pa.decimal128(38, 0))
