"""What one rate book says that another does not, on a given day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from flowcost.model import Rate
from flowcost.price.book import Key, NoRate, RateBook


@dataclass(frozen=True)
class Difference:
    """One tier of one meter whose price differs; None on a side means it has no rate there."""

    provider: str
    key: Key
    tier_from: int
    old: Decimal | None
    new: Decimal | None

    @property
    def change(self) -> str:
        """Return `added`, `removed` or `changed`."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


def _prices(book: RateBook, provider: str, key: Key, on: date) -> dict[int, Rate]:
    found = book.lookup(provider=provider, on=on, **key._asdict())
    return {} if isinstance(found, NoRate) else {rate.tier_from: rate for rate in found}


def differences(old: RateBook, new: RateBook, on: date) -> Iterator[Difference]:
    """Yield every tier that the two books price differently on the UTC day `on`, in key order.

    Books are compared by what they answer, so a row for any operation counts for each operation
    that the other book names.
    """
    keys = {
        (layer_provider, key)
        for book in (old, new)
        for layer in book.layers()
        for layer_provider in layer.providers
        for key in layer.load(layer_provider)
    }
    for provider, key in sorted(keys):
        before, after = _prices(old, provider, key, on), _prices(new, provider, key, on)
        for tier_from in sorted(before.keys() | after.keys()):
            left, right = before.get(tier_from), after.get(tier_from)
            sides = [(side.price, side.unit_bytes) if side else None for side in (left, right)]
            if sides[0] != sides[1]:
                yield Difference(
                    provider,
                    key,
                    tier_from,
                    left.price if left else None,
                    right.price if right else None,
                )
