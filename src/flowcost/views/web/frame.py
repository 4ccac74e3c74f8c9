"""What stands around every page: navigation, who asks, how fresh the data is, and the headers.

No page carries a script or a style of its own, so the policy allows only the files we serve.
"""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse

from flowcost import __version__, clock
from flowcost.access.sessions import COOKIE
from flowcost.views.web.asked import Asked
from flowcost.views.web.assets import asset
from flowcost.views.web.grid import BAR
from flowcost.views.web.question import Question, address

if TYPE_CHECKING:
    import jinja2

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Vary": "Accept-Encoding, Cookie",
}
STALE = timedelta(hours=6)
THEMES = ("light", "dark")
PAGES = (
    ("/", "Overview", "what it costs, who pays whom, what changed"),
    ("/conversations", "Conversations", "the dearest pairs of ends"),
    ("/cost", "Cost summary", "teams, chatty pairs, budgets"),
    ("/findings", "Findings", "what to save, and what is not known"),
    ("/budgets", "Budgets", "what may be spent this month"),
    ("/coverage", "Coverage", "how far the figures can be trusted"),
    ("/rates", "Rates", "the dated prices behind the figures"),
    ("/reconcile", "Reconcile", "against the provider's bill"),
    ("/clusters", "Clusters", "who reports, and how far it got"),
)


class Freshness(Struct, frozen=True):
    """How old the newest hour is: `state` is fresh, stale or empty."""

    state: str
    words: str
    until: str


def freshness(asked: Asked, newest: datetime | None) -> Freshness:
    """Return how old the newest data of the ledger is."""
    if newest is None:
        return Freshness("empty", "no data yet", "")
    age = asked.now - newest
    state = "stale" if age > STALE else "fresh"
    return Freshness(state, f"data {old(age)}", clock.iso(newest))


def old(age: timedelta) -> str:
    """Return an age for people, in the largest unit that says something."""
    if age < timedelta(0):
        return "up to now"
    minutes = age // timedelta(minutes=1)
    if minutes < 120:
        return f"{minutes} min old"
    return f"{minutes // 60} h old" if minutes < 48 * 60 else f"{age.days} days old"


@cache
def environment() -> jinja2.Environment:
    """Return the templates; names from the ledger are escaped in every one of them."""
    import jinja2  # noqa: PLC0415 - 30 ms that other views do not need

    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("flowcost.views", "templates/web"),
                jinja2.PackageLoader("flowcost.views"),  # parts shared with documents
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"asset": asset, "version": __version__, "whole_bar": BAR}
    return made


def page(
    request: Request,
    template: str,
    *,
    asked: Asked | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: object,
) -> HTMLResponse:
    """Return a page; `asked` is None where nobody may ask yet."""
    question = asked.question if asked else Question()
    theme = request.cookies.get("theme", "")
    text = (
        environment()
        .get_template(template)
        .render(
            asked=asked,
            question=question,
            nav=_navigation(request, question) if asked else [],
            theme=theme if theme in THEMES else "",
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            status_code=status,
            signed_in=COOKIE in request.cookies,
            fresh=freshness(asked, _newest(asked)) if asked else None,
            **context,
        )
    )
    found = HTMLResponse(text, status, HEADERS | (headers or {}))
    if "gzip" in request.headers.get("accept-encoding", ""):
        found.body = gzip.compress(bytes(found.body), compresslevel=5, mtime=0)
        found.headers["Content-Encoding"] = "gzip"
        found.headers["Content-Length"] = str(len(found.body))
    return found


def _newest(asked: Asked) -> datetime | None:
    return asked.hours[1] if asked.hours else None


def _navigation(request: Request, question: Question) -> list[dict[str, object]]:
    here = request.url.path
    return [
        {
            "href": address(path, question),
            "label": label,
            "title": title,
            "current": here == path or (path == "/" and here.startswith("/charges")),
        }
        for path, label, title in PAGES
    ]
