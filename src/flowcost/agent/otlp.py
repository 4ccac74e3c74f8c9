"""The same series as `/metrics`, pushed as OTLP over HTTP (OpenTelemetry protocol 1.x, JSON).

The JSON encoding needs no library: integers travel as texts and dollars as the decimal they are,
so nothing becomes a float here. Counters are cumulative since the agent began.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flowcost import __version__, clock
from flowcost.agent.endpoint import Endpoint
from flowcost.agent.exposition import COUNTER, Family, Sample
from flowcost.errors import FlowcostError
from flowcost.model import Identity

LOG = logging.getLogger("flowcost.agent")
PATH = "/v1/metrics"
CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
_UNITS = (("_bytes_total", "By"), ("_bytes", "By"), ("_seconds_total", "s"), ("_seconds", "s"))


def encode(families: Iterable[Family], node: Identity, *, start_ns: int, now_ns: int) -> bytes:
    """Return the JSON of an `ExportMetricsServiceRequest`.

    Metric names are those of `/metrics`, labels are attributes, `node` is the resource. Families
    without a sample are left out.
    """
    metrics = []
    for family in families:
        samples = list(family.samples)
        if samples:
            metrics.append(_metric(family, samples, start_ns, now_ns))
    scope = {"scope": {"name": "flowcost.agent", "version": __version__}, "metrics": metrics}
    resource = {"attributes": _attributes(_resource(node))}
    return msgspec.json.encode(
        {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}
    )


def _metric(family: Family, samples: list[Sample], start_ns: int, now_ns: int) -> dict[str, Any]:
    points = [
        {
            "attributes": _attributes(dict(zip(family.labels, labels, strict=True))),
            "startTimeUnixNano": str(start_ns),
            "timeUnixNano": str(now_ns),
            **_value(value),
        }
        for labels, value in samples
    ]
    unit = next((unit for ending, unit in _UNITS if family.name.endswith(ending)), "1")
    metric: dict[str, Any] = {"name": family.name, "description": family.help, "unit": unit}
    if family.type == COUNTER:
        metric["sum"] = {
            "dataPoints": points,
            "aggregationTemporality": CUMULATIVE,
            "isMonotonic": True,
        }
    else:
        metric["gauge"] = {"dataPoints": points}
    return metric


def _value(value: int | str) -> dict[str, Any]:
    if isinstance(value, int):
        return {"asInt": str(value)}
    return {"asDouble": msgspec.Raw(value.encode())}  # a decimal text is a JSON number as it is


def _resource(node: Identity) -> dict[str, str]:
    found = {
        "service.name": "flowcost-agent",
        "service.version": __version__,
        "k8s.cluster.name": node.k8s_cluster_name,
        "k8s.node.name": node.k8s_node_name,
        "cloud.provider": node.cloud_provider,
        "cloud.account.id": node.cloud_account_id,
        "cloud.region": node.cloud_region,
        "cloud.availability_zone": node.cloud_availability_zone,
    }
    return {name: value for name, value in found.items() if value}


def _attributes(pairs: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": text}} for name, text in pairs.items()]


class Exporter:
    """Pushes what `collect` returns every `interval_s` seconds, on a thread of its own.

    A push that fails is counted in `failures`, said once while it lasts, and not repeated: the
    next one has everything, since counters are cumulative.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        collect: Callable[[], tuple[list[Family], Identity]],
        *,
        interval_s: float = 30.0,
    ) -> None:
        self.failures = 0
        self._endpoint, self._collect, self._interval_s = endpoint, collect, interval_s
        self._start_ns = _now()
        self._said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)

    def start(self) -> None:
        """Push from now on."""
        self._thread.start()

    def close(self) -> None:
        """Push once more and stop; a push that hangs is not waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(3.0)
        self._endpoint.close()

    def push(self) -> None:
        """Push once."""
        families, node = self._collect()
        body = encode(families, node, start_ns=self._start_ns, now_ns=_now())
        words = ""
        try:
            answer = self._endpoint.ask(
                "POST", PATH, headers={"Content-Type": "application/json"}, body=body
            )
            if answer.status != 200:
                words = f"{self._endpoint.what} {self._endpoint.url}: answered {answer.status}"
        except FlowcostError as error:
            words = error.message
        if words:
            self.failures += 1
            if words != self._said:
                LOG.warning("%s", words)
        self._said = words

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.push()
        self.push()


def _now() -> int:
    return int(clock.now().timestamp() * 1_000_000) * 1000
