"""Panels over what the server knows: the ledger of agents and flow logs, budgets, itself."""

from __future__ import annotations

from flowcost.views import grafana_live
from flowcost.views.grafana import Query, Row, course, now, stat

_RATE = "[$__rate_interval]"
_USD = "currencyUSD"


def _month(by: str) -> str:
    noun = "" if by == "billing_path" else f"{by}_"
    return f"topk(15, sum by ({by}) (flowcost_ledger_month_{noun}list_cost_usd))"


LEDGER = Row(
    "The ledger: agents and flow logs together",
    (
        stat(
            "This month",
            "sum (flowcost_ledger_month_list_cost_usd)",
            "UTC calendar month to date; late data may lower it.",
            _USD,
        ),
        stat(
            "Last 24 hours", "sum (flowcost_ledger_day_list_cost_usd)", "In whole hours.", _USD
        ),
        stat(
            "Unknown share, 24 h",
            "max (flowcost_ledger_unknown_bytes_ratio)",
            "Bytes whose billing path is unknown.",
            "percentunit",
            ("0.05", "orange"),
            ("0.2", "red"),
        ),
        stat(
            "Without owner, 24 h",
            "max (flowcost_ledger_unattributed_bytes_ratio)",
            "Bytes whose paying end has no owner.",
            "percentunit",
            ("0.1", "orange"),
            ("0.3", "red"),
        ),
        stat(
            "Freshness",
            "time() - max (flowcost_live_posted_until_timestamp_seconds)",
            "Age of the newest observation in the ledger.",
            "s",
            ("120", "orange"),
            ("900", "red"),
        ),
        stat(
            "Open hours",
            'sum (flowcost_ledger_partitions{state="open"})',
            "Hours that late data may still change without being late.",
            "short",
        ),
        now(
            "bargauge", "Month by owner", "The fifteen dearest.", _USD,
            Query(_month("owner"), "{{owner}}"),
        ),
        now(
            "bargauge", "Month by namespace", "The fifteen dearest.", _USD,
            Query(_month("namespace"), "{{namespace}}"),
        ),
        now(
            "piechart", "Month by billing path", "All of them.", _USD,
            Query(_month("billing_path"), "{{billing_path}}"),
        ),
        now(
            "bargauge", "Month by cluster", "(none): seen by flow logs only.", _USD,
            Query(_month("cluster"), "{{cluster}}"),
        ),
        now(
            "table", "Conversations, 24 h", "The dearest, with both directions and all legs.", _USD,
            Query(
                "topk(50, sum by (conversation, billing_path)"
                " (flowcost_ledger_day_conversation_list_cost_usd))"
            ),
            width=16,
        ),
        course(
            "Unknown and unattributed share", "Of the last 24 hours, as the days went by.",
            "percentunit",
            Query("max (flowcost_ledger_unknown_bytes_ratio)", "unknown path"),
            Query("max (flowcost_ledger_unattributed_bytes_ratio)", "no owner"),
        ),
        now(
            "table", "Rates in use", "Age of each source of rates.", "s",
            Query(
                "time() - min by (book, source_url)"
                " (flowcost_ledger_rate_checked_timestamp_seconds)"
            ),
            width=12,
        ),
    ),
)  # fmt: skip

BUDGETS = Row(
    "Budgets and signals",
    (
        stat(
            "Budgets exceeded", "sum (flowcost_budget_exceeded)", "This UTC calendar month.",
            "short", ("1", "red"),
        ),
        stat(
            "Open incidents", 'sum (flowcost_incidents{state="open"})', "Nobody has them yet.",
            "short", ("1", "orange"),
        ),
        stat(
            "Signals waiting", "sum (flowcost_signals_waiting)",
            "A destination has not taken them yet.", "short", ("1", "orange"),
        ),
        now(
            "bargauge", "Spent of each budget", "Of this month's amount.", "percentunit",
            Query("flowcost_budget_spent_usd / flowcost_budget_limit_usd", "{{kind}} {{name}}"),
            width=12,
        ),
        course(
            "Spend of budgets", "Begins anew on the first, UTC.", _USD,
            Query("flowcost_budget_spent_usd", "{{kind}} {{name}}"),
        ),
        course(
            "Deliveries of signals", "Failed ones are made again.", "short",
            Query(
                "sum by (destination, outcome)"
                f" (increase(flowcost_signal_deliveries_total{_RATE}))",
                "{{destination}} {{outcome}}",
            ),
        ),
    ),
)  # fmt: skip

SERVER = Row(
    "Server",
    (
        course(
            "Segments a second", "Repeated ones are no-ops; busy ones come again.", "ops",
            Query(f"sum by (outcome) (rate(flowcost_segments_total{_RATE}))", "{{outcome}}"),
            width=8, stacked=True,
        ),
        course(
            "Inbox", "Acknowledged segments that no hour has yet.", "short",
            Query("sum (flowcost_inbox_waiting_segments)", "segments"),
            width=8,
        ),
        course(
            "Since the last segment", "By cluster.", "s",
            Query("time() - flowcost_cluster_last_segment_timestamp_seconds", "{{cluster}}"),
            width=8,
        ),
        course(
            "Requests a second", "By status.", "reqps",
            Query(f"sum by (status) (rate(flowcost_http_requests_total{_RATE}))", "{{status}}"),
            width=8, stacked=True,
        ),
        course(
            "Time of a request", "The 95th percentile, by route.", "s",
            Query("histogram_quantile(0.95, sum by (le, route)"
                  f" (rate(flowcost_http_request_duration_seconds_bucket{_RATE})))", "{{route}}"),
            width=8,
        ),
        now(
            "table", "Clusters", "1 is the state of the watch of the API server.", "short",
            Query("max by (cluster, state) (flowcost_cluster_watch) == 1"),
        ),
        course(
            "CPU of the server", "Share of one core.", "percentunit",
            Query(f"rate(flowcost_server_process_cpu_seconds_total{_RATE})", "{{instance}}"),
            width=8,
        ),
        course(
            "Memory of the server", "Resident.", "bytes",
            Query("flowcost_server_process_resident_memory_bytes", "{{instance}}"),
            width=8,
        ),
        stat("Troubles", "sum (flowcost_live_troubles)", "/v1/health tells them.", "short",
              ("1", "red")),
        stat("Nodes", "sum (flowcost_cluster_nodes)", "That have posted lately.", "short"),
    ),
)  # fmt: skip

ROWS = (grafana_live.NOW, grafana_live.WHO, LEDGER, BUDGETS, grafana_live.AGENTS, SERVER)
PANELS = tuple(panel for row in ROWS for panel in row.panels)
