"""What a run tells the operator beside what its files say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from flowcost import clock
from flowcost.model import Finding
from flowcost.pipeline.shelf import Entry
from flowcost.sources.report import Tally


def too_late(entries: Iterable[Entry], kept_from: datetime) -> list[Finding]:
    """Return a finding for flows whose hours had been pruned when they came."""
    late = [entry for entry in entries if entry.late.rows]
    if not late:
        return []
    total = sum((entry.late for entry in late), Tally())
    return [
        Finding(
            code="flow-log-too-late",
            severity="warning",
            subject=f"hours before {clock.iso(kept_from)}",
            count=total.rows,
            bytes=total.bytes,
            sample=min(entry.name for entry in late),
            hint="these hours were pruned before their flows came, which are booked nowhere; "
            "keep hours longer than logs may be late: flowcost ledger prune --hours",
        )
    ]


def settled(hours: Mapping[datetime, Sequence[Entry]]) -> list[Finding]:
    """Return a finding for flows of hours that agents saw too, whose segments are gone."""
    return [
        Finding(
            code="flow-log-too-late",
            severity="warning",
            subject=f"hour {clock.iso(hour)}",
            count=sum(entry.hours[int(hour.timestamp())] for entry in entries),
            sample=min(entry.name for entry in entries),
            hint="agents saw this hour too, and what they posted is no longer kept: it stays as it "
            "is; keep it longer: retention.late",
        )
        for hour, entries in sorted(hours.items())
    ]


def merged(found: Sequence[Finding]) -> list[Finding]:
    """Return findings of many batches, equal ones counted together."""
    totals: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        key = finding.code, finding.subject, finding.sample
        before = totals.get(key)
        if before:
            count, size = finding.count + before.count, finding.bytes + before.bytes
            totals[key] = replace(finding, count=count, bytes=size)
        else:
            totals[key] = finding
    return list(totals.values())
