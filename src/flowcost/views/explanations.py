"""Explanations for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec

from flowcost import money
from flowcost.ledger.explain import Explanation, RateUsed
from flowcost.schema import Column
from flowcost.views.tables import dollars, plain, render

COLUMNS = (
    Column("hour", "instant", "hour of use"),
    Column("path", "text", "billing path"),
    Column("rule", "text", "rule that decided"),
    Column("confidence", "text", "measured, derived or assumed"),
    Column("usage_type", "text", "provider usage type"),
    Column("operation", "text", "provider operation"),
    Column("resource_id", "text", "resource that carries the line"),
    Column("payer_account", "text", "account that carries the line"),
    Column("quantity", "int", "metered quantity"),
    Column("unit", "text", "bytes or hours"),
    Column("price", "text", "price per unit"),
    Column("list_cost", "money", "exact cost"),
    Column("arithmetic", "text", "how they make each other"),
    Column("evidence", "list", "what the rule relied on"),
    Column("source_url", "text", "where the price is published"),
    Column("checked_on", "day", "when it was read"),
    Column("source", "text", "where the flows came from"),
)


def render_explanations(found: Sequence[Explanation], form: str) -> str | bytes:
    """Return explanations in one of `tables.FORMATS`; `table` is a paragraph each."""
    if form == "table":
        return "\n".join(map(_paragraph, found)) or "No charge matches.\n"
    if form == "json":
        documents = [document(explanation) for explanation in found]
        return json.dumps(documents, indent=1, ensure_ascii=False) + "\n"
    return render(COLUMNS, [_row(explanation) for explanation in found], form)


def document(found: Explanation) -> dict[str, object]:
    """Return an explanation as machines read it; money is a decimal text."""
    money_text = None if found.list_cost is None else money.exact(found.list_cost)
    charge = {name: _plain(name, value) for name, value in found.charge.items()}
    rest = msgspec.to_builtins(found)
    return {**rest, "charge": charge, "list_cost": money_text}


def _plain(name: str, value: object) -> object:
    return plain(Column(name, "", ""), value)


def _row(found: Explanation) -> list[object]:
    values = {
        **found.charge,
        **{name: getattr(found, name) for name in ("path", "rule", "confidence", "arithmetic")},
        "evidence": list(found.evidence),
        "list_cost": found.list_cost,
        "price": found.rate.price if found.rate else None,
        "source_url": found.rate.source_url if found.rate else None,
        "checked_on": found.rate.checked_on if found.rate else None,
    }
    return [values[column.name] for column in COLUMNS]


def _paragraph(found: Explanation) -> str:
    charge = {name: _plain(name, value) for name, value in found.charge.items()}
    cost = "unpriced" if found.list_cost is None else dollars(found.list_cost)
    line = " · ".join(
        str(charge[name])
        for name in ("usage_type", "operation", "resource_id", "payer_account", "region")
        if charge[name]
    )
    legs = f"{charge['leg'] or 'no'} leg, {charge['provenance']}"
    lines = [
        f"{cost}  {found.path}  {charge['hour']}",
        *_labelled("meter", [line or "none", legs]),
        *_labelled("sum", [found.arithmetic]),
        *_labelled("rate", _rate(found.rate)),
        *_labelled("rule", [f"{found.rule} ({found.confidence})"]),
        *_labelled("evidence", found.evidence),
        *_labelled("facts", [_pairs(found.facts)]),
        *_labelled("local", [_pairs(found.local) or "(unattributed)"]),
        *_labelled("remote", [_pairs(found.remote) or "(unattributed)"]),
        *_labelled("seen", [f"{charge['observer_type']}, {charge['source'] or 'source unknown'}"]),
    ]
    return "\n".join(lines) + "\n"


def _rate(rate: RateUsed | None) -> list[str]:
    if rate is None:
        return ["none: the bytes are kept and carry no price"]
    until = f" until {rate.effective_to.isoformat()}" if rate.effective_to else ""
    place = " to ".join(filter(None, (rate.region, rate.to_region)))
    tier = f", tier from {rate.tier_from}" if rate.tier_from else ""
    since = f"since {rate.effective_from.isoformat()}{until}"
    return [
        f"{rate.price} {rate.currency} per {rate.per}, {place}{tier}, {since}",
        f"{rate.book}, checked {rate.checked_on.isoformat()}, {rate.source_url}",
    ]


def _pairs(values: dict[str, str] | dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items() if value not in ("", None))


def _labelled(label: str, texts: Iterable[str]) -> list[str]:
    return [f"  {label if not index else '':<9} {text}" for index, text in enumerate(texts)]
