"""What `/metrics` says: bytes and dollars, what is not known, and how the agent itself fares.

Names and labels are a public contract. `billing_path` is the canonical enum, `direction` is seen
from the pod; dollars are list cost at the marginal rate of this node's own ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from flowcost import __version__, money
from flowcost.agent import compatibility
from flowcost.agent.exposition import COUNTER, GAUGE, Family, Labels, Sample
from flowcost.agent.status import Status
from flowcost.agent.tally import Sum, Tally
from flowcost.model import Direction, Path, Rate

_PATH: Labels = ("billing_path", "direction")
_POD: Labels = ("namespace", "workload", "pod", *_PATH)
_PEER: Labels = ("namespace", "workload", "peer_namespace", "peer", *_PATH)


def families(tally: Tally, status: Status, rates: Iterable[Rate], book: str) -> Iterator[Family]:
    """Yield every metric of the agent."""
    yield from _network(tally)
    yield _unknown_share(tally)
    yield _rates(rates, book)
    yield from _agent(tally, status)
    yield from compatibility.families(tally, status)


def _network(tally: Tally) -> Iterator[Family]:
    paths = sorted(tally.paths.items())
    pods = sorted(tally.pods.items())
    peers = sorted(
        ((*peer, *path), total)
        for peer, sums in tally.peers.items()
        for path, total in sums.items()
    )
    for noun, labels, rows in (
        ("network", _PATH, paths),
        ("pod_network", _POD, pods),
        ("peer_network", _PEER, peers),
    ):
        yield Family(
            f"flowcost_{noun}_io_bytes_total",
            COUNTER,
            "IP bytes on the wire.",
            labels,
            _samples(rows, lambda total: total.bytes),
        )
        yield Family(
            f"flowcost_{noun}_io_packets_total",
            COUNTER,
            "Packets on the wire.",
            labels,
            _samples(rows, lambda total: total.packets),
        )
        yield Family(
            f"flowcost_{noun}_list_cost_usd_total",
            COUNTER,
            "List cost at the marginal rate, of this node's own ends.",
            labels,
            _samples(rows, lambda total: money.exact(total.cost)),
        )
        yield Family(
            f"flowcost_{noun}_unpriced_bytes_total",
            COUNTER,
            "Bytes that the cost leaves out: unknown path, or no rate for a meter.",
            labels,
            _samples(rows, lambda total: total.unpriced_bytes),
        )


def _samples(
    rows: Iterable[tuple[tuple[str, ...], Sum]], value: Callable[[Sum], int | str]
) -> list[Sample]:
    return [(tuple(key), value(total)) for key, total in rows]


def _unknown_share(tally: Tally) -> Family:
    total = sum(one.bytes for one in tally.paths.values())
    unknown = sum(one.bytes for key, one in tally.paths.items() if key.path is Path.UNKNOWN)
    parts = unknown * 1_000_000 // total if total else 0
    return Family(
        "flowcost_unknown_bytes_ratio",
        GAUGE,
        "Share of bytes whose billing path is unknown, since the agent began.",
        (),
        [((), f"{parts // 1_000_000}.{parts % 1_000_000:06d}")],
    )


def _rates(rates: Iterable[Rate], book: str) -> Family:
    place = ("book", "provider", "usage_type", "operation", "region", "to_region")
    labels = (*place, "price", "unit", "effective_from", "checked_on", "source_url")
    rows = sorted(
        (
            book,
            rate.provider,
            rate.usage_type,
            rate.operation,
            rate.region,
            rate.to_region,
            str(rate.price),
            rate.unit,
            str(rate.effective_from),
            str(rate.checked_on),
            rate.source_url,
        )
        for rate in set(rates)
    )
    text = "A rate in use, with the day it holds from, the day it was read, and where."
    return Family("flowcost_rate_info", GAUGE, text, labels, [(row, 1) for row in rows])


def _agent(tally: Tally, status: Status) -> Iterator[Family]:
    node = status.node
    yield Family(
        "flowcost_agent_info",
        GAUGE,
        "This agent and where it runs.",
        ("version", "node", "provider", "region", "zone"),
        [
            (
                (
                    __version__,
                    node.k8s_node_name,
                    node.cloud_provider,
                    node.cloud_region,
                    node.cloud_availability_zone,
                ),
                1,
            )
        ],
    )
    yield Family(
        "flowcost_agent_overflow_bytes_total",
        COUNTER,
        "Bytes counted by pod only, because the kernel's flow map was full.",
        ("namespace", "pod", "direction"),
        [
            ((key.namespace, key.pod or key.workload, key.direction), total.bytes)
            for key, total in sorted(tally.overflow.items())
        ],
    )
    yield Family(
        "flowcost_agent_lost_bytes_total",
        COUNTER,
        "Bytes counted for the node only, because both kernel maps were full.",
        ("direction",),
        [
            ((Direction.TRANSMIT,), status.lost_transmitted_bytes),
            ((Direction.RECEIVE,), status.lost_received_bytes),
        ],
    )
    yield Family(
        "flowcost_agent_post_failures_total",
        COUNTER,
        "Segments the server did not take, by status code or reason; they are sent again.",
        ("reason",),
        [((reason,), count) for reason, count in sorted(status.post_failures.items())],
    )
    for name, kind, text, value in (*_plain(status), *_outbox(status)):
        yield Family(f"flowcost_agent_{name}", kind, text, (), [((), value)])


def _plain(status: Status) -> Iterator[tuple[str, str, str, int | str]]:
    s = status
    yield "lost_packets_total", COUNTER, "Packets behind the lost bytes.", s.lost_packets
    yield "drains_total", COUNTER, "Drains of the kernel's counters.", s.drains
    yield "drain_failures_total", COUNTER, "Drains that failed; nothing was lost.", s.drain_failures
    seconds = _seconds(s.drain_milliseconds)
    yield "drain_seconds_total", COUNTER, "Time spent on drains, with all that follows.", seconds
    yield "map_entries", GAUGE, "Rows of the flow maps at the last drain.", s.rows
    yield "map_capacity", GAUGE, "Rows the flow maps have room for.", s.map_rows
    yield "map_bytes", GAUGE, "Kernel memory of the maps.", s.map_bytes
    yield "dns_answers_total", COUNTER, "DNS answers read.", s.dns_answers
    yield "dns_lost_total", COUNTER, "DNS answers that found the ring full.", s.dns_lost
    yield "dns_names", GAUGE, "Names held, by pod and address.", s.names
    yield "cgroups", GAUGE, "Cgroups known, dead ones kept for a while included.", s.cgroups
    yield (
        "join_misses_total",
        COUNTER,
        "Dialed Services whose backend conntrack did not know.",
        s.join_misses,
    )
    yield (
        "join_failures_total",
        COUNTER,
        "Drains for which conntrack did not answer.",
        s.join_failures,
    )
    yield "conntrack_entries", GAUGE, "Entries of the node's connection table.", s.conntrack_entries
    yield (
        "conntrack_limit",
        GAUGE,
        "Limit of the connection table; full, it forgets.",
        (s.conntrack_limit),
    )
    yield (
        "identity_failures_total",
        COUNTER,
        "Refreshes of identities that failed; the last good ones stay.",
        s.identity_failures,
    )
    yield "identities", GAUGE, "Addresses and blocks with an identity.", s.identities
    yield "spool_bytes", GAUGE, "Segments on disk.", s.spool_bytes
    yield (
        "damaged_segments",
        GAUGE,
        "Segments of the spool that could not be read, set aside in its quarantine.",
        s.damaged_segments,
    )
    yield "cpu_seconds_total", COUNTER, "CPU time of the agent.", _seconds(s.cpu_milliseconds)
    yield "resident_memory_bytes", GAUGE, "Resident memory of the agent.", s.resident_bytes


def _outbox(status: Status) -> Iterator[tuple[str, str, str, int]]:
    s = status
    yield "outbox_segments", GAUGE, "Segments that wait for the server.", s.outbox_segments
    yield "outbox_bytes", GAUGE, "Their bytes on disk, refused ones included.", s.outbox_bytes
    yield "outbox_limit_bytes", GAUGE, "What the outbox may hold.", s.outbox_limit
    yield (
        "outbox_age_seconds",
        GAUGE,
        "Age of the oldest waiting segment: the backlog in time.",
        s.outbox_age_seconds,
    )
    yield (
        "outbox_held",
        GAUGE,
        "1 while nothing is drained because the outbox is full; the kernel counts on.",
        int(s.held),
    )
    yield "posted_segments_total", COUNTER, "Segments acknowledged.", s.posted_segments
    yield "posted_bytes_total", COUNTER, "Their bytes as they were sent.", s.posted_bytes
    yield (
        "refused_segments",
        GAUGE,
        "Segments whose content the server refused, in the outbox's quarantine.",
        s.refused_segments,
    )
    yield (
        "merged_segments_total",
        COUNTER,
        "Waiting segments merged with others of their hour.",
        s.merged_segments,
    )
    yield (
        "coarsened_segments_total",
        COUNTER,
        "Waiting segments that lost ports and DNS names for want of space.",
        s.coarsened_segments,
    )


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
