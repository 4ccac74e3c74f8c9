"""How the agent itself fares, for `/metrics`."""

from __future__ import annotations

from msgspec import Struct

from flowcost.model import Identity


class Status(Struct, kw_only=True):
    """How the agent fares; counters since it began, gauges of the last drain."""

    node: Identity = Identity()
    drains: int = 0
    drain_failures: int = 0
    drain_milliseconds: int = 0
    last_drain: float = 0.0  # monotonic seconds
    rows: int = 0
    map_rows: int = 0
    map_bytes: int = 0
    lost_transmitted_bytes: int = 0
    lost_received_bytes: int = 0
    lost_packets: int = 0
    dns_answers: int = 0
    dns_lost: int = 0
    names: int = 0
    cgroups: int = 0
    join_misses: int = 0
    conntrack_entries: int = 0
    conntrack_limit: int = 0
    identity_failures: int = 0
    identities: int = 0
    join_failures: int = 0
    spool_bytes: int = 0
    damaged_segments: int = 0
    held: bool = False  # nothing is drained, because outbox and spool are at their bound
    outbox_segments: int = 0
    outbox_bytes: int = 0
    outbox_limit: int = 0
    outbox_age_seconds: int = 0
    refused_segments: int = 0
    posted_segments: int = 0
    posted_bytes: int = 0
    post_failures: dict[str, int] = {}
    merged_segments: int = 0
    coarsened_segments: int = 0
    handshakes: int = 0
    overflow_packets: int = 0
    cpu_milliseconds: int = 0
    resident_bytes: int = 0

    def health(self) -> str:
        """Return what `/healthz` says of an agent that does its work."""
        said = ["ok"]
        if self.damaged_segments:
            said.append(f"{self.damaged_segments} damaged segments in the spool's quarantine")
        if self.refused_segments:
            said.append(f"{self.refused_segments} segments refused by the server, in quarantine")
        if self.outbox_segments > 1:
            said.append(f"{self.outbox_segments} segments wait for the server")
        if self.held:
            said.append("the outbox is full: counting goes on in the kernel")
        return "\n".join(said) + "\n"
