"""A rate book answers which rates a meter had on a day, or why it had none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import NamedTuple

from flowcost.model import Meter, Rate


class Key(NamedTuple):
    """What a rate is looked up by; an empty operation stands for any."""

    usage_type: str
    operation: str
    region: str
    to_region: str


Index = Mapping[Key, tuple[Rate, ...]]


@dataclass(frozen=True)
class NoRate:
    """A meter without a price on that day: its bytes are kept, shown and not priced."""

    provider: str
    key: Key
    on: date
    reason: str

    def __str__(self) -> str:
        where = f"{self.key.region} to {self.key.to_region}".removesuffix(" to ")
        return f"{self.provider} {self.key.usage_type} in {where} on {self.on}: {self.reason}"


def index(rates: Iterable[Rate]) -> Index:
    """Group rates by key, each group ordered by period and tier."""
    groups: dict[Key, list[Rate]] = defaultdict(list)
    for rate in rates:
        groups[Key(rate.usage_type, rate.operation, rate.region, rate.to_region)].append(rate)
    for group in groups.values():
        if len(group) > 1:
            group.sort(key=lambda rate: (rate.effective_from, rate.tier_from))
    return {key: tuple(group) for key, group in groups.items()}


def _spellings(key: Key) -> tuple[Key, ...]:
    return (key, key._replace(operation="")) if key.operation else (key,)


def in_force(rate: Rate, on: date) -> bool:
    """Return whether a rate holds on the UTC day `on`."""
    return rate.effective_from <= on and (rate.effective_to is None or on < rate.effective_to)


@dataclass(frozen=True)
class RateBook:
    """Dated rates, and the book beneath that answers where this one is silent.

    `load` gives the rates of one provider, so that a book of several clouds reads only those
    it is asked for. An upper book overrides per key: on a day on which it has a row for a meter,
    the book beneath is not asked.
    """

    name: str
    providers: tuple[str, ...]
    load: Callable[[str], Index]
    beneath: RateBook | None = None

    def layers(self) -> Iterator[RateBook]:
        """Yield this book, then those beneath it."""
        book: RateBook | None = self
        while book:
            yield book
            book = book.beneath

    def lookup(
        self,
        *,
        provider: str,
        usage_type: str,
        region: str,
        on: date,
        operation: str = "",
        to_region: str = "",
    ) -> tuple[Rate, ...] | NoRate:
        """Return all tiers in force on the UTC day `on`, lowest first, or why there are none.

        A row for this very operation wins over a row for any operation.
        """
        key = Key(usage_type, operation, region, to_region)
        indexes = [book.load(provider) for book in self.layers() if provider in book.providers]
        for rates_of in indexes:
            for spelling in _spellings(key):
                found = rates_of.get(spelling, ())
                if rates := tuple(rate for rate in found if in_force(rate, on)):
                    return rates
        return NoRate(provider, key, on, _silence(indexes, key, on))

    def rates_of(self, provider: str, meter: Meter, on: date) -> tuple[Rate, ...] | NoRate:
        """Return the rates of a meter that a verdict fired; see `lookup`."""
        return self.lookup(
            provider=provider,
            usage_type=meter.usage_type,
            operation=meter.operation,
            region=meter.region,
            to_region=meter.to_region,
            on=on,
        )

    def rates(self) -> Iterator[tuple[str, Rate]]:
        """Yield (book name, rate) of every row, upper books first, each in key order."""
        for book in self.layers():
            for provider in book.providers:
                rates_of = book.load(provider)
                for key in sorted(rates_of):
                    yield from ((book.name, rate) for rate in rates_of[key])


def _silence(indexes: list[Index], key: Key, on: date) -> str:
    """Say why no rate was found, nearest cause first."""
    if not indexes:
        return "no rate book covers this provider"
    dated = [
        rate
        for rates_of in indexes
        for spelling in _spellings(key)
        for rate in rates_of.get(spelling, ())
    ]
    if dated:
        first = min(rate.effective_from for rate in dated)
        if on < first:
            return f"its first rate holds from {first}"
        return f"its last rate held until {max(rate.effective_to or on for rate in dated)}"
    operations = {
        other.operation
        for rates_of in indexes
        for other in rates_of
        if other._replace(operation="") == key._replace(operation="")
    }
    if operations:
        return f"operation {key.operation!r} has no rate; priced: {', '.join(sorted(operations))}"
    return "no rate is known for this meter here"


def book_of(rates: Iterable[Rate], name: str, beneath: RateBook | None = None) -> RateBook:
    """Return a book of rates that are already known to be valid."""
    by_provider: dict[str, list[Rate]] = defaultdict(list)
    for rate in rates:
        by_provider[rate.provider].append(rate)
    indexes: Mapping[str, Index] = MappingProxyType(
        {provider: index(group) for provider, group in by_provider.items()}
    )
    return RateBook(name, tuple(sorted(indexes)), indexes.__getitem__, beneath)
