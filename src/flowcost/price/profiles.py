"""Profiles reproduce figures that others publish; the default is what the cloud bills.

The bill needs no table: a verdict names its meters and the rate book prices them. A literal
profile prices a path as a whole, from the bytes one end sent and received, which is how tools
without meters do it. Nothing literal is ever an invoice figure; show its `basis` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from flowcost import money
from flowcost.model import Path
from flowcost.price.table import PriceTable


class Basis(StrEnum):
    """What a figure may be compared with; printed beside every cross-AZ number."""

    ACCOUNT_BILL = "account_bill"
    PER_LEG = "per_leg"


class Metered(StrEnum):
    """Which of an end's bytes a price applies to."""

    TX = "tx"
    RX = "rx"
    BOTH = "both"
    NONE = "none"

    def of(self, tx_bytes: int, rx_bytes: int) -> int:
        """Return the metered bytes."""
        tx = tx_bytes if self in (Metered.TX, Metered.BOTH) else 0
        rx = rx_bytes if self in (Metered.RX, Metered.BOTH) else 0
        return tx + rx


@dataclass(frozen=True)
class Component:
    """One price per GiB in US dollars on one direction; `free_bytes` of a row cost nothing."""

    name: str
    metered: Metered
    price: Decimal
    free_bytes: int = 0

    def cost(self, tx_bytes: int, rx_bytes: int) -> int:
        """Return the money numerator over `money.ONE`."""
        paid = max(self.metered.of(tx_bytes, rx_bytes) - self.free_bytes, 0)
        return paid * money.price_numerator(self.price, money.GIB)


Paths = Mapping[Path, tuple[Component, ...]]


@dataclass(frozen=True)
class Profile:
    """How figures come about.

    Attributes:
        cross_az_legs: 2, sender's and receiver's leg, as billed; 1 as other tools print it.
        paths: provider -> path -> components; None where verdicts and the rate book decide. A
            path that is absent is not priced; provider `""` stands for any.
        assume_provider: whose rates a provider without its own gets; empty: it is not priced.
    """

    name: str
    summary: str
    basis: Basis
    cross_az_legs: int
    paths: Mapping[str, Paths] | None = None
    assume_provider: str = ""

    @property
    def literal(self) -> bool:
        """Return whether the profile prices paths itself, without the rate book."""
        return self.paths is not None

    def assumes(self, provider: str) -> bool:
        """Return whether this provider's figures are another's rates: label them `assumed`."""
        return bool(self.paths and self.assume_provider) and not self._own(provider)

    def _own(self, provider: str) -> Paths | None:
        paths = self.paths or {}
        return paths.get(provider, paths.get(""))

    def components(self, path: Path, provider: str) -> tuple[Component, ...] | None:
        """Return what a path costs by this profile's own table; None if it has no price there.

        Raises:
            ValueError: the profile is not literal.
        """
        if self.paths is None:
            raise ValueError(f"profile {self.name} is priced by verdict and rate book")
        own = self._own(provider) or self.paths.get(self.assume_provider)
        return own.get(path) if own else None


def _flat(metered: Metered, **prices: str) -> dict[Path, tuple[Component, ...]]:
    return {
        Path(name): (Component(name, metered, Decimal(price)),) for name, price in prices.items()
    }


_FREE = (Component("free", Metered.NONE, Decimal(0)),)
_PROCESSING = Component("nat_processing", Metered.BOTH, Decimal("0.045"))
_INTERNET = Component("internet_out", Metered.TX, Decimal("0.09"))

# Tollwing's code of 2026-07 (its sim scenarios): each path metered in its billed direction.
_TX_ONLY: Paths = MappingProxyType(
    {
        Path.SAME_ZONE: _FREE,
        Path.CLOUD_SERVICE_PUBLIC: _FREE,
        Path.INTERNET_EGRESS: (_INTERNET,),
        Path.NAT_GATEWAY: (_PROCESSING, _INTERNET),
        **_flat(Metered.BOTH, cross_az="0.01", vpc_peering="0.01", vpc_endpoint="0.01"),
        **_flat(Metered.TX, cross_region="0.02", transit_gateway="0.02"),
    }
)

# Its published page: both directions everywhere, NAT without egress, and the free 1 GB of an
# account as it was before 2021-12-01.
_PAGE_2025: Paths = MappingProxyType(
    {
        **_TX_ONLY,
        Path.INTERNET_EGRESS: (replace(_INTERNET, free_bytes=money.GIB),),
        Path.NAT_GATEWAY: (_PROCESSING,),
        **_flat(Metered.BOTH, cross_region="0.02", transit_gateway="0.02"),
    }
)


def _traffic_types(cross_az: str, internet: str) -> Paths:
    """Return DevZero's traffic types: (tx + rx) at one first-tier price each.

    Its zone labels do not tell regions apart, and it knows no NAT gateway: both are priced as
    what it takes them for. Traffic from outside and unknown types are not in its model.
    """
    return MappingProxyType(
        _flat(
            Metered.BOTH,
            same_zone="0",
            cross_az=cross_az,
            cross_region=cross_az,
            internet_egress=internet,
            nat_gateway=internet,
            cloud_service_public=internet,
            vpc_endpoint="0.01",
            vpc_peering="0.01",
            external_private="0",
            cloud_infra="0",
        )
    )


_TXRX_FLAT: Mapping[str, Paths] = MappingProxyType(
    {
        "aws": _traffic_types("0.01", "0.09"),
        "azure": _traffic_types("0", "0.087"),
        "gcp": _traffic_types("0.01", "0.12"),
        "oci": _traffic_types("0", "0.0085"),
    }
)

# probectl's defaults (as of 2026-06-01): one flow is one direction, one price per class.
_PER_CLASS: Paths = MappingProxyType(
    _flat(Metered.TX, same_zone="0", cross_az="0.01", cross_region="0.02", internet_egress="0.09")
)

BILL = Profile("bill", "what the cloud bills, by meter", Basis.ACCOUNT_BILL, 2)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            BILL,
            Profile(
                "page_2025",
                "published demo figures: NAT processing only, 1 GiB of egress free",
                Basis.PER_LEG,
                1,
                {"aws": _PAGE_2025},
            ),
            Profile(
                "tx_only",
                "the same demo by its code: billed directions, marginal",
                Basis.PER_LEG,
                1,
                {"aws": _TX_ONLY},
            ),
            Profile(
                "txrx_flat",
                "traffic types: sent and received bytes at one price, unknown clouds as AWS",
                Basis.PER_LEG,
                1,
                _TXRX_FLAT,
                assume_provider="aws",
            ),
            Profile(
                "per_class",
                "one price per class and one-way flow",
                Basis.PER_LEG,
                1,
                {"": _PER_CLASS},
            ),
        )
    }
)


def with_price_table(table: PriceTable) -> Profile:
    """Return `per_class` with an operator's prices; a class left out costs nothing."""
    classes = {
        path: (Component(path, Metered.TX, table.per_gib.get(path, Decimal(0))),)
        for path in _PER_CLASS
    }
    return replace(PROFILES["per_class"], paths={"": MappingProxyType(classes)})


def price_literal(
    profile: Profile, path: Path, tx_bytes: int, rx_bytes: int, provider: str
) -> int | None:
    """Return what a literal profile makes of one end's bytes, or None if it has no price.

    Args:
        profile: a literal one.
        path: canonical billing path.
        tx_bytes: bytes the observed end sent.
        rx_bytes: bytes it received.
        provider: cloud of the observed end.

    Returns:
        The money numerator over `money.ONE`; the sum over the profile's components.

    Raises:
        ValueError: the profile is not literal, or a count is negative.
    """
    if tx_bytes < 0 or rx_bytes < 0:
        raise ValueError(f"bytes must not be negative: {tx_bytes}, {rx_bytes}")
    found = profile.components(path, provider)
    return None if found is None else sum(part.cost(tx_bytes, rx_bytes) for part in found)
