"""The watch against a real kube-apiserver and etcd, where they are installed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flowcost import clock
from flowcost.address import pack
from flowcost.clock import parse
from flowcost.resolve import recorded
from flowcost.resolve.chronicle import read
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_recorder import Recorder
from flowcost.resolve.kubernetes_watch import Patience
from flowcost.resolve.lookup import lookup
from flowcost.resolve.timeline import build
from tests.resolve import kube_apiserver
from tests.resolve.kubernetes_world import FAR, waiting

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(kube_apiserver.missing()), reason=kube_apiserver.missing()),
]


@pytest.fixture(scope="module")
def cluster():
    with kube_apiserver.running() as made:
        yield made


def recorder(cluster, folder) -> Recorder:
    return Recorder(
        cluster.api(),
        recorded.place(folder, "real"),
        keep=timedelta(days=40),
        patience=Patience(first=0.1, most=1.0),
        page=2,
    )


def stands(one: Recorder, *, pods: int) -> None:
    waiting(lambda: (one.state.watch, one.state.pods) == ("watching", pods), 120, lambda: one.state)


def resolution(folder):
    return build(recorded.layers(folder, parse("2026-11-25"), FAR, Inventory()))


def test_a_day_in_the_life_of_a_cluster(cluster, tmp_path):
    kube_apiserver.before(cluster)
    first = recorder(cluster, tmp_path)
    first.start()
    waiting(
        lambda: first.state.watch == "watching" and first.state.pods == 3, 60, lambda: first.state
    )
    kube_apiserver.after(cluster)
    waiting(lambda: "10.0.0.2" in addresses(tmp_path), 60)
    waiting(lambda: "10.244.0.7" in addresses(tmp_path), 60)
    # The server restarts: what we ask to resume from is older than its new cache.
    cluster.stop_serving()
    waiting(lambda: first.state.watch == "broken", 60)
    cluster.start()
    cluster.stop("cart-2", "2026-11-25T09:00:00Z", "2026-11-25T10:30:00Z")
    stands(first, pods=3)
    first.close()
    # We restart: nothing is listed again, nothing is missed.
    cluster.stop("stock-0", "2026-11-25T10:01:00Z", "2026-11-25T10:40:00Z")
    second = recorder(cluster, tmp_path)
    second.start()
    stands(second, pods=2)
    second.close()
    known = resolution(tmp_path)

    def pod(address: str, at: str) -> str:
        return lookup(known, pack(address), parse(at)).k8s_pod_name

    assert pod("10.244.0.1", "2026-11-25T10:01:59Z") == "cart-1"
    assert pod("10.244.0.1", "2026-11-25T10:02:30Z") == ""
    assert pod("10.244.0.1", "2026-11-25T10:03:00Z") == "cart-9"
    assert pod("10.244.0.7", "2026-11-25T10:03:30Z") == "job-0"
    assert pod("10.244.0.7", "2026-11-25T10:04:00Z") == ""
    assert pod("10.244.0.2", "2026-11-25T10:29:59Z") == "cart-2"
    assert pod("10.244.0.8", "2026-11-25T10:39:59Z") == "stock-0"
    assert pod("10.244.0.8", "2026-11-25T10:40:00Z") == ""
    who = lookup(known, pack("10.244.0.0"), clock.now())
    assert (who.k8s_workload_kind, who.k8s_workload_name) == ("Deployment", "cart")
    assert (who.cloud_availability_zone, who.service_name) == ("use1-az1", "cart")
    assert (who.stage, who.owner_team) == ("prod", "basket")
    assert any(one.name == "shop/cart" for one in known.services)


def addresses(folder) -> set[str]:
    facts = read(recorded.place(folder, "real"), parse("2026-11-25"), FAR)
    return {fact.key for fact in facts}
