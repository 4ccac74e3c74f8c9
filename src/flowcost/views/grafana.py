"""Builds the Grafana dashboard: panels as data become the dashboard's JSON (classic model).

A panel is a title, a kind, a width and its queries; rows flow from left to right. The data source
is a variable, so that the file can be imported anywhere without a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

WIDTH = 24  # Grafana's grid
_HEIGHT = {"stat": 4, "timeseries": 8, "bargauge": 8, "table": 10, "piechart": 8, "row": 1}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_NAME = re.compile(r"\bflowcost_\w+")
_HISTOGRAM = re.compile(r"_(?:bucket|sum|count)$")


class Query(Struct, frozen=True):
    """A PromQL expression; `legend` names its series, as `{{namespace}}`."""

    expr: str
    legend: str = ""


class Panel(Struct, frozen=True, kw_only=True):
    """One panel. `text` is what a reader may ask of it; `unit` is Grafana's name of one.

    A table shows its first query at the end of the time range; `matrix` are the labels that make
    its rows and columns. Thresholds are (value, colour), ascending.
    """

    title: str
    kind: str
    width: int
    queries: tuple[Query, ...]
    text: str
    unit: str = "short"
    stacked: bool = False
    matrix: tuple[str, str] | None = None
    thresholds: tuple[tuple[str, str], ...] = ()

    @property
    def instant(self) -> bool:
        """Return whether it shows one moment, not a course of time."""
        return self.kind != "timeseries"


class Row(Struct, frozen=True):
    """A titled row of panels."""

    title: str
    panels: tuple[Panel, ...]


def stat(title: str, expr: str, text: str, unit: str, *thresholds: tuple[str, str]) -> Panel:
    """Return a panel of one number; thresholds are (value, colour), ascending."""
    return Panel(
        title=title,
        kind="stat",
        width=4,
        queries=(Query(expr),),
        text=text,
        unit=unit,
        thresholds=thresholds,
    )


def course(
    title: str, text: str, unit: str, *queries: Query, width: int = 12, stacked: bool = False
) -> Panel:
    """Return a panel of a course of time."""
    return Panel(
        title=title,
        kind="timeseries",
        width=width,
        queries=queries,
        text=text,
        unit=unit,
        stacked=stacked,
    )


def now(kind: str, title: str, text: str, unit: str, query: Query, *, width: int = 8) -> Panel:
    """Return a panel of one moment: a table, a bar gauge or a pie."""
    return Panel(title=title, kind=kind, width=width, queries=(query,), text=text, unit=unit)


def metrics_of(panels: Sequence[Panel]) -> set[str]:
    """Return the names of the metrics that the panels query."""
    return {
        _HISTOGRAM.sub("", name)
        for panel in panels
        for query in panel.queries
        for name in _NAME.findall(query.expr)
    }


def render(rows: Sequence[Row]) -> str:
    """Return the dashboard as JSON text; the same rows, the same text."""
    encoded = msgspec.json.encode(dashboard(rows))
    return msgspec.json.format(encoded, indent=1).decode() + "\n"


def dashboard(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the dashboard as plain values."""
    return {
        "id": None,
        "uid": "flowcost",
        "title": "Flowcost",
        "description": "Who moves which bytes over which billing path, and what that costs.",
        "tags": ["flowcost", "network", "cost"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": list(_laid_out(rows)),
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource"}
    query = "label_values(flowcost_pod_network_io_bytes_total, namespace)"
    namespace = {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "namespace"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
    return [{**source, "query": "prometheus", "current": {}}, namespace]


def _laid_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    y, number = 0, 0
    for row in rows:
        number += 1
        yield _cell(number, row.title, "row", (0, y, WIDTH)) | {"collapsed": False, "panels": []}
        y += _HEIGHT["row"]
        x = lowest = 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, lowest = 0, y + lowest, 0
            number += 1
            yield _cell(number, panel.title, panel.kind, (x, y, panel.width)) | _content(panel)
            x, lowest = x + panel.width, max(lowest, _HEIGHT[panel.kind])
        y += lowest


def _cell(number: int, title: str, kind: str, place: tuple[int, int, int]) -> dict[str, Any]:
    x, y, width = place
    grid = {"x": x, "y": y, "w": width, "h": _HEIGHT[kind]}
    return {"id": number, "title": title, "type": kind, "gridPos": grid}


def _content(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "blue", "value": None}]
    steps += [{"color": c, "value": msgspec.json.decode(v)} for v, c in panel.thresholds]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "timeseries":
        mode = "normal" if panel.stacked else "none"
        fill = 30 if panel.stacked else 10
        defaults["custom"] = {"fillOpacity": fill, "stacking": {"mode": mode, "group": "A"}}
    return {
        "description": panel.text,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(panel, place, query) for place, query in enumerate(panel.queries)],
        "options": _options(panel),
        "transformations": list(_transformations(panel)),
    }


def _target(panel: Panel, place: int, query: Query) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + place),
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": panel.instant,
        "range": not panel.instant,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _options(panel: Panel) -> dict[str, Any]:
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "stat":
            return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "none"}
        case "bargauge":
            return {"reduceOptions": reduced, "orientation": "horizontal", "displayMode": "basic"}
        case "piechart":
            legend = {"displayMode": "table", "placement": "right", "values": ["value", "percent"]}
            return {"reduceOptions": reduced, "pieType": "donut", "legend": legend}
        case "timeseries":
            legend = {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case _:
            return {"showHeader": True, "cellHeight": "sm"}


def _transformations(panel: Panel) -> Iterator[dict[str, Any]]:
    if panel.kind != "table":
        return
    if panel.matrix:
        row, column = panel.matrix
        fields = {"rowField": row, "columnField": column, "valueField": "Value"}
        yield {"id": "groupingToMatrix", "options": fields}
        return
    hidden = {"Time": True, "tenant": True, "__name__": True, "instance": True, "job": True}
    yield {"id": "organize", "options": {"excludeByName": hidden}}
    order = [{"field": "Value", "desc": True}]
    yield {"id": "sortBy", "options": {"fields": {}, "sort": order}}
