"""Snapshots become intervals: from the first that shows a thing to the first that does not.

Snapshot `i` speaks for the time up to snapshot `i + 1`, the last one for ever. A reader may know
better when a thing began or ended (a pod's start): that time then counts, but never a time in
which a snapshot did not show the thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from flowcost.model import Finding
from flowcost.resolve import (
    ALWAYS,
    FOREVER,
    Claim,
    Gateway,
    Layer,
    NetworkInterface,
    Route,
    ServiceClaim,
)

# Struct types with a validity, equal and hashable by content.
D = TypeVar("D", Claim, ServiceClaim, Gateway, Route)


class Moment(Struct, frozen=True):
    """What one snapshot shows; `at` is `ALWAYS` where there is only one."""

    at: datetime
    layers: tuple[Layer, ...]


def merge(moments: Iterable[Moment]) -> list[Layer]:
    """Return one layer per source, dated over all `moments`."""
    ordered = sorted(moments, key=lambda moment: moment.at)
    starts = [moment.at for moment in ordered]
    sources = {layer.source: None for moment in ordered for layer in moment.layers}
    return [_layer(source, starts, ordered) for source in sources]


def _layer(source: str, starts: Sequence[datetime], moments: Sequence[Moment]) -> Layer:
    shown = [[layer for layer in moment.layers if layer.source == source] for moment in moments]
    claims = _dated(starts, [[one for layer in seen for one in layer.claims] for seen in shown])
    return Layer(
        source=source,
        claims=tuple(succeeded(list(claims)) if source == "kubernetes" else claims),
        services=tuple(
            _dated(starts, [[one for layer in seen for one in layer.services] for seen in shown])
        ),
        gateways=tuple(
            _dated(starts, [[one for layer in seen for one in layer.gateways] for seen in shown])
        ),
        routes=tuple(
            _dated(starts, [[one for layer in seen for one in layer.routes] for seen in shown])
        ),
        interfaces=_united(one for seen in shown for layer in seen for one in layer.interfaces),
        findings=_counted(
            finding for seen in shown for layer in seen for finding in layer.findings
        ),
    )


def _dated(starts: Sequence[datetime], shown: Sequence[Iterable[D]]) -> Iterator[D]:
    """Yield each thing once per unbroken run of snapshots that show it."""
    if len(starts) == 1:  # nothing to compare
        (start,) = starts
        for thing in dict.fromkeys(shown[0]):
            began = thing.valid_from
            yield from _run(thing, began if ALWAYS < began < start else start, FOREVER)
        return
    open_runs: dict[D, datetime] = {}
    for number, (start, things) in enumerate(zip(starts, shown, strict=True)):
        unseen_since = starts[number - 1] if number else ALWAYS
        present = dict.fromkeys(things)
        for thing in [one for one in open_runs if one not in present]:
            yield from _run(thing, open_runs.pop(thing), start)
        for thing in present:
            if thing not in open_runs:
                began = thing.valid_from
                open_runs[thing] = began if unseen_since < began < start else start
    for thing, start in open_runs.items():
        yield from _run(thing, start, FOREVER)


def _run(thing: D, start: datetime, end: datetime) -> Iterator[D]:
    start, end = max(start, thing.valid_from), min(end, thing.valid_to)
    if start < end:
        same = start == thing.valid_from and end == thing.valid_to
        yield thing if same else replace(thing, valid_from=start, valid_to=end)


def succeeded(claims: Sequence[Claim]) -> Iterator[Claim]:
    """Yield `claims`, each host ending where the next one on its address begins.

    A cluster gives an address out again only after its pod is gone, and the next pod's start is
    known to the second where its end is known only to the next snapshot.
    """
    hosts: dict[tuple[bytes, str], list[Claim]] = {}
    for claim in claims:
        if claim.first == claim.last and claim.identity.k8s_pod_uid:
            hosts.setdefault((claim.first, claim.identity.k8s_cluster_name), []).append(claim)
        else:
            yield claim
    for same in hosts.values():
        if len(same) == 1:
            yield same[0]
            continue
        same.sort(key=lambda claim: (claim.valid_from, claim.identity.k8s_pod_uid))
        for number, claim in enumerate(same):
            nexts = (
                other.valid_from
                for other in same[number + 1 :]
                if other.identity.k8s_pod_uid != claim.identity.k8s_pod_uid
                and other.valid_from > claim.valid_from
            )
            end = min(claim.valid_to, next(nexts, FOREVER))
            yield claim if end == claim.valid_to else replace(claim, valid_to=end)


def _united(interfaces: Iterable[NetworkInterface]) -> tuple[NetworkInterface, ...]:
    """Return each interface once, as last seen, with every block it ever had (undated)."""
    united: dict[str, NetworkInterface] = {}
    for one in interfaces:
        earlier = united[one.id].blocks if one.id in united else ()
        blocks = tuple(dict.fromkeys((*one.blocks, *earlier)))
        united[one.id] = one if blocks == one.blocks else replace(one, blocks=blocks)
    return tuple(united.values())


def _counted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each kind of finding once, with the largest count any snapshot had."""
    kept: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = finding.code, finding.subject
        if key not in kept or kept[key].count < finding.count:
            kept[key] = finding
    return tuple(kept.values())
