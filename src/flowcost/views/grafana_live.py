"""Panels over what agents count, live: what it costs now, who pays, how agents fare.

Dollars are list cost at the marginal rate, of the agents' own ends.
"""

from __future__ import annotations

from flowcost.views.grafana import Panel, Query, Row, course, now, stat

_RATE = "[$__rate_interval]"
_RANGE = "[$__range]"
_HERE = 'namespace=~"$namespace"'
_USD = "currencyUSD"


def _per_hour(metric: str, by: str = "", where: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{where}}}{_RATE})) * 3600"


_COST = "flowcost_network_list_cost_usd_total"
_POD_COST = "flowcost_pod_network_list_cost_usd_total"
_PEER_COST = "flowcost_peer_network_list_cost_usd_total"
_BYTES = "flowcost_network_io_bytes_total"

NOW = Row(
    "Now, from the agents",
    (
        stat("Dollars an hour", _per_hour(_COST), "At the pace of the last minutes.", _USD),
        stat(
            "A month at this pace",
            f"{_per_hour(_COST)} * 730",
            "730 hours; a projection, not what this calendar month will cost.",
            _USD,
        ),
        stat("Bytes a second", f"sum (rate({_BYTES}{_RATE}))", "All pods, both ways.", "Bps"),
        stat(
            "Unknown share",
            f'sum (rate({_BYTES}{{billing_path="unknown"}}{_RATE})) / sum (rate({_BYTES}{_RATE}))',
            "Bytes whose billing path cannot be proven; counted, and not priced.",
            "percentunit",
            ("0.05", "orange"),
            ("0.2", "red"),
        ),
        stat(
            "Unpriced bytes a second",
            f"sum (rate(flowcost_network_unpriced_bytes_total{_RATE}))",
            "What the dollars leave out: unknown path, or a meter without a rate.",
            "Bps",
        ),
        stat(
            "Age of the oldest rate",
            "time() - min (flowcost_ledger_rate_checked_timestamp_seconds)",
            "Since a rate that is applied was last read from its source.",
            "s",
            ("7776000", "orange"),
            ("15552000", "red"),
        ),
        course(
            "Dollars an hour by billing path",
            "Every path that bytes took.",
            _USD,
            Query(_per_hour(_COST, "billing_path"), "{{billing_path}}"),
            stacked=True,
        ),
        course(
            "Bytes a second by billing path",
            "The free paths too.",
            "Bps",
            Query(f"sum by (billing_path) (rate({_BYTES}{_RATE}))", "{{billing_path}}"),
            stacked=True,
        ),
        course(
            "Dollars an hour by namespace",
            "The fifteen dearest.",
            _USD,
            Query(f"topk(15, {_per_hour(_POD_COST, 'namespace', _HERE)})", "{{namespace}}"),
            stacked=True,
        ),
        course(
            "Dollars an hour by pod",
            "The fifteen dearest.",
            _USD,
            Query(
                f"topk(15, {_per_hour(_POD_COST, 'namespace, pod', _HERE)})",
                "{{namespace}}/{{pod}}",
            ),
        ),
    ),
)

WHO = Row(
    "Who pays for what, over the time range",
    (
        Panel(
            title="Pod by billing path",
            kind="table",
            width=12,
            queries=(
                Query(f"sum by (pod, billing_path) (increase({_POD_COST}{{{_HERE}}}{_RANGE})) > 0"),
            ),
            text="Dollars of each pod on each billing path.",
            unit=_USD,
            matrix=("pod", "billing_path"),
        ),
        now(
            "table",
            "Conversations",
            "The dearest: a workload, and the Service or workload it talks to.",
            _USD,
            Query(
                "topk(50, sum by (namespace, workload, peer_namespace, peer, billing_path)"
                f" (increase({_PEER_COST}{{{_HERE}}}{_RANGE})))"
            ),
            width=12,
        ),
        now(
            "piechart",
            "Dollars by billing path",
            "Of the agents' own ends.",
            _USD,
            Query(f"sum by (billing_path) (increase({_COST}{_RANGE}))", "{{billing_path}}"),
        ),
        now(
            "bargauge",
            "Dollars by namespace",
            "The fifteen dearest.",
            _USD,
            Query(
                f"topk(15, sum by (namespace) (increase({_POD_COST}{{{_HERE}}}{_RANGE})))",
                "{{namespace}}",
            ),
        ),
        now(
            "bargauge",
            "Bytes by direction",
            "Seen from the pod.",
            "bytes",
            Query(f"sum by (direction) (increase({_BYTES}{_RANGE}))", "{{direction}}"),
        ),
    ),
)


AGENTS = Row(
    "Agents",
    (
        course(
            "Kernel drops", "Bytes a second that lost their peer (full flow map) or their pod.",
            "Bps",
            Query(f"sum by (instance) (rate(flowcost_agent_overflow_bytes_total{_RATE}))",
                  "without peer {{instance}}"),
            Query(f"sum by (instance) (rate(flowcost_agent_lost_bytes_total{_RATE}))",
                  "without pod {{instance}}"),
            width=8,
        ),
        course(
            "Map fill", "Rows of the flow maps at the last drain, of what they hold.",
            "percentunit",
            Query("flowcost_agent_map_entries / flowcost_agent_map_capacity", "{{instance}}"),
            width=8,
        ),
        course(
            "Connection table", "Full, the node forgets where Services led.", "percentunit",
            Query("flowcost_agent_conntrack_entries / flowcost_agent_conntrack_limit",
                  "{{instance}}"),
            width=8,
        ),
        course(
            "Join misses", "Dialed Services whose backend was not known: their path is unknown.",
            "ops",
            Query(f"sum by (instance) (rate(flowcost_agent_join_misses_total{_RATE}))",
                  "{{instance}}"),
            width=8,
        ),
        course(
            "Spool backlog", "Segments on disk that no server has acknowledged.", "bytes",
            Query("flowcost_agent_spool_bytes", "{{instance}}"),
            width=8,
        ),
        course(
            "Failures", "Drains (nothing is lost), refreshes of identities, DNS answers lost.",
            "ops",
            Query(f"sum (rate(flowcost_agent_drain_failures_total{_RATE}))", "drains"),
            Query(f"sum (rate(flowcost_agent_identity_failures_total{_RATE}))", "identities"),
            Query(f"sum (rate(flowcost_agent_dns_lost_total{_RATE}))", "DNS answers"),
            width=8,
        ),
        course(
            "Time of a drain", "Kernel to metrics, on average.", "s",
            Query(f"rate(flowcost_agent_drain_seconds_total{_RATE})"
                  f" / rate(flowcost_agent_drains_total{_RATE})", "{{instance}}"),
            width=8,
        ),
        course(
            "CPU of the agents", "Share of one core.", "percentunit",
            Query(f"rate(flowcost_agent_cpu_seconds_total{_RATE})", "{{instance}}"),
            width=8,
        ),
        course(
            "Memory of the agents", "Resident, and the kernel's maps.", "bytes",
            Query("flowcost_agent_resident_memory_bytes", "{{instance}}"),
            Query("flowcost_agent_map_bytes", "maps {{instance}}"),
            width=8,
        ),
    ),
)  # fmt: skip
