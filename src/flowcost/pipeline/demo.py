"""What `flowcost demo` shows, computed by the real pipeline on the packaged scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
from msgspec import Struct

from flowcost.errors import UsageError
from flowcost.ledger.explain import Explanation, explain
from flowcost.model import Path
from flowcost.pipeline import scenario
from flowcost.pipeline.scenario import Outcome
from flowcost.price import profiles


class Leg(Struct, frozen=True):
    """One line of the bill; `list_cost` is a numerator over money.ONE, None if unpriced."""

    payer: str
    direction: str
    usage_type: str
    operation: str
    payer_account: str
    dialed_service: str
    provenance: str
    quantity: int
    list_cost: int | None


class Row(Struct, frozen=True):
    """One scenario's answer.

    `bytes` were seen by sensors; `observed_cost` is what the observed ends are charged,
    `account_cost` what all accounts are charged for the same bytes. `profile_cost` is the figure
    of a named literal profile, where one was asked for.
    """

    name: str
    title: str
    path: str
    bytes: int
    unpriced_bytes: int
    observed_cost: int
    account_cost: int
    profile_cost: int | None
    legs: tuple[Leg, ...]


class Demo(Struct, frozen=True):
    """Everything the demo prints."""

    headline: Row
    tools: str
    text: str
    rows: tuple[Row, ...]
    explained: Explanation
    profile: str
    rates_checked: date


_LEGS = """
SELECT CASE WHEN i.k8s_workload_name <> '' THEN i.k8s_workload_name
            WHEN c.resource_id <> '' THEN c.resource_id ELSE i.cloud_resource_id END,
       direction, usage_type, operation, payer_account, dialed_service, provenance,
       sum(quantity)::BIGINT, sum(list_cost)::DECIMAL(38, 0)
FROM charges c JOIN identities i ON i.identity_id = c.local_id
GROUP BY ALL ORDER BY provenance DESC, direction DESC, usage_type, operation
"""
_TOTALS = """
SELECT (SELECT path FROM charges ORDER BY bytes DESC, path LIMIT 1),
       sum(bytes)::BIGINT,
       coalesce(sum(quantity) FILTER (list_cost IS NULL), 0)::BIGINT,
       coalesce(sum(list_cost) FILTER (provenance = 'observed'), 0)::DECIMAL(38, 0),
       coalesce(sum(list_cost), 0)::DECIMAL(38, 0)
FROM charges
"""
_SEEN = """
SELECT coalesce(sum(bytes) FILTER (direction = 'transmit'), 0)::BIGINT,
       coalesce(sum(bytes) FILTER (direction = 'receive'), 0)::BIGINT
FROM charges
"""
_CHECKED = "SELECT max(checked_on) FROM rates"


def collect(profile: str = "") -> Demo:
    """Run the demo scenarios and return what to show.

    Args:
        profile: name of a literal profile to show beside the bill; empty for none.

    Raises:
        UsageError: there is no such profile.
    """
    if profile and profile not in profiles.PROFILES:
        raise UsageError(
            f"no profile {profile!r}", hint=f"one of: {', '.join(sorted(profiles.PROFILES))}"
        )
    loaded = [scenario.load(scenario.FOLDER / name) for name in scenario.names()]
    shown = sorted((s for s in loaded if s.about.demo), key=lambda s: s.about.demo)
    headline = next(s for s in loaded if s.about.headline)
    with scenario.run(headline) as outcome:
        first = _row(outcome, "")
        explained = explain(outcome.ledger, top=1)[0]
        checked = _one(outcome, _CHECKED)[0]
    return Demo(
        headline=first,
        tools=headline.about.tools,
        text=headline.about.text.strip(),
        rows=tuple(_rows(shown, profile)),
        explained=explained,
        profile=profile,
        rates_checked=checked,
    )


def _rows(shown: list[scenario.Scenario], profile: str) -> Iterator[Row]:
    for each in shown:
        with scenario.run(each) as outcome:
            yield _row(outcome, profile)


def _row(outcome: Outcome, profile: str) -> Row:
    path, total, unpriced, observed, account = _one(outcome, _TOTALS)
    sent, received = _one(outcome, _SEEN)
    literal = None
    if profile:
        literal = profiles.price_literal(
            profiles.PROFILES[profile], Path(path), tx_bytes=sent, rx_bytes=received, provider="aws"
        )
    return Row(
        name=outcome.scenario.name,
        title=outcome.scenario.about.title,
        path=path,
        bytes=total,
        unpriced_bytes=unpriced,
        observed_cost=int(observed),
        account_cost=int(account),
        profile_cost=literal,
        legs=tuple(_leg(line) for line in _all(outcome, _LEGS)),
    )


def _leg(line: tuple[Any, ...]) -> Leg:
    values: list[Any] = [*line[:-1], None if line[-1] is None else int(line[-1])]
    return Leg(*values)


def _one(outcome: Outcome, sql: str) -> tuple[Any, ...]:
    return _all(outcome, sql)[0]


def _all(outcome: Outcome, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        outcome.ledger.attach(con)
        return con.execute(sql).fetchall()
