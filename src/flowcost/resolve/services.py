"""Virtual addresses by name: at most one name per cluster, address and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from flowcost.resolve import Layer, ServiceClaim
from flowcost.resolve.flatten import spans

_Ranked = tuple[int, ServiceClaim]


def flat_services(layers: Sequence[Layer]) -> tuple[ServiceClaim, ...]:
    """Return the services of `layers`, which come in order of precedence, disjoint and sorted.

    Of claims on one address at one time the earlier layer's counts; where equal ones differ there
    is no name. Only where clusters call an address by different names does a row name one.
    """
    held: dict[bytes, set[_Ranked]] = {}
    ranks = {source: rank for rank, source in enumerate(dict.fromkeys(x.source for x in layers))}
    for layer in layers:
        for one in layer.services:
            held.setdefault(one.address, set()).add((ranks[layer.source], one))
    found = [one for same in held.values() for one in _joined(sorted(same, key=_order))]
    return tuple(sorted(found, key=lambda one: (one.cluster, one.address, one.valid_from)))


def _order(ranked: _Ranked) -> tuple[int, datetime, datetime, str, str]:
    rank, one = ranked
    return rank, one.valid_from, one.valid_to, one.cluster, one.name


def _joined(same: Sequence[_Ranked]) -> Iterator[ServiceClaim]:
    """Yield the names of one address; adjoining ones that are equal become one."""
    open_: dict[str, ServiceClaim] = {}
    for one in _pieces(same):
        before = open_.get(one.cluster)
        if before and (before.valid_to, before.name) == (one.valid_from, one.name):
            one = ServiceClaim(  # noqa: PLW2901 - the longer one
                address=one.address,
                name=one.name,
                cluster=one.cluster,
                valid_from=before.valid_from,
                valid_to=one.valid_to,
            )
        elif before:
            yield before
        open_[one.cluster] = one
    yield from open_.values()


def _pieces(same: Sequence[_Ranked]) -> Iterator[ServiceClaim]:
    for span in spans(same, lambda ranked: (ranked[1].valid_from, ranked[1].valid_to)):
        clusters = {""}
        if len({one.name for _, one in span.covering}) > 1:
            clusters |= {one.cluster for _, one in span.covering}
        for cluster in sorted(clusters):
            name = _name(span.covering, cluster)
            if name:
                yield ServiceClaim(
                    address=span.covering[0][1].address,
                    name=name,
                    cluster=cluster,
                    valid_from=span.start,
                    valid_to=span.end,
                )


def _name(covering: Sequence[_Ranked], cluster: str) -> str:
    """Return what an address is called in a cluster; "" where nothing is certain."""
    fitting = [(rank, one.name) for rank, one in covering if not cluster or one.cluster == cluster]
    first = min(rank for rank, _ in fitting)
    names = {name for rank, name in fitting if rank == first}
    return names.pop() if len(names) == 1 else ""
