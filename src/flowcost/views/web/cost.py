"""The cost summary: totals with their provenance, teams, chatty pairs of zones, budgets.

The basis is the account's bill: every metered end, each paying for its own. `legs=observed` shows
the metered ends that were seen, which is what a price table per transmission adds up to.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct, structs
from starlette.requests import Request
from starlette.responses import Response

from flowcost import clock, money
from flowcost.ledger.ends import UNATTRIBUTED
from flowcost.ledger.query import Totals, costs, totals
from flowcost.ledger.rates_used import rates_used
from flowcost.money import GIB
from flowcost.views import summary
from flowcost.views.tables import share
from flowcost.views.web import budgets, grid, ladder
from flowcost.views.web.asked import Asked
from flowcost.views.web.controls import controls
from flowcost.views.web.flows import narrowed
from flowcost.views.web.frame import page
from flowcost.views.web.grid import Cell, Grid, Head, Row

PAGE = "/cost"
TEAMS = 1024  # named; the rest is one row
PAIRS = 50
CHATTY = GIB  # bytes between two zones in a week, from which a pair is chatty
WEEK = timedelta(days=7)

_PAIR_KEYS = (
    "source.name",
    "source.cloud.availability_zone",
    "destination.cloud.availability_zone",
    "path",
    "leg",
)


class Provenance(Struct, frozen=True, kw_only=True):
    """Where the prices come from; nothing is priced where `books` is empty."""

    books: str
    as_of: str
    age_days: int


def show(request: Request, asked: Asked) -> Response:
    """Answer with the cost summary."""
    bar = controls(asked, PAGE)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "cost.html", asked=asked, bar=bar, found=None, status=status)
    found = totals(asked.ledger, asked.selection)
    if not found.days:
        return page(request, "nothing.html", asked=asked, bar=bar, action=PAGE)
    priced = found.rates_checked is not None
    month = clock.month_of(asked.now)
    return page(
        request,
        "cost.html",
        asked=asked,
        bar=bar,
        found=found,
        priced=priced,
        zones_mapped=_zones_mapped(asked),
        total=usd(found.list_cost) if priced else "volume-only",
        size=gib(found.bytes),
        basis=summary.BASIS_WORDS[asked.selection.basis],
        provenance=_provenance(asked, found),
        since=clock.iso(found.data_since) if found.data_since else "",
        teams=_teams(asked, found, priced=priced),
        pairs=_pairs(asked, priced=priced),
        budgets=budgets.table(budgets.states(asked, month), month, "budgets"),
    )


def usd(numerator: int) -> str:
    """Return dollars with two decimals."""
    whole, _, cents = money.rounded(numerator, 2).partition(".")
    return f"${int(whole):,}.{cents}"


def gib(size: int) -> str:
    """Return bytes in GiB: no decimal from 100, one from 1, else two; rounded half up."""
    places = 0 if size >= 100 * GIB else 1 if size >= GIB else 2
    scale = 10**places
    parts = (size * scale * 2 + GIB) // (2 * GIB)
    whole, rest = divmod(parts, scale)
    return f"{whole:,}{f'.{rest:0{places}d}' if places else ''} GiB"


def _dollars(cost: int, *, priced: bool) -> Cell:
    if not priced:
        return Cell(text="\N{EM DASH}", number=True, tone="quiet", title="nothing is priced")
    return Cell(text=usd(cost), exact=money.exact(cost), number=True)


def _bytes(size: int) -> Cell:
    return Cell(text=gib(size), exact=str(size), number=True)


def _provenance(asked: Asked, found: Totals) -> Provenance:
    if found.rates_checked is None:
        return Provenance(books="", as_of="", age_days=0)
    used = [each.rate for each in rates_used(asked.ledger, asked.selection) if each.rate]
    newest = found.rates_checked[1]
    return Provenance(
        books=", ".join(sorted({rate.book for rate in used})),
        as_of=newest.isoformat(),
        age_days=(asked.now.date() - newest).days,
    )


def _zones_mapped(asked: Asked) -> bool:
    """Return whether any end of a charge lies in a known zone."""
    keys = ("local.cloud.availability_zone", "remote.cloud.availability_zone")
    return any(
        row[0] != UNATTRIBUTED
        for key in keys
        for row in costs(asked.ledger, asked.selection, by=(key,), limit=2, offset=0).rows
    )


def _teams(asked: Asked, found: Totals, *, priced: bool) -> Grid:
    table = costs(asked.ledger, asked.selection, by=("owner.team",), limit=TEAMS)
    rows = []
    for team, size, cost, _ in table.rows:
        part = (cost, found.list_cost) if priced else (size, found.bytes)
        rows.append(
            Row(
                cells=(
                    Cell(text=team, href=narrowed(asked, {"owner.team": team})),
                    _dollars(cost, priced=priced),
                    Cell(text=share(*part), number=True, bar=grid.part(*part)),
                    _bytes(size),
                ),
                href=ladder.down(asked.question, {"owner.team": team}) if team != "(other)" else "",
                account=grid.is_account((team,)),
            )
        )
    return Grid(
        id="teams",
        title="Spend by team",
        heads=(
            Head(label="team"),
            Head(label="list cost", number=True),
            Head(label="share", number=True),
            Head(label="bytes", number=True),
        ),
        rows=tuple(rows),
    )


def _pairs(asked: Asked, *, priced: bool) -> Grid:
    """Return pairs of zones in the last seven days; a transmission counts once, as it was sent."""
    end = asked.selection.end
    start = end - WEEK if end else None
    where = "path in (cross_az, cross_region)"
    if asked.question.filter:
        where = f"({asked.question.filter}) and {where}"
    selection = structs.replace(asked.selection, where=where, start=start, legs="all")
    sent: dict[tuple[str, ...], int] = {}
    paid: dict[tuple[str, ...], int] = {}
    for *pair, leg, size, cost, _ in costs(asked.ledger, selection, by=_PAIR_KEYS).rows:
        key = tuple(map(str, pair))
        sent[key] = sent.get(key, 0) + (size if leg == "transmit" else 0)
        paid[key] = paid.get(key, 0) + cost
    ranked = sorted(sent, key=lambda key: (-sent[key], key))[:PAIRS]
    return Grid(
        id="pairs",
        title="Chatty pairs",
        heads=(
            Head(label="sender"),
            Head(label="zones"),
            Head(label="billing path"),
            Head(label="state"),
            Head(label="sent", number=True),
            Head(label="list cost", number=True),
        ),
        rows=tuple(_pair(asked, key, sent[key], paid[key], priced=priced) for key in ranked),
        empty="Nothing crossed a zone.",
    )


def _pair(asked: Asked, key: tuple[str, ...], size: int, cost: int, *, priced: bool) -> Row:
    sender, source, destination, path = key
    word, tone = ("chatty", "badge-warning") if size >= CHATTY else ("ok", "badge-good")
    held = dict(zip(_PAIR_KEYS, key, strict=False))
    return Row(
        cells=(
            Cell(text=sender, href=narrowed(asked, held)),
            Cell(text=f"{source} \N{RIGHTWARDS ARROW} {destination}"),
            Cell(text=path),
            Cell(text=word, tone=tone),
            _bytes(size),
            _dollars(cost, priced=priced),
        ),
        account=grid.is_account((sender,)),
    )
