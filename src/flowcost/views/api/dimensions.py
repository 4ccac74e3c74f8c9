"""What charges refer to: the dated rates that priced them, and the identities that pay."""

from __future__ import annotations

from datetime import date

from msgspec import Struct
from starlette.responses import Response

from flowcost import money
from flowcost.ledger.rates_used import rates_used
from flowcost.views.api.costs import Costs, Paged, Sort, page
from flowcost.views.api.endpoint import Asked
from flowcost.views.api.parameters import Window

# What tells one end from another, in the order a reader looks for it.
_IDENTITY = (
    "name",
    "kind",
    "owner.team",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.workload.kind",
    "k8s.workload.name",
    "service.name",
    "stage",
    "cloud.account.id",
    "cloud.region",
    "cloud.availability_zone",
    "cloud.service",
    "dns.name",
)


class IdentitiesAsked(Paged, frozen=True, kw_only=True):
    """What `/v1/identities` takes."""

    sort: Sort = ""


class RateShown(Struct, frozen=True, kw_only=True):
    """A rate and what it priced; the first columns are null where no rate is known.

    `price` is decimal text per `unit_bytes` quantities; `age_days` counts from the day on which
    it was last seen in its source.
    """

    book: str | None
    usage_type: str | None
    operation: str | None
    region: str | None
    to_region: str | None
    price: str | None
    currency: str | None
    unit_bytes: int | None
    tier_from: int | None
    effective_from: date | None
    effective_to: date | None
    source_url: str | None
    checked_on: date | None
    age_days: int | None
    quantity: int
    unit: str
    list_cost: str


class Rates(Struct, frozen=True, kw_only=True):
    """Every rate that priced a charge of the selection, dearest first."""

    rates: list[RateShown]


_OF_RATE = (
    *("book", "usage_type", "operation", "region", "to_region", "price", "currency"),
    *("unit_bytes", "tier_from", "effective_from", "effective_to", "source_url", "checked_on"),
)


def rates(asked: Asked, takes: Window) -> Rates:
    """Return the rates behind the figures: where each was published, when read, what it made."""
    today = asked.service.now().date()
    return Rates(
        rates=[
            RateShown(
                **{name: getattr(each.rate, name, None) for name in _OF_RATE},
                age_days=(today - each.rate.checked_on).days if each.rate else None,
                quantity=each.quantity,
                unit=each.unit,
                list_cost=money.exact(each.list_cost),
            )
            for each in rates_used(asked.service.ledger, asked.selection(takes))
        ]
    )


def identities(asked: Asked, takes: IdentitiesAsked) -> Costs | Response:
    """Return who pays, with all that is known of them, and what; a page at a time."""
    return page(asked, takes, _IDENTITY, takes.sort or "-list_cost")
