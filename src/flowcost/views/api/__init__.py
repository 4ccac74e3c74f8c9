"""The HTTP API below `/v1`: one table of endpoints, from which everything else is made."""

from __future__ import annotations

from starlette.routing import BaseRoute

from flowcost.views.api.table import endpoints
from flowcost.views.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """Return the API's routes, and the OpenAPI document that describes them."""
    from flowcost.views.api import openapi  # noqa: PLC0415 - imports the table
    from flowcost.views.api.endpoint import routes as of_table  # noqa: PLC0415

    return [*of_table(endpoints(), service), openapi.route()]
