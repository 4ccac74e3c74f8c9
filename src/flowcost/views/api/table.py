"""Every endpoint of `/v1`, in the order documents list them."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus

from flowcost import segment
from flowcost.access.principal import Role
from flowcost.identities import AgentIdentities
from flowcost.segment import Acknowledgement
from flowcost.views.api import administration, agents, costs, status
from flowcost.views.api.endpoint import Endpoint
from flowcost.views.api.parameters import Window


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Return the table."""
    return (*_WHOAMI, *_COSTS, *_AGENTS, *_ADMINISTRATION)


_WHOAMI = (
    Endpoint(
        method="GET",
        path="/v1/whoami",
        operation="getWhoami",
        summary="Who you are to this server.",
        role=Role.VIEWER,
        anybody=True,
        handler=status.whoami,
        gives=status.Whoami,
    ),
)

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

_AGENTS = (
    Endpoint(
        method="POST",
        path="/v1/segments",
        operation="postSegment",
        summary="Take one segment of an agent; it is acknowledged when it is durable.",
        role=None,
        handler=agents.post_segment,
        gives=Acknowledgement,
        raw=True,
        consumes=segment.CONTENT_TYPE,
        refusals=(HTTPStatus.BAD_REQUEST, HTTPStatus(413), HTTPStatus(422)),
    ),
    Endpoint(
        method="GET",
        path="/v1/agents/identities",
        operation="getAgentIdentities",
        summary="Who is on a node, and who its peers are, now.",
        role=None,
        handler=agents.identities,
        takes=agents.NodeAsked,
        gives=AgentIdentities,
        raw=True,
        conditional=True,
    ),
)

_ADMINISTRATION = (
    Endpoint(
        method="GET",
        path="/v1/tokens",
        operation="getTokens",
        summary="Tokens of the tenant, without their secrets.",
        role=Role.ADMIN,
        handler=administration.tokens,
        gives=administration.TokenList,
    ),
    Endpoint(
        method="POST",
        path="/v1/tokens",
        operation="createToken",
        summary="Make a token; its text is shown once.",
        role=Role.ADMIN,
        handler=administration.create,
        body=administration.NewToken,
        gives=administration.TokenMade,
        status=HTTPStatus.CREATED,
    ),
    Endpoint(
        method="POST",
        path="/v1/tokens/{id}/rotate",
        operation="rotateToken",
        summary="Replace a token by a new one; both hold for the overlap.",
        role=Role.ADMIN,
        handler=administration.rotate,
        takes=administration.TokenAsked,
        body=administration.Rotation,
        gives=administration.TokenMade,
        status=HTTPStatus.CREATED,
        refusals=(HTTPStatus.NOT_FOUND,),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/tokens/{id}",
        operation="revokeToken",
        summary="Revoke a token; it is refused from now on.",
        role=Role.ADMIN,
        handler=administration.revoke,
        takes=administration.TokenAsked,
        gives=administration.Done,
        status=HTTPStatus.NO_CONTENT,
        refusals=(HTTPStatus.NOT_FOUND,),
    ),
    Endpoint(
        method="GET",
        path="/v1/audit",
        operation="getAudit",
        summary="Who changed what, or was refused, newest first.",
        role=Role.ADMIN,
        handler=administration.audit,
        takes=administration.AuditAsked,
        gives=administration.AuditPage,
    ),
)
