"""A book must say one price for every byte of every month it covers, under names AWS bills."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from types import MappingProxyType

from flowcost import usage_types
from flowcost.model import Rate
from flowcost.price.parse import Problem, Row

GLOBAL_REGION = "global"
FREE_ALLOWANCE = "Global-DataTransfer-Out-Bytes"

_UNITS_OF = {
    usage_types.Per.BYTES: {"GB"},
    usage_types.Per.HOURS: {"Hrs"},
    usage_types.Per.LCU_HOURS: {"LCU-Hrs"},
    usage_types.Per.GBPS_HOURS: {"Gbps-hrs"},
}


def _aws(rate: Rate) -> Iterator[tuple[str, str]]:
    """Yield (field, message) for names that no AWS bill uses."""
    parsed = usage_types.parse(rate.usage_type)
    if parsed is None:
        yield "usage_type", f"unknown meter {rate.usage_type!r}"
        return
    known = {region.code for region in usage_types.regions()}
    if rate.region not in known | {GLOBAL_REGION}:
        yield "region", f"unknown region {rate.region!r}"
    elif (rate.region == GLOBAL_REGION) != (rate.usage_type == FREE_ALLOWANCE):
        yield "region", f"{rate.usage_type} is not billed in {rate.region}"
    elif parsed.region not in ("", rate.region):
        yield "region", f"{rate.usage_type} is billed in {parsed.region}, not in {rate.region}"
    elif parsed.to_region != rate.to_region:
        wanted = parsed.to_region or "none"
        yield "to_region", f"{rate.usage_type} has second region {wanted}, not {rate.to_region!r}"
    else:
        billed = usage_types.usage_type(parsed.meter, rate.region, rate.to_region)
        if billed != rate.usage_type:
            yield "usage_type", f"{rate.usage_type} is spelled {billed} on the bill"
    units = _UNITS_OF[usage_types.METERS[parsed.meter]]
    if rate.unit not in units:
        yield "unit", f"{rate.usage_type} is counted in {', '.join(units)}, not {rate.unit}"
    elif (rate.unit == "GB") != (rate.unit_bytes > 1):
        yield "unit_bytes", f"{rate.unit_bytes} does not fit unit {rate.unit}"


# One vocabulary per provider; a provider without one cannot be priced.
VOCABULARIES: Mapping[str, Callable[[Rate], Iterator[tuple[str, str]]]] = MappingProxyType(
    {"aws": _aws}
)


def _period(rate: Rate) -> tuple[date, date]:
    return rate.effective_from, rate.effective_to or date.max


def _tier_problems(rows: list[Row]) -> Iterator[Problem]:
    """Check the tiers of one key in one period, which are sorted by `tier_from`."""
    first, last = rows[0], rows[-1]
    if first.rate.tier_from != 0:
        message = f"gap: no tier below {first.rate.tier_from}"
        yield Problem(first.file, first.line, "tier_from", message)
    for low, high in pairwise(rows):
        end = low.rate.tier_to
        if end is None or end > high.rate.tier_from:
            message = f"overlap with row {low.line} of {low.file}"
            yield Problem(high.file, high.line, "tier_from", message)
        elif end < high.rate.tier_from:
            message = f"gap: no tier from {end} to {high.rate.tier_from}"
            yield Problem(high.file, high.line, "tier_from", message)
    if last.rate.tier_to is not None and last.rate.usage_type != FREE_ALLOWANCE:
        message = f"gap: no tier above {last.rate.tier_to}"
        yield Problem(last.file, last.line, "tier_to", message)
    for name in ("unit", "unit_bytes", "currency"):
        for row in rows[1:]:
            if getattr(row.rate, name) != getattr(first.rate, name):
                message = f"differs from row {first.line} of {first.file}, the same meter"
                yield Problem(row.file, row.line, name, message)


def _key_problems(rows: list[Row]) -> Iterator[Problem]:
    """Check all rows of one key: periods must not overlap nor leave a hole between them."""
    periods: dict[tuple[date, date], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (*_period(row.rate), row.rate.tier_from)):
        periods[_period(row.rate)].append(row)
    for (_, end), (start, later) in pairwise(periods):
        row = periods[start, later][0]
        if end > start:
            message = f"overlap: an earlier row of this meter holds until {end}"
            yield Problem(row.file, row.line, "effective_from", message)
        elif end < start:
            message = f"gap: no rate from {end} to {start}"
            yield Problem(row.file, row.line, "effective_from", message)
    for tiers in periods.values():
        yield from _tier_problems(tiers)


def problems_of(rows: Iterable[Row]) -> list[Problem]:
    """Return every gap, overlap and unknown name of a book, in file order."""
    found: list[Problem] = []
    keys: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        rate = row.rate
        vocabulary = VOCABULARIES.get(rate.provider)
        if vocabulary is None:
            message = f"unknown provider {rate.provider!r}; known: {', '.join(VOCABULARIES)}"
            found.append(Problem(row.file, row.line, "provider", message))
        else:
            found += [Problem(row.file, row.line, *fault) for fault in vocabulary(rate)]
        key = (rate.provider, rate.usage_type, rate.operation, rate.region, rate.to_region)
        keys[key].append(row)
    for group in keys.values():
        found += _key_problems(group)
    return sorted(found)
