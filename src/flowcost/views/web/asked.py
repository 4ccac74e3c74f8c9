"""One request: who asks, what, and the part of the ledger that answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import TypeVar

from msgspec import Struct, structs
from starlette.requests import Request

from flowcost.access.principal import Principal, Role
from flowcost.ledger import Ledger
from flowcost.ledger.query import Selection
from flowcost.ledger.span import span
from flowcost.ledger.state import state
from flowcost.views.answers import Answers
from flowcost.views.api.guard import require, within
from flowcost.views.service import Service
from flowcost.views.web.question import WHOLE, Question, decode
from flowcost.views.web.window import Window, resolved

T = TypeVar("T")


class Asked(Struct, frozen=True, kw_only=True):
    """A question, bound to the principal's part of the ledger and to an interval.

    `hours` is where the tenant's ledger begins and ends; it and `window` are None where it has
    no hour.
    """

    service: Service
    principal: Principal
    question: Question
    hours: tuple[datetime, datetime] | None
    window: Window | None
    selection: Selection
    now: datetime
    answers: Answers
    states: dict[tuple[datetime | None, datetime | None], str]

    @property
    def ledger(self) -> Ledger:
        """Return the ledger that is asked."""
        return self.service.ledger

    @property
    def before(self) -> Selection | None:
        """Return the same charges in the interval before; None without one to compare with."""
        if self.window is None or self.hours is None or not self.question.compare:
            return None
        if self.question.last == WHOLE or self.window.start <= self.hours[0]:
            return None
        return structs.replace(self.selection, start=self.window.before, end=self.window.start)

    def answer(self, ask: Callable[..., T], selection: Selection, **options: Hashable) -> T:
        """Return `ask(ledger, selection, **options)`, kept for as long as it is true.

        Kept answers are shared: nobody may change one.
        """
        span_asked = selection.start, selection.end
        if span_asked not in self.states:  # a page asks many things of the same hours
            self.states[span_asked] = state(self.ledger, *span_asked, tenant=self.principal.tenant)
        hours = self.states[span_asked]
        question = (ask.__name__, hours, selection, tuple(options.items()))
        return self.answers.of(question, lambda: ask(self.ledger, selection, **options))

    def pinned(self) -> Question:
        """Return the question with its interval in place of a preset: what a link must say."""
        if self.window is None:
            return self.question
        return structs.replace(self.question, last="", start=self.window.start, end=self.window.end)

    def narrowed(self, where: str) -> Selection:
        """Return the selection with another filter, of the same principal."""
        return structs.replace(self.selection, where=where)


def asked(request: Request, service: Service, answers: Answers) -> Asked:
    """Return what a request asks.

    Raises:
        UnauthenticatedError: nobody said who asks.
        ForbiddenError: a cluster's agents ask.
        UsageError: parameters that cannot be meant.
    """
    principal = require(request, Role.VIEWER)
    question = decode(request.url.query)
    hours = span(service.ledger, tenant=principal.tenant)
    window = resolved(question, hours, service.ledger.shelves.retired()) if hours else None
    selection = Selection(
        where=question.filter,
        start=window.start if window else None,
        end=window.end if window else None,
        attribute_by=question.attribute_by,
        legs=question.legs,
        tenant=principal.tenant,
        within=within(principal),
    )
    return Asked(
        service=service,
        principal=principal,
        question=question,
        hours=hours,
        window=window,
        selection=selection,
        now=service.now(),
        answers=answers,
        states={},
    )
