"""Every endpoint of `/v1`, in the order documents list them."""

from __future__ import annotations

from functools import cache

from flowcost.access.principal import Role
from flowcost.views.api import costs
from flowcost.views.api.endpoint import Endpoint
from flowcost.views.api.parameters import Window


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Return the table."""
    return _COSTS


_COSTS = (
    Endpoint(
        method="GET",
        path="/v1/costs",
        operation="getCosts",
        summary="Costs by any keys: bytes, list cost, and what has no rate.",
        role=Role.VIEWER,
        handler=costs.costs,
        takes=costs.CostsAsked,
        gives=costs.Costs,
        conditional=True,
        formats=tuple(costs.MEDIA.values()),
    ),
    Endpoint(
        method="GET",
        path="/v1/totals",
        operation="getTotals",
        summary="What a selection adds up to, and how far it can be trusted.",
        role=Role.VIEWER,
        handler=costs.totals,
        takes=Window,
        gives=costs.Totals,
        conditional=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/conversations",
        operation="getConversations",
        summary="Who talks to whom by which billing path, dearest first.",
        role=Role.VIEWER,
        handler=costs.conversations,
        takes=costs.ConversationsAsked,
        gives=costs.Costs,
        conditional=True,
        formats=tuple(costs.MEDIA.values()),
    ),
    Endpoint(
        method="GET",
        path="/v1/trends",
        operation="getTrends",
        summary="Costs per step of time; a step without charges has no row.",
        role=Role.VIEWER,
        handler=costs.trends,
        takes=costs.TrendsAsked,
        gives=costs.Costs,
        conditional=True,
        formats=tuple(costs.MEDIA.values()),
    ),
)
