"""The JSON price table: one price per GiB and class, as FinOps engines exchange it.

`{"per_gib": {"inter_az": 0.01}, "source": "…", "as_of": "2026-06-01", "license": "…"}`. A class
that is left out costs nothing and still counts as priced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path as File
from types import MappingProxyType

from flowcost import clock, money, usage_types
from flowcost.errors import RateError
from flowcost.model import Finding, Path, Rate
from flowcost.price.book import RateBook, book_of
from flowcost.price.parse import day

CLASSES: Mapping[str, Path] = MappingProxyType(
    {
        "same_zone": Path.SAME_ZONE,
        "inter_az": Path.CROSS_AZ,
        "inter_region": Path.CROSS_REGION,
        "internet_egress": Path.INTERNET_EGRESS,
    }
)
# The list in round figures, for tools that take one price per class.
PUBLISHED = {
    "same_zone": "0",
    "inter_az": "0.01",
    "inter_region": "0.02",
    "internet_egress": "0.09",
}
_FIELDS = ("per_gib", "source", "as_of", "license")
_LARGEST = 10**9
_EXPECTED = ("inter_az", "inter_region", "internet_egress")


@dataclass(frozen=True)
class PriceTable:
    """Prices per GiB by canonical path, with their provenance."""

    per_gib: Mapping[Path, Decimal]
    source: str
    as_of: date
    license: str = ""

    def age(self, today: date) -> int:
        """Return the days since the prices were read."""
        return (today - self.as_of).days


def _price(name: str, value: object) -> Decimal:
    """Return the price of a class; JSON numbers arrive as Decimal, `NaN` and `Infinity` too."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"per_gib.{name}: {value!r} is not a number")
    price = Decimal(value)
    if price.is_finite() and price > _LARGEST:
        raise ValueError(f"per_gib.{name}: price {price} is over {_LARGEST}")
    try:
        money.price_numerator(price, money.GIB)
    except ValueError as fault:
        raise ValueError(f"per_gib.{name}: {fault}") from None
    return price


def _faults(document: Mapping[str, object], prices: dict[Path, Decimal]) -> Iterator[str]:
    """Fill `prices` and yield what is wrong, by field."""
    for name in document:
        if name not in _FIELDS:
            yield f"{name}: unknown field; known: {', '.join(_FIELDS)}"
    per_gib = document.get("per_gib")
    if not isinstance(per_gib, dict) or not per_gib:
        yield "per_gib: must be an object with at least one class"
    else:
        for name, value in per_gib.items():
            if name not in CLASSES:
                yield f"per_gib.{name}: unknown class; known: {', '.join(CLASSES)}"
                continue
            try:
                prices[CLASSES[name]] = _price(name, value)
            except (TypeError, ValueError) as fault:
                yield str(fault)
    source = document.get("source")
    if not isinstance(source, str) or not source.strip():
        yield "source: must say where the prices come from"
    try:
        day(str(document.get("as_of", "")))
    except ValueError as fault:
        yield f"as_of: {fault}"
    if not isinstance(document.get("license", ""), str):
        yield "license: must be a text"


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a JSON object; a name given twice would silently lose its first value."""
    built = dict(pairs)
    if len(built) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} is given twice")
    return built


def _warnings(path: str, prices: Mapping[Path, Decimal]) -> tuple[Finding, ...]:
    found = [
        Finding(
            code="price-table-class-missing",
            severity="warning",
            subject=path,
            sample=name,
            hint=f"{name} has no price here; add it, or write 0 to say that it is free",
        )
        for name in _EXPECTED
        if CLASSES[name] not in prices
    ]
    if prices.get(Path.SAME_ZONE):
        hint = "traffic inside a zone is free on every cloud; check the class name"
        code = "price-table-same-zone"
        found.append(Finding(code=code, severity="warning", subject=path, hint=hint))
    return tuple(found)


def published_table() -> PriceTable:
    """Return the packaged table: the published list in round figures."""
    return PriceTable(
        MappingProxyType({CLASSES[name]: Decimal(price) for name, price in PUBLISHED.items()}),
        "published list prices in round figures (AWS on-demand, us-east-1)",
        date(2026, 6, 1),
        "facts; no licence is needed",
    )


def load_price_table(path: File) -> tuple[PriceTable, tuple[Finding, ...]]:
    """Read a JSON price table; return it with warnings about what it leaves out.

    Raises:
        RateError: unreadable, not JSON, or with a fault; all faults are listed by field.
    """
    try:
        document = json.loads(
            path.read_text(encoding="utf-8-sig"),
            parse_float=Decimal,
            parse_constant=Decimal,
            object_pairs_hook=_once,
        )
    except (OSError, ValueError) as fault:
        raise RateError(f"{path}: cannot be read as JSON: {fault}") from None
    if not isinstance(document, dict):
        raise RateError(f"{path}: must be a JSON object with {', '.join(_FIELDS)}")
    prices: dict[Path, Decimal] = {}
    if faults := list(_faults(document, prices)):
        raise RateError("\n  ".join(f"{path}, {fault}" for fault in faults))
    table = PriceTable(
        MappingProxyType(prices),
        str(document["source"]),
        day(str(document["as_of"])),
        str(document.get("license", "")),
    )
    return table, _warnings(str(path), prices)


def _meters(table: PriceTable) -> Iterator[tuple[Decimal, str, str, str, str]]:
    """Yield (price, meter, operation, region, to_region) of what each class means on AWS."""
    regions = [region.code for region in usage_types.regions()]
    for region in regions:
        if (price := table.per_gib.get(Path.CROSS_AZ)) is not None:
            for operation in ("InterZone-Out", "InterZone-In"):
                yield price, "DataTransfer-Regional-Bytes", operation, region, ""
        if (price := table.per_gib.get(Path.INTERNET_EGRESS)) is not None:
            yield price, "DataTransfer-Out-Bytes", "", region, ""
        if (price := table.per_gib.get(Path.CROSS_REGION)) is not None:
            for other in regions:
                if other != region:
                    yield price, "AWS-Out-Bytes", "", region, other


def price_table_book(table: PriceTable, name: str, beneath: RateBook | None = None) -> RateBook:
    """Return the table as a book over AWS's meters, without tiers, in every region.

    `inter_az` prices each leg (the sender's and the receiver's), as the cloud bills it.
    """
    rates = (
        Rate(
            provider="aws",
            usage_type=usage_types.usage_type(meter, region, to_region),
            operation=operation,
            region=region,
            to_region=to_region,
            tier_from=0,
            tier_to=None,
            effective_from=clock.EARLIEST.date(),
            effective_to=None,
            price=price,
            unit="GB",
            unit_bytes=money.GIB,
            currency="USD",
            sku="",
            source_url=table.source,
            checked_on=table.as_of,
        )
        for price, meter, operation, region, to_region in _meters(table)
    )
    return book_of(rates, name, beneath)
