"""Verdicts and prices, decided once per distinct combination of ends."""

from __future__ import annotations

from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from flowcost.agent.directory import Peer
from flowcost.agent.ends import Local
from flowcost.classify import assemble, classify
from flowcost.model import Direction, GatewayKind, Rate, Verdict
from flowcost.price import NoRate, RateBook, marginal, numerator

# Behind these a public address is reached by a way of somebody else's: a NAT gateway of another
# VPC, a firewall. What it costs there is on no meter of this node's, and not nothing.
_LEADS_ON = {GatewayKind.TRANSIT_GATEWAY, GatewayKind.GWLB_ENDPOINT}
LIMIT = 100_000  # distinct combinations kept; far more than one node has at a time


class Decision(Struct, frozen=True):
    """A verdict with the price of one byte over all its meters, and the rates that make it.

    Not `complete`: some meter has no rate, or the way goes on where this node cannot see.
    """

    verdict: Verdict
    numerator: int
    complete: bool
    rates: tuple[Rate, ...]


class Decisions:
    """The verdicts in use on one UTC day, by (local end, peer, direction, family)."""

    def __init__(self, book: RateBook) -> None:
        self.book = book
        self._on = date.min
        self._known: dict[tuple[int, int, Direction, int], Decision] = {}

    def restart(self, on: date) -> None:
        """Decide by the rules and rates of the day `on` from now."""
        if on != self._on:
            self._on = on
            self._known.clear()

    def clear(self) -> None:
        """Forget every verdict: the numbers of ends and peers mean others now."""
        self._known.clear()

    @property
    def rates(self) -> set[Rate]:
        """Return every rate in use."""
        return {rate for decision in self._known.values() for rate in decision.rates}

    def of(
        self, local: Local, index: int, peer: Peer, direction: Direction, ip_version: int
    ) -> Decision:
        """Return what bytes between `local` and `peer` (the directory's number `index`) cost."""
        key = local.index, index, direction, ip_version
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= LIMIT:
                self._known.clear()
            facts = assemble(
                local=local.identity,
                remote=peer.identity,
                direction=direction,
                way=peer.way,
                family=ip_version,
                local_scope=local.scope,
                remote_scope=peer.scope,
            )
            verdict = classify(facts, self._on)
            known = _priced(self.book, facts.provider, verdict, self._on)
            if facts.gateway in _LEADS_ON and facts.remote_public:
                known = replace(known, complete=False)
            self._known[key] = known
        return known


def _priced(book: RateBook, provider: str, verdict: Verdict, on: date) -> Decision:
    """Return a verdict with the marginal price of one byte over all its meters."""
    total, complete, rates = 0, verdict.priced, []
    for meter in verdict.meters:
        found = book.rates_of(provider, meter, on)
        if isinstance(found, NoRate):
            complete = False
            continue
        rate = marginal(found)
        rates.append(rate)
        total += numerator(rate)
    return Decision(verdict, total, complete, tuple(rates))
