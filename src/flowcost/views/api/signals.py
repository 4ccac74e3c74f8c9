"""Budgets and incidents, as far as the asker may see what they are about."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct

from flowcost import clock, money
from flowcost.errors import NotFoundError, RequestError
from flowcost.insights.budgets import visible
from flowcost.insights.incidents import Incident, IncidentState
from flowcost.views.api.endpoint import Asked


class BudgetsAsked(Struct, frozen=True, kw_only=True):
    """What `/v1/budgets` takes."""

    month: Annotated[
        str,
        Meta(
            description="UTC calendar month; this one if left out",
            pattern="^(20[1-9][0-9]-(0[1-9]|1[0-2]))?$",
            examples=["2026-11"],
        ),
    ] = ""


class BudgetShown(Struct, frozen=True, kw_only=True):
    """One budget in one month; money is decimal text.

    `crossed` are the thresholds reached, in percent. `unpriced_bytes` are not in `spent`.
    """

    kind: str
    name: str
    month: date
    limit: str
    spent: str
    exceeded: bool
    crossed: tuple[int, ...]
    unpriced_bytes: int


class Budgets(Struct, frozen=True, kw_only=True):
    """The budgets you may see, by kind and name."""

    budgets: list[BudgetShown]


class IncidentsAsked(Struct, frozen=True, kw_only=True):
    """What `/v1/incidents` takes."""

    state: Annotated[
        str,
        Meta(
            description="only these; empty is all",
            extra_json_schema={"enum": ["", *(state.value for state in IncidentState)]},
        ),
    ] = ""


class IncidentAsked(Struct, frozen=True, kw_only=True):
    """One incident by its id."""

    id: Annotated[str, Meta(description="id of the incident", pattern="^[A-Za-z0-9_-]{1,64}$")]


class Move(Struct, frozen=True, kw_only=True):
    """Where an incident is moved to, and why; a dismissal needs a reason."""

    state: Annotated[
        str,
        Meta(
            description="the new state",
            extra_json_schema={"enum": [state.value for state in IncidentState]},
        ),
    ]
    reason: Annotated[str, Meta(description="why", max_length=1000)] = ""


class Incidents(Struct, frozen=True, kw_only=True):
    """The incidents you may see, latest first."""

    incidents: list[Incident]


def budgets(asked: Asked, takes: BudgetsAsked) -> Budgets:
    """Return monthly budgets and what is spent of them."""
    now = asked.service.now()
    month = date.fromisoformat(f"{takes.month}-01") if takes.month else clock.month_of(now)
    found = asked.service.budgets.states(asked.principal.tenant, month)
    return Budgets(
        budgets=[
            BudgetShown(
                kind=each.kind,
                name=each.name,
                month=each.month,
                limit=money.exact(each.limit),
                spent=money.exact(each.spent),
                exceeded=each.exceeded,
                crossed=each.crossed,
                unpriced_bytes=each.unpriced_bytes,
            )
            for each in found
            if visible(f"{each.kind}:{each.name}", asked.principal)
        ]
    )


def incidents(asked: Asked, takes: IncidentsAsked) -> Incidents:
    """Return what somebody should look at, and who has."""
    states = (takes.state,) if takes.state else ()
    found = asked.service.incidents.incidents(asked.principal.tenant, states=states)
    return Incidents(incidents=[each for each in found if visible(each.target, asked.principal)])


def move(asked: Asked, takes: tuple[IncidentAsked, Move]) -> Incident:
    """Acknowledge, resolve, dismiss or open an incident again."""
    place, to = takes
    asker, kept = asked.principal, asked.service.incidents
    known = {each.id: each for each in kept.incidents(asker.tenant)}
    if place.id not in known or not visible(known[place.id].target, asker):
        raise NotFoundError(f"no incident {place.id}")
    if to.state == IncidentState.DISMISSED and not to.reason.strip():
        raise RequestError({"reason": "a dismissal says why"})
    moved = kept.move(asker.tenant, place.id, to.state, who=asker.subject, reason=to.reason)
    if moved is None:
        raise NotFoundError(f"no incident {place.id}")
    return moved
