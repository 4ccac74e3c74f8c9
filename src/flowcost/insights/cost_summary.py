"""The cost summary that FinOps tools exchange: traffic by class, at one price per GiB and class.

It is a projection of the ledger onto another tool's words. Each transmission counts once and at
one price (basis `per_leg`), not as each end is billed; what that tool has no class for is
`unknown` and unpriced, never folded into the nearest class. It is an estimate at list prices and
says so; the bill is `flowcost costs`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from flowcost import clock, money
from flowcost.ledger import Ledger
from flowcost.ledger.ends import UNATTRIBUTED
from flowcost.ledger.query import OTHER, Selection
from flowcost.ledger.totals import since
from flowcost.ledger.transmissions import Cut, Sent, transmissions
from flowcost.model import Path

MOST_KEYS = 1024  # named; what comes after them is one row
MOST_PAIRS = 50
HOURS = 168  # of the trend, and of the pairs' rolling window
CHATTY = money.GIB
MIXED, ANY_ZONE = "mixed", "*"
UNKNOWN = "unknown"
CLASSES = {
    Path.SAME_ZONE: "same_zone",
    Path.CROSS_AZ: "inter_az",
    Path.CROSS_REGION: "inter_region",
    Path.INTERNET_EGRESS: "internet_egress",
    Path.INTERNET_INGRESS: "internet_ingress",
}
_BETWEEN_ZONES = ("inter_az", "inter_region")
_CLASS = ("path", "src_zone", "src_region", "dst_zone", "dst_region", "dst_internet")


class Prices(Struct, frozen=True, kw_only=True):
    """One price per GiB and class, in dollars, and where they come from."""

    per_gib: Mapping[str, Decimal]
    source: str
    as_of: date
    license: str = ""

    def numerator(self, kind: str, size: int) -> int:
        """Return what `size` bytes of a class cost, over `money.ONE`; nothing where no price is."""
        price = self.per_gib.get(kind)
        return 0 if price is None else money.price_numerator(price, money.GIB) * size


class Settings(Struct, frozen=True, kw_only=True):
    """How the summary is made: without prices it is volume only.

    `lifetime` counts pairs since the first flow, as that tool does, not over the last 7 days.
    """

    prices: Prices | None
    lifetime: bool = False


class Amount(Struct, frozen=True):
    """Bytes, and dollars as a numerator over `money.ONE`."""

    bytes: int = 0
    usd: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.bytes + other.bytes, self.usd + other.usd)


class Pair(Struct, frozen=True, kw_only=True):
    """What a service sent from one zone to another in the window."""

    service: str
    src_zone: str
    dst_zone: str
    kind: str
    amount: Amount

    @property
    def chatty(self) -> bool:
        """Return whether it is worth a look."""
        return self.amount.bytes >= CHATTY and self.service != OTHER


class Summary(Struct, frozen=True, kw_only=True):
    """The summary of one tenant, as far as its asker may see it. Instants are UTC."""

    prices: Prices | None
    zones_mapped: bool
    by_class: dict[str, Amount]
    by_service: dict[str, Amount]
    by_team: dict[str, Amount]
    pairs: tuple[Pair, ...]
    trend: tuple[tuple[datetime, Amount], ...]
    data_since: datetime | None

    @property
    def total(self) -> Amount:
        """Return the sum over all classes, `unknown` and `same_zone` among them."""
        return sum(self.by_class.values(), Amount())


def summarise(ledger: Ledger, asker: Selection, settings: Settings, now: datetime) -> Summary:
    """Return the summary of all that `asker` (a tenant and what is visible of it) may see."""
    prices = settings.prices
    everything = replace(asker, where="", start=None, end=None, attribute_by="source")
    recent = clock.hour_of(now) - (HOURS - 1) * clock.HOUR
    whole, between, hourly = transmissions(
        ledger,
        everything,
        Cut(by=("service", "team", *_CLASS)),
        Cut(by=("service", *_CLASS), start=None if settings.lifetime else recent),
        Cut(by=("hour", *_CLASS), start=recent),
    )
    return Summary(
        prices=prices,
        zones_mapped=any(sent.src_zone or sent.dst_zone for sent in whole),
        by_class=_sums(((class_of(sent), sent) for sent in whole), prices),
        by_service=capped(_sums(((sent.service or UNATTRIBUTED, sent) for sent in whole), prices)),
        by_team=capped(_sums(((sent.team or UNATTRIBUTED, sent) for sent in whole), prices)),
        pairs=_pairs(between, prices),
        trend=tuple(sorted(_sums(((_hour(sent), sent) for sent in hourly), prices).items())),
        data_since=since(ledger, everything),
    )


def class_of(sent: Sent) -> str:
    """Return the class of a transmission: its billing path's, or what its zones alone say.

    A path that is proven and has no class here is `unknown`. Where no path is proven this
    summary, as its origin, goes by the zones of the two ends: that is its contract.
    """
    if sent.path in CLASSES:
        return CLASSES[Path(sent.path)]
    if sent.path != Path.UNKNOWN or not sent.src_zone:
        return UNKNOWN
    if not sent.dst_zone:
        return CLASSES[Path.INTERNET_EGRESS] if sent.dst_internet else UNKNOWN
    if sent.src_zone == sent.dst_zone:
        return CLASSES[Path.SAME_ZONE]
    if not (sent.src_region and sent.dst_region):
        return UNKNOWN
    same = sent.src_region == sent.dst_region
    return CLASSES[Path.CROSS_AZ if same else Path.CROSS_REGION]


def capped(sums: Mapping[str, Amount]) -> dict[str, Amount]:
    """Return the largest `MOST_KEYS` by name, and the rest as one; nothing is lost."""
    ranked = sorted(sums.items(), key=lambda item: (-item[1].bytes, item[0]))
    found = dict(ranked[:MOST_KEYS])
    rest = sum((amount for _, amount in ranked[MOST_KEYS:]), Amount())
    if rest.bytes:
        found[OTHER] = found.get(OTHER, Amount()) + rest
    return found


def _pairs(between: Iterable[Sent], prices: Prices | None) -> tuple[Pair, ...]:
    keyed = (
        ((sent.service or UNATTRIBUTED, sent.src_zone, sent.dst_zone, kind), sent)
        for sent in between
        if (kind := class_of(sent)) in _BETWEEN_ZONES
    )
    ranked = sorted(_sums(keyed, prices).items(), key=lambda item: (-item[1].bytes, item[0]))
    found = [
        Pair(service=service, src_zone=src, dst_zone=dst, kind=kind, amount=amount)
        for (service, src, dst, kind), amount in ranked[:MOST_KEYS]
    ]
    rest = sum((amount for _, amount in ranked[MOST_KEYS:]), Amount())
    if rest.bytes:
        found.append(
            Pair(service=OTHER, src_zone=ANY_ZONE, dst_zone=ANY_ZONE, kind=MIXED, amount=rest)
        )
    found.sort(key=lambda pair: -pair.amount.bytes)  # stable: ties stay in order of their keys
    return tuple(found[:MOST_PAIRS])


def _sums(keyed: Iterable[tuple[object, Sent]], prices: Prices | None) -> dict:  # type: ignore[type-arg]
    found: dict[object, Amount] = defaultdict(Amount)
    for key, sent in keyed:
        usd = prices.numerator(class_of(sent), sent.bytes) if prices else 0
        found[key] += Amount(sent.bytes, usd)
    return dict(found)


def _hour(sent: Sent) -> datetime:
    if sent.hour is None:
        raise ValueError("asked for by the hour")
    return sent.hour.replace(tzinfo=UTC)
