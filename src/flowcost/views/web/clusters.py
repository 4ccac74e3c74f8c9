"""Who reports and how far it got: clusters, the live pipeline, what the ledger holds of each."""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from flowcost.views.report import Figure
from flowcost.views.tables import binary
from flowcost.views.web.asked import Asked
from flowcost.views.web.frame import old, page
from flowcost.views.web.grid import Cell, Grid, Head, Row
from flowcost.views.web.listing import listing
from flowcost.views.web.window import moment

PAGE = "/clusters"

_HEADS = (
    Head(label="cluster"),
    Head(label="nodes", number=True),
    Head(label="newest segment"),
    Head(label="API server"),
    Head(label="pods", number=True),
    Head(label="trouble"),
)
_WATCH = {"watching": "good", "broken": "error", "syncing": "warning"}


def show(request: Request, asked: Asked) -> Response:
    """Answer with the state of every cluster."""
    tenant = asked.principal.tenant
    live = asked.service.live.state(tenant)
    rows = [
        Row(
            cells=(
                Cell(text=state.cluster or "(none)"),
                Cell(text=str(state.nodes), number=True),
                Cell(text=_ago(state.last_segment, asked.now)),
                Cell(text=state.watch, tone=f"badge-{_WATCH.get(state.watch, 'quiet')}"),
                Cell(text=str(state.pods), number=True),
                Cell(text=state.watch_error or "", tone="words"),
            )
        )
        for state in asked.service.clusters.states(tenant)
    ]
    held = (
        listing(
            asked,
            "held",
            "What the ledger holds",
            ("cluster", "observer_type"),
            heads=("cluster", "sensor"),
            limit=50,
            empty="Nothing in this time.",
        )
        if asked.window
        else None
    )
    return page(
        request,
        "clusters.html",
        asked=asked,
        figures=[
            Figure("agents posted until", _until(live.posted_until)),
            Figure("closed until", _until(live.closed_until), "hours before are immutable"),
            Figure("waiting", f"{live.waiting} segments", binary(live.waiting_bytes)),
        ],
        troubles=live.troubles,
        rows=Grid(
            id="clusters",
            title="Clusters",
            heads=_HEADS,
            rows=tuple(rows),
            empty="No cluster has posted yet, and none is watched.",
        ),
        held=held,
    )


def _until(instant: datetime | None) -> str:
    return f"{moment(instant)} UTC" if instant else "never"


def _ago(instant: datetime | None, now: datetime) -> str:
    return old(now - instant).replace(" old", " ago") if instant else "never"
