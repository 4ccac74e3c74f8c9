"""The cost summary: totals with their provenance, teams, chatty pairs of zones, budgets.

The same figures as `/v1/cost/summary`: each transmission once, at one price per GiB and class. What
the account is billed, end by end, is on the overview; this page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from flowcost import clock, money
from flowcost.insights.cost_summary import CLASSES, Amount, Pair, Summary, summarise
from flowcost.ledger.query import OTHER, Selection
from flowcost.money import GIB
from flowcost.views.tables import share
from flowcost.views.web import budgets, grid, ladder, terms
from flowcost.views.web.asked import Asked
from flowcost.views.web.conversations import PAGE as CONVERSATIONS
from flowcost.views.web.frame import page
from flowcost.views.web.grid import Cell, Grid, Head, Row
from flowcost.views.web.question import WHOLE, Question, address
from flowcost.views.web.window import moment

PAGE = "/cost"


class Provenance(Struct, frozen=True, kw_only=True):
    """Where the prices come from; `source` is empty where nothing is priced."""

    source: str
    as_of: str
    age_days: int
    license: str


def show(request: Request, asked: Asked) -> Response:
    """Answer with the cost summary; without one it says how to wire it."""
    settings = asked.service.cost
    if settings is None:
        return page(request, "cost.html", asked=asked, found=None)
    selection = Selection(tenant=asked.selection.tenant, within=asked.selection.within)
    found = summarise(asked.ledger, selection, settings, asked.now)
    month = clock.month_of(asked.now)
    priced = found.prices is not None
    return page(
        request,
        "cost.html",
        asked=asked,
        found=found,
        priced=priced,
        total=usd(found.total.usd) if priced else "volume-only",
        size=gib(found.total.bytes),
        provenance=_provenance(found, asked),
        since=f"{moment(found.data_since)} UTC" if found.data_since else "",
        tables=[
            _sums("teams", "Spend by team", "team", found.by_team, found, lead=_of("owner.team")),
            _sums(
                "services",
                "Spend by service",
                "service",
                found.by_service,
                found,
                lead=_of("service.name"),
            ),
            _sums("classes", "By class", "class", found.by_class, found, lead=_of_class),
        ],
        pairs=_pairs(found.pairs, priced=priced, last=WHOLE if settings.lifetime else "7d"),
        lifetime=settings.lifetime,
        trend=_trend(found, priced=priced),
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


def _provenance(found: Summary, asked: Asked) -> Provenance:
    prices = found.prices
    if prices is None:
        return Provenance(source="", as_of="", age_days=0, license="")
    return Provenance(
        source=prices.source,
        as_of=prices.as_of.isoformat(),
        age_days=(asked.now.date() - prices.as_of).days,
        license=prices.license,
    )


def _of(key: str) -> Callable[[str], str]:
    """Return what leads from a sender's name to its charges."""
    return lambda name: "" if name == OTHER else _sent(ladder.OVERVIEW, {key: name}, WHOLE)


def _of_class(kind: str) -> str:
    """Return where the charges of a class are; `unknown` holds what has no class, of many paths."""
    paths = [path for path, name in CLASSES.items() if name == kind]
    return _sent(ladder.OVERVIEW, {"path": paths[0]}, WHOLE) if paths else ""


def _of_pair(pair: Pair, last: str) -> str:
    if pair.service == OTHER:
        return ""
    zones = {
        "source.cloud.availability_zone": pair.src_zone,
        "destination.cloud.availability_zone": pair.dst_zone,
    }
    return _sent(CONVERSATIONS, {"service.name": pair.service, **zones}, last)


def _sent(page: str, values: Mapping[str, str], last: str) -> str:
    """Return the address of what senders with these values sent."""
    return address(page, Question(filter=terms.held("", values), attribute_by="source", last=last))


def _sums(
    name: str,
    title: str,
    label: str,
    amounts: Mapping[str, Amount],
    found: Summary,
    *,
    lead: Callable[[str], str],
) -> Grid:
    """Return one of the summary's maps, dearest first, then by bytes."""
    priced, whole = found.prices is not None, found.total
    ranked = sorted(amounts.items(), key=lambda pair: (-pair[1].usd, -pair[1].bytes, pair[0]))
    rows = []
    for word, amount in ranked:
        part = (amount.usd, whole.usd) if priced else (amount.bytes, whole.bytes)
        cells = (
            Cell(text=word, href=lead(word)),
            _dollars(amount.usd, priced=priced),
            Cell(text=share(*part), number=True, bar=grid.part(*part)),
            _bytes(amount.bytes),
        )
        rows.append(Row(cells=cells))
    return Grid(
        id=name,
        title=title,
        heads=(
            Head(label=label),
            Head(label="list cost", number=True),
            Head(label="share", number=True),
            Head(label="bytes", number=True),
        ),
        rows=tuple(rows),
        empty="No flow yet.",
    )


def _pairs(pairs: tuple[Pair, ...], *, priced: bool, last: str) -> Grid:
    return Grid(
        id="pairs",
        title="Chatty pairs",
        heads=(
            Head(label="service"),
            Head(label="zones"),
            Head(label="class"),
            Head(label="state"),
            Head(label="bytes", number=True),
            Head(label="list cost", number=True),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=pair.service, href=_of_pair(pair, last)),
                    Cell(text=f"{pair.src_zone} \N{RIGHTWARDS ARROW} {pair.dst_zone}"),
                    Cell(text=pair.kind),
                    Cell(
                        text="chatty" if pair.chatty else "ok",
                        tone="badge-warning" if pair.chatty else "badge-good",
                    ),
                    _bytes(pair.amount.bytes),
                    _dollars(pair.amount.usd, priced=priced),
                )
            )
            for pair in pairs
        ),
        empty="Nothing crossed a zone.",
    )


def _trend(found: Summary, *, priced: bool) -> Grid:
    return Grid(
        id="week",
        title="The last seven days",
        heads=(
            Head(label="hour (UTC)"),
            Head(label="list cost", number=True),
            Head(label="bytes", number=True),
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=f"{hour.day} {hour:%b %H:%M}"),
                    _dollars(amount.usd, priced=priced),
                    _bytes(amount.bytes),
                )
            )
            for hour, amount in found.trend
        ),
        chart="bars" if priced else "",
        empty="No flow in the last seven days.",
    )
