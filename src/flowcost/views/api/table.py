"""Every endpoint of `/v1`, in the order documents list them."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus

from flowcost import segment
from flowcost.access.principal import PERMISSIONS, Role
from flowcost.identities import AgentIdentities
from flowcost.insights.incidents import Incident
from flowcost.segment import Acknowledgement
from flowcost.views.api import (
    administration,
    agents,
    cost_summary,
    costs,
    coverage,
    dimensions,
    reasons,
    signals,
    status,
)
from flowcost.views.api.endpoint import Endpoint
from flowcost.views.api.parameters import Window


@cache
def endpoints() -> tuple[Endpoint, ...]:
    """Return the table."""
    return (*_COSTS, *_REASONS, *_SUMMARY, *_SIGNALS, *_STATUS, *_AGENTS, *_ADMINISTRATION)


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

_REASONS = (
    Endpoint(
        method="GET",
        path="/v1/explain",
        operation="getExplanations",
        summary="Why: verdict, evidence, rate and source of the dearest charges.",
        role=Role.VIEWER,
        handler=reasons.explanations,
        gives=reasons.Explanations,
        takes=reasons.ExplainAsked,
        conditional=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/findings",
        operation="getFindings",
        summary="What is unknown, unowned, assumed or avoidable.",
        role=Role.VIEWER,
        handler=reasons.findings,
        gives=reasons.Findings,
        takes=Window,
        conditional=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/coverage",
        operation="getCoverage",
        summary="How far the figures can be trusted, and what was not seen.",
        role=Role.VIEWER,
        handler=coverage.coverage,
        gives=coverage.Coverage,
        takes=coverage.CoverageAsked,
        conditional=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/rates",
        operation="getRates",
        summary="Dated rates behind the figures, with their source and age.",
        role=Role.VIEWER,
        handler=dimensions.rates,
        gives=dimensions.Rates,
        takes=Window,
        conditional=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/identities",
        operation="getIdentities",
        summary="Who pays, with all that is known of them.",
        role=Role.VIEWER,
        handler=dimensions.identities,
        gives=costs.Costs,
        takes=dimensions.IdentitiesAsked,
        conditional=True,
        formats=tuple(costs.MEDIA.values()),
    ),
    Endpoint(
        method="GET",
        path="/v1/keys",
        operation="getKeys",
        summary="Keys that `by` and `filter` understand.",
        role=Role.VIEWER,
        handler=reasons.group_keys,
        gives=reasons.Keys,
    ),
    Endpoint(
        method="GET",
        path="/v1/filter/complete",
        operation="completeFilter",
        summary="What may stand at the cursor of a filter.",
        role=Role.VIEWER,
        handler=reasons.complete,
        gives=reasons.Completions,
        takes=reasons.CompleteAsked,
    ),
)

_SUMMARY = (
    Endpoint(
        method="GET",
        path="/v1/cost/summary",
        operation="getCostSummary",
        summary="Traffic at one price per GiB and class, as FinOps tools exchange it.",
        role=PERMISSIONS["metrics.read"],
        handler=cost_summary.cost_summary,
        gives=cost_summary.CostSummaryAnswer,
    ),
)

_SIGNALS = (
    Endpoint(
        method="GET",
        path="/v1/budgets",
        operation="getBudgets",
        summary="Monthly budgets and what is spent of them.",
        role=Role.VIEWER,
        handler=signals.budgets,
        gives=signals.Budgets,
        takes=signals.BudgetsAsked,
    ),
    Endpoint(
        method="GET",
        path="/v1/incidents",
        operation="getIncidents",
        summary="What somebody should look at, and who has.",
        role=Role.VIEWER,
        handler=signals.incidents,
        gives=signals.Incidents,
        takes=signals.IncidentsAsked,
    ),
    Endpoint(
        method="POST",
        path="/v1/incidents/{id}",
        operation="moveIncident",
        summary="Move an incident to another state.",
        role=Role.EDITOR,
        handler=signals.move,
        gives=Incident,
        takes=signals.IncidentAsked,
        body=signals.Move,
        refusals=(HTTPStatus.NOT_FOUND,),
    ),
)

_STATUS = (
    Endpoint(
        method="GET",
        path="/v1/whoami",
        operation="getWhoami",
        summary="Who you are to this server.",
        role=Role.VIEWER,
        handler=status.whoami,
        gives=status.Whoami,
        anybody=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/health",
        operation="getHealth",
        summary="How the server fares, with reasons.",
        role=Role.VIEWER,
        handler=status.health,
        gives=status.Health,
    ),
    Endpoint(
        method="GET",
        path="/v1/clusters",
        operation="getClusters",
        summary="Clusters that post or are watched.",
        role=Role.VIEWER,
        handler=status.clusters,
        gives=status.ClusterList,
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
        refusals=(HTTPStatus.NOT_FOUND,),
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
