"""Metrics under other products' names, so that their dashboards and OpenCost read this agent.

`tollwing_*`: the live agent's own names, where we measure the same thing; what we do not measure
is absent, never zero. `kubecost_pod_network_*`: what OpenCost multiplies by its own prices;
traffic without a known class is left out of it, since any class would be a guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from flowcost import money
from flowcost.agent.exposition import COUNTER, GAUGE, Family
from flowcost.agent.status import Status
from flowcost.agent.tally import Sum, Tally
from flowcost.model import Direction, Path

TRAFFIC_TYPES = {
    Path.INTERNET_INGRESS: "internet_egress",
    Path.EXTERNAL_PRIVATE: "unknown",
    Path.CLOUD_INFRA: "unknown",
}


def traffic_type(path: Path) -> str:
    """Return the `traffic_type` of a billing path: its own name, but for three."""
    return TRAFFIC_TYPES.get(path, str(path))


def families(tally: Tally, status: Status) -> Iterator[Family]:
    """Yield the metrics."""
    yield from _tollwing(tally)
    yield from _tollwing_self(status)
    yield from _kubecost(tally)


def _tollwing(tally: Tally) -> Iterator[Family]:
    types: defaultdict[tuple[str, Direction], Sum] = defaultdict(Sum)
    for key, total in tally.paths.items():
        _merge(types[traffic_type(key.path), key.direction], total)
    pods: defaultdict[tuple[str, str, Direction], Sum] = defaultdict(Sum)
    for pod, total in tally.pods.items():
        if pod.pod:
            _merge(pods[pod.namespace, pod.pod, pod.direction], total)
    for direction, short in ((Direction.TRANSMIT, "tx"), (Direction.RECEIVE, "rx")):
        yield Family(
            f"tollwing_{short}_bytes_total",
            COUNTER,
            "IP bytes on the wire.",
            ("traffic_type",),
            [
                ((kind,), one.bytes)
                for (kind, way), one in sorted(types.items())
                if way is direction
            ],
        )
        yield Family(
            f"tollwing_pod_{short}_bytes_total",
            COUNTER,
            "IP bytes on the wire, by pod.",
            ("namespace", "pod"),
            [
                ((namespace, pod), one.bytes)
                for (namespace, pod, way), one in sorted(pods.items())
                if way is direction
            ],
        )
    yield _cost(
        "tollwing_cost_usd_total",
        ("traffic_type",),
        (((kind,), one.cost) for (kind, _), one in types.items()),
    )
    yield _cost(
        "tollwing_pod_cost_usd_total",
        ("namespace", "pod"),
        (((namespace, pod), one.cost) for (namespace, pod, _), one in pods.items()),
    )


def _tollwing_self(status: Status) -> Iterator[Family]:
    """Yield the agent's own state; "active connections" are the rows of the last poll there too."""
    dropped = status.overflow_packets + status.lost_packets
    for name, kind, text, value in (
        ("active_connections", GAUGE, "Rows of the last drain.", status.rows),
        ("connections_established_total", COUNTER, "TCP handshakes begun.", status.handshakes),
        ("poll_total", COUNTER, "Drains of the kernel's counters.", status.drains),
        ("ringbuf_drops_total", COUNTER, "DNS answers that found the ring full.", status.dns_lost),
        ("map_update_drops_total", COUNTER, "Packets that found the flow map full.", dropped),
        ("enricher_cache_size", GAUGE, "Addresses and blocks known.", status.identities),
        ("dns_cache_size", GAUGE, "Names held.", status.names),
    ):
        yield Family(f"tollwing_{name}", kind, text, (), [((), value)])


def _cost(
    name: str, labels: tuple[str, ...], costed: Iterable[tuple[tuple[str, ...], int]]
) -> Family:
    costs: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for key, cost in costed:
        costs[key] += cost
    rows = [(key, money.rounded(cost, 6)) for key, cost in sorted(costs.items())]
    return Family(name, COUNTER, "List cost at the marginal rate.", labels, rows)


def _merge(into: Sum, one: Sum) -> None:
    into.bytes += one.bytes
    into.cost += one.cost


_CLASS = ("namespace", "pod_name", "internet", "same_zone", "same_region", "nat_gateway", "service")


def _kubecost(tally: Tally) -> Iterator[Family]:
    for direction, word in ((Direction.TRANSMIT, "egress"), (Direction.RECEIVE, "ingress")):
        yield Family(
            f"kubecost_pod_network_{word}_bytes_total",
            COUNTER,
            "Bytes by the classes that OpenCost prices; unclassified bytes are left out.",
            _CLASS,
            [
                (
                    (
                        key.namespace,
                        key.pod,
                        _word(value=key.internet),
                        _word(value=key.same_zone),
                        _word(value=key.same_region),
                        _word(value=key.nat_gateway),
                        key.service,
                    ),
                    total.bytes,
                )
                for key, total in sorted(tally.classes.items())
                if key.direction is direction
            ],
        )


def _word(*, value: bool) -> str:
    return "true" if value else "false"
