"""Why: charges with their verdict, evidence, rate and sources; findings; the words of filters."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from flowcost import money
from flowcost.ledger import findings as noticing
from flowcost.ledger import keys
from flowcost.ledger.complete import Suggestion
from flowcost.ledger.ends import ATTRIBUTE_BY_DOCS
from flowcost.ledger.explain import RateUsed, explain
from flowcost.ledger.filter import OPERATORS
from flowcost.views.api.endpoint import Asked, Nothing
from flowcost.views.api.parameters import Window
from flowcost.views.completions import completions
from flowcost.views.explanations import document


class ExplainAsked(Window, frozen=True, kw_only=True):
    """What `/v1/explain` takes."""

    top: Annotated[int, Meta(description="dearest charges", ge=1, le=100)] = 5


class Explained(Struct, frozen=True, kw_only=True):
    """One charge and everything it follows from; `list_cost` is decimal text, null if unpriced.

    `charge` holds its columns, among them `source`: where the flows came from. `local` and
    `remote` hold what is known of an end, in OpenTelemetry names.
    """

    path: str
    rule: str
    confidence: str
    evidence: tuple[str, ...]
    facts: dict[str, Any]
    charge: dict[str, str | int | None]
    local: dict[str, str]
    remote: dict[str, str]
    rate: RateUsed | None
    list_cost: str | None
    arithmetic: str


class Explanations(Struct, frozen=True, kw_only=True):
    """The dearest charges of the selection; unpriced ones follow, largest first."""

    charges: list[Explained]


class FindingShown(Struct, frozen=True, kw_only=True):
    """Something noticed: `filter` shows its charges, `saves` says `list_cost` could be saved."""

    code: str
    severity: str
    subject: str
    count: int
    bytes: int
    sample: str
    hint: str
    filter: str
    list_cost: str | None
    saves: bool


class Findings(Struct, frozen=True, kw_only=True):
    """What to look at first; findings may overlap and are never summed."""

    findings: list[FindingShown]


class KeyShown(Struct, frozen=True, kw_only=True):
    """One key; `type` is text, address, instant or day."""

    name: str
    type: str
    doc: str


class Keys(Struct, frozen=True, kw_only=True):
    """What `by` and `filter` understand, and who may pay: `attribute_by` -> meaning."""

    keys: list[KeyShown]
    operators: tuple[str, ...]
    attribute_by: dict[str, str]


class CompleteAsked(Window, frozen=True, kw_only=True):
    """What `/v1/filter/complete` takes; values come from the window."""

    text: Annotated[str, Meta(description="the filter so far", max_length=4096)] = ""
    position: (
        Annotated[
            int, Meta(description="place of the cursor, from 0; the end if left out", ge=0, le=4096)
        ]
        | None
    ) = None


class Completions(Struct, frozen=True, kw_only=True):
    """What may stand at the cursor: each replaces `[start, end)` of the text."""

    suggestions: tuple[Suggestion, ...]


def explanations(asked: Asked, takes: ExplainAsked) -> Explanations:
    """Return why: verdict, rule, evidence, facts, rate with its source, arithmetic, flows."""
    found = explain(asked.service.ledger, asked.selection(takes), top=takes.top)
    return Explanations(charges=[msgspec.convert(document(each), Explained) for each in found])


def findings(asked: Asked, takes: Window) -> Findings:
    """Return what is unknown, unowned, assumed or avoidable in the selection."""
    found = noticing.findings(asked.service.ledger, asked.selection(takes))
    return Findings(
        findings=[
            FindingShown(
                code=each.finding.code,
                severity=each.finding.severity,
                subject=each.finding.subject,
                count=each.finding.count,
                bytes=each.finding.bytes,
                sample=each.finding.sample,
                hint=each.finding.hint,
                filter=each.where,
                list_cost=None if each.list_cost is None else money.exact(each.list_cost),
                saves=each.saves,
            )
            for each in found
        ]
    )


def group_keys(asked: Asked, takes: Nothing) -> Keys:  # noqa: ARG001 - the same for all
    """Return every key with its sentence."""
    known = keys.keys().values()
    return Keys(
        keys=[KeyShown(name=key.name, type=key.type, doc=key.doc) for key in known],
        operators=(*OPERATORS, "in", "not in"),
        attribute_by=dict(ATTRIBUTE_BY_DOCS),
    )


def complete(asked: Asked, takes: CompleteAsked) -> Completions:
    """Return keys, operators and values for the word that ends at the cursor."""
    at = len(takes.text) if takes.position is None else min(takes.position, len(takes.text))
    selection = asked.selection(takes)
    return Completions(suggestions=completions(asked.service.ledger, selection, takes.text, at))
