"""The console: server-rendered pages over the ledger; scripts add manners, never figures."""

from __future__ import annotations

from starlette.routing import BaseRoute

from flowcost.views.service import Service
from flowcost.views.web import assets, pages


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes of the console and its static files."""
    return [*pages.routes(service), *assets.ROUTES]
