"""How far the figures can be trusted: what is attributed, proven, priced, seen, and when."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from flowcost import clock
from flowcost.ledger.ends import UNATTRIBUTED
from flowcost.ledger.query import costs
from flowcost.ledger.totals import Totals, totals
from flowcost.views.report import Figure
from flowcost.views.tables import binary, share
from flowcost.views.web.asked import Asked
from flowcost.views.web.controls import controls
from flowcost.views.web.frame import page
from flowcost.views.web.listing import listing
from flowcost.views.web.window import Window, moment

PAGE = "/coverage"
GAPS = 8  # named; the rest is counted


def show(request: Request, asked: Asked) -> Response:
    """Answer with what is known of the selection's bytes."""
    bar = controls(asked, PAGE)
    if bar.trouble or asked.window is None:
        status = 400 if bar.trouble else 200
        return page(request, "coverage.html", asked=asked, bar=bar, figures=None, status=status)
    found = asked.answer(totals, asked.selection)
    if not found.days:
        return page(request, "nothing.html", asked=asked, bar=bar, action=PAGE)
    gaps = _gaps(asked, asked.window)
    tables = [
        listing(
            asked,
            "unknown",
            "Paths that cannot be proven",
            ("rule",),
            heads=("rule that gave up",),
            where="path = unknown",
            text="Bytes are kept and carry no price; the rule says what was missing.",
            empty="Every byte has a proven path.",
        ),
        listing(
            asked,
            "unattributed",
            "Ends without an owner",
            ("name", "kind"),
            heads=("paying end", "kind"),
            where=f'owner.team = "{UNATTRIBUTED}"',
            text="Largest paying ends without a team: label them, or add them to the inventory.",
            empty="Every paying end has a team.",
        ),
        listing(asked, "confidence", "How verdicts were reached", ("confidence",)),
        listing(asked, "provenance", "Seen or implied", ("provenance",)),
        listing(asked, "sensors", "By kind of sensor", ("observer_type", "cluster")),
    ]
    return page(
        request,
        "coverage.html",
        asked=asked,
        bar=bar,
        figures=_figures(found, asked.window, gaps),
        gaps=_ranges(gaps)[:GAPS],
        more_gaps=max(len(_ranges(gaps)) - GAPS, 0),
        tables=tables,
    )


def _figures(found: Totals, window: Window, gaps: list[datetime]) -> list[Figure]:
    hours = (window.end - window.start) // clock.HOUR
    known, seen = found.bytes - found.unknown_bytes, hours - len(gaps)
    return [
        Figure("bytes with an owner", share(found.attributed_bytes, found.bytes)),
        Figure("bytes with a proven path", share(known, found.bytes)),
        Figure("without a price", binary(found.unpriced_bytes)),
        Figure("hours with data", share(seen, hours), f"{seen} of {hours}"),
    ]


def _ranges(hours: list[datetime]) -> list[str]:
    """Return hours for people, those in a row as one."""
    runs: list[list[datetime]] = []
    for hour in hours:
        if runs and hour - runs[-1][-1] == clock.HOUR:
            runs[-1].append(hour)
        else:
            runs.append([hour])
    return [
        moment(run[0])
        if len(run) == 1
        else f"{moment(run[0])} to {moment(run[-1] + clock.HOUR)} ({len(run)} h)"
        for run in runs
    ]


def _gaps(asked: Asked, window: Window) -> list[datetime]:
    """Return the hours of the interval in which the tenant has no charge at all.

    Days that have lost their hours cannot tell, and are passed over.
    """
    retired = asked.ledger.shelves.retired()
    table = asked.answer(costs, asked.narrowed(""), by=("hour",), sort="hour")
    seen = {row[0].replace(tzinfo=UTC) for row in table.rows}
    hours = (window.end - window.start) // clock.HOUR
    every = (window.start + n * clock.HOUR for n in range(hours))
    return [at for at in every if at not in seen and not retired.has(at)]
