"""The one-line rule grammars: `cidr=zone[/region]` and `cidr=service:team`, comma-separated.

They are the grammars of environment variables, where a file is out of place. Spaces around an
item are dropped and empty items skipped; the longest prefix wins, whatever the order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from flowcost.address import network
from flowcost.model import Identity
from flowcost.resolve import Claim, Layer
from flowcost.resolve.grammar import Problems
from flowcost.usage_types import region_of_az

# Zone names as the clouds write them; anything else needs its region spelled out.
_ZONES = (
    re.compile(r"(?P<region>[a-z]{2,3}(?:-[a-z]+)+-\d)[a-z]"),  # AWS us-east-1a, us-gov-west-1b
    re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-[a-z]"),  # GCP us-central1-a
)


def parse_zones(text: str) -> Layer:
    """Return the layer of `cidr=zone[/region],…`; without `/region` it follows from the name.

    Raises:
        InventoryError: every rule that cannot be read, quoted.
    """
    return _parse(text, "cidr=zone[/region]", _zone)


def parse_owners(text: str) -> Layer:
    """Return the layer of `cidr=service:team,…`; an empty team leaves the owner unknown.

    Raises:
        InventoryError: every rule that cannot be read, quoted.
    """
    return _parse(text, "cidr=service:team", _owner)


def region_of_zone(zone: str) -> str:
    """Return the region of a zone by its id or name, "" if no cloud writes it so."""
    for pattern in _ZONES:
        if found := pattern.fullmatch(zone):
            return found["region"]
    return region_of_az(zone)


def _zone(text: str) -> Identity:
    zone, slash, region = (part.strip() for part in text.partition("/"))
    if not zone:
        raise ValueError("the zone is empty")
    if slash and not region:
        raise ValueError("the region is empty")
    return Identity(cloud_availability_zone=zone, cloud_region=region or region_of_zone(zone))


def _owner(text: str) -> Identity:
    service, _, team = (part.strip() for part in text.partition(":"))
    if not service:
        raise ValueError("the service is empty")
    return Identity(service_name=service, owner_team=team)


def _parse(text: str, grammar: str, read: Callable[[str], Identity]) -> Layer:
    problems = Problems(grammar)
    claims: dict[tuple[bytes, bytes], Claim] = {}
    for rule in _items(text):
        try:
            cidr, equals, right = rule.partition("=")
            if not equals:
                raise ValueError("no '='")  # noqa: TRY301 - one place words every problem
            first, last = network(cidr.strip())
            claim = Claim(first=first, last=last, identity=read(right))
            if claims.setdefault((first, last), claim) != claim:
                raise ValueError("the same block twice, differently")  # noqa: TRY301
        except ValueError as error:
            problems.add(repr(rule), str(error))
    problems.raise_all()
    return Layer(source="declared", claims=tuple(claims.values()))


def _items(text: str) -> Iterator[str]:
    return (item.strip() for item in text.split(",") if item.strip())
