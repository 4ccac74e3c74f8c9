"""What the server's `/metrics` says: names, types, labels and words, a public contract.

Totals of the ledger are gauges. Late data rewrites its hour and a sensor with a finer identity
replaces a coarser one (law 4), so such a total may fall, and Prometheus would take the fall of a
counter for a restart and count the whole total again. What only ever grows while the process
runs (requests, segments, deliveries) is a counter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from flowcost import money

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

# What a label value is, exactly; the client library rounds to a double where it writes.
Number = int | Fraction
Sample = tuple[tuple[str, ...], Number]


class Series(Struct, frozen=True):
    """One metric: its name, type, what it says, and its label names."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self, samples: Iterable[Sample]) -> Metric:
        """Return the metric with samples; label values are in the order of `labels`."""
        kind: Any = CounterMetricFamily if self.type == COUNTER else GaugeMetricFamily
        found: Metric = kind(self.name.removesuffix("_total"), self.help, labels=self.labels)
        for values, number in samples:
            found.add_metric(values, number)  # type: ignore[attr-defined]
        return found


def usd(numerator: int) -> Fraction:
    """Return a numerator over `money.ONE` as dollars, exactly."""
    return Fraction(numerator, money.ONE)


# -- the ledger -----------------------------------------------------------------------------------

# noun -> (label names, group keys); the first has no noun of its own.
DIMENSIONS = {
    "": (("billing_path",), ("path",)),
    "namespace": (("namespace",), ("k8s.namespace.name",)),
    "owner": (("owner",), ("owner",)),
    "cluster": (("cluster",), ("cluster",)),
    "conversation": (("conversation", "billing_path"), ("conversation", "path")),
}
WINDOWS = {"day": "last 24 hours", "month": "UTC calendar month to date"}
MEASURES = {
    "bytes": "IP bytes on the wire, {window}.",
    "list_cost_usd": "List cost, {window}.",
    "unpriced_bytes": "Metered bytes without a rate, {window}; the cost leaves them out.",
}


# Conversations are many: a day of them is shown.
NOUNS = {"day": tuple(DIMENSIONS), "month": tuple(n for n in DIMENSIONS if n != "conversation")}


def ledger_series(window: str, noun: str) -> Iterator[Series]:
    """Yield the series of one window and dimension, in order of `MEASURES`."""
    labels = ("tenant", *DIMENSIONS[noun][0])
    middle = f"{window}_{noun}_" if noun else f"{window}_"
    for measure, words in MEASURES.items():
        name = f"flowcost_ledger_{middle}{measure}"
        yield Series(name, GAUGE, words.format(window=WINDOWS[window]), labels)


_TENANT = ("tenant",)
UNKNOWN = Series(
    "flowcost_ledger_unknown_bytes_ratio",
    GAUGE,
    "Share of the bytes of the last 24 hours whose billing path is unknown.",
    _TENANT,
)
UNATTRIBUTED = Series(
    "flowcost_ledger_unattributed_bytes_ratio",
    GAUGE,
    "Share of the bytes of the last 24 hours whose paying end has no owner.",
    _TENANT,
)
SINCE = Series(
    "flowcost_ledger_data_since_timestamp_seconds",
    GAUGE,
    "Start of the ledger's first hour.",
    _TENANT,
)
UNTIL = Series(
    "flowcost_ledger_data_until_timestamp_seconds",
    GAUGE,
    "End of the ledger's last hour.",
    _TENANT,
)
HOURS = Series(
    "flowcost_ledger_partitions",
    GAUGE,
    "Hours in the ledger, by cluster; late data rewrites a closed hour, nothing else does.",
    ("tenant", "cluster", "state"),
)
RATE_CHECKED = Series(
    "flowcost_ledger_rate_checked_timestamp_seconds",
    GAUGE,
    "When the oldest of the applied rates of this source was read from it.",
    ("tenant", "book", "source_url"),
)

# -- the live pipeline ----------------------------------------------------------------------------

SEGMENTS = Series(
    "flowcost_segments_total",
    COUNTER,
    "Segments posted: accepted (durable), repeated (a no-op), refused (no segment), busy.",
    ("tenant", "cluster", "outcome"),
)
SEGMENT_BYTES = Series(
    "flowcost_segment_bytes_total",
    COUNTER,
    "Encoded bytes of accepted segments.",
    ("tenant", "cluster"),
)
WAITING = Series(
    "flowcost_inbox_waiting_segments",
    GAUGE,
    "Acknowledged segments that no hour of the ledger has yet.",
    _TENANT,
)
WAITING_BYTES = Series(
    "flowcost_inbox_waiting_bytes", GAUGE, "Stored bytes of the waiting segments.", _TENANT
)
POSTED_UNTIL = Series(
    "flowcost_live_posted_until_timestamp_seconds",
    GAUGE,
    "End of the newest observation window that is in the ledger.",
    _TENANT,
)
CLOSED_UNTIL = Series(
    "flowcost_live_closed_until_timestamp_seconds",
    GAUGE,
    "Hours before this instant are closed.",
    _TENANT,
)
TROUBLES = Series(
    "flowcost_live_troubles",
    GAUGE,
    "Reasons why the pipeline is not well; /v1/health tells them.",
    _TENANT,
)
NODES = Series(
    "flowcost_cluster_nodes", GAUGE, "Nodes that have posted lately.", ("tenant", "cluster")
)
PODS = Series("flowcost_cluster_pods", GAUGE, "Pods that are known.", ("tenant", "cluster"))
LAST_SEGMENT = Series(
    "flowcost_cluster_last_segment_timestamp_seconds",
    GAUGE,
    "When the cluster last posted a segment.",
    ("tenant", "cluster"),
)
WATCH = Series(
    "flowcost_cluster_watch",
    GAUGE,
    "1 for the state the watch of the cluster's API server is in: none, syncing, watching, broken.",
    ("tenant", "cluster", "state"),
)

# -- budgets and signals --------------------------------------------------------------------------

_BUDGET = ("tenant", "kind", "name")
LIMIT = Series("flowcost_budget_limit_usd", GAUGE, "Dollars a UTC calendar month.", _BUDGET)
SPENT = Series(
    "flowcost_budget_spent_usd",
    GAUGE,
    "Spent in this UTC month; begins anew on the first.",
    _BUDGET,
)
UNPRICED = Series(
    "flowcost_budget_unpriced_bytes",
    GAUGE,
    "Metered bytes of the budget's account in this UTC month that have no rate.",
    _BUDGET,
)
EXCEEDED = Series(
    "flowcost_budget_exceeded", GAUGE, "1 if the whole amount is spent, else 0.", _BUDGET
)
INCIDENTS = Series(
    "flowcost_incidents", GAUGE, "Incidents in the list, by state.", ("tenant", "state")
)
DELIVERIES = Series(
    "flowcost_signal_deliveries_total",
    COUNTER,
    "Attempts to tell a destination: delivered or failed. A failed one is made again.",
    ("tenant", "destination", "outcome"),
)
UNDELIVERED = Series(
    "flowcost_signals_waiting",
    GAUGE,
    "Signals that a destination has not taken yet.",
    ("tenant", "destination"),
)

# -- the process ----------------------------------------------------------------------------------

REQUESTS = Series(
    "flowcost_http_requests_total",
    COUNTER,
    "Requests answered.",
    ("method", "route", "status"),
)
DURATION = Series(
    "flowcost_http_request_duration_seconds",
    HISTOGRAM,
    "Time from a request's head to the end of its answer.",
    ("method", "route"),
)
INFO = Series("flowcost_server_info", GAUGE, "This server.", ("version",))
PROCESS = "flowcost_server"  # prefix of the client library's process metrics
_OF_PROCESS = (
    Series(f"{PROCESS}_process_virtual_memory_bytes", GAUGE, "Virtual memory size in bytes."),
    Series(f"{PROCESS}_process_resident_memory_bytes", GAUGE, "Resident memory size in bytes."),
    Series(
        f"{PROCESS}_process_start_time_seconds",
        GAUGE,
        "Start time of the process since unix epoch in seconds.",
    ),
    Series(
        f"{PROCESS}_process_cpu_seconds_total",
        COUNTER,
        "Total user and system CPU time spent in seconds.",
    ),
    Series(f"{PROCESS}_process_open_fds", GAUGE, "Number of open file descriptors."),
    Series(f"{PROCESS}_process_max_fds", GAUGE, "Maximum number of open file descriptors."),
)

ALL = (
    *(
        series
        for window in WINDOWS
        for noun in NOUNS[window]
        for series in ledger_series(window, noun)
    ),
    *(UNKNOWN, UNATTRIBUTED, SINCE, UNTIL, HOURS, RATE_CHECKED),
    *(SEGMENTS, SEGMENT_BYTES, WAITING, WAITING_BYTES, POSTED_UNTIL, CLOSED_UNTIL, TROUBLES),
    *(NODES, PODS, LAST_SEGMENT, WATCH),
    *(LIMIT, SPENT, UNPRICED, EXCEEDED, INCIDENTS, DELIVERIES, UNDELIVERED),
    *(REQUESTS, DURATION, INFO),
    *_OF_PROCESS,
)
