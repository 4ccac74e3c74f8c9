"""Clusters watched by the server, and what it tells their agents."""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime, timedelta

import pytest
from benchmarks.kubernetes_server import KubernetesServer
from msgspec.structs import replace

from flowcost import identities
from flowcost.errors import BusyError, ConfigError, NotFoundError
from flowcost.model import Identity
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_watch import Patience
from flowcost.server import agent_view
from flowcost.server.settings import Cluster
from flowcost.server.watching import Watching
from flowcost.views.service import ClusterState
from tests.resolve.kubernetes_world import NODE, minute, pod, service, slice_of

QUICK = Patience(idle=1.0, watch=60, first=0.02, most=0.1)


@pytest.fixture
def server():
    made = KubernetesServer()
    made.put("nodes", {**NODE, "metadata": dict(NODE["metadata"])})
    yield made
    made.close()


@pytest.fixture
def watching(server, tmp_path):
    with watch(server, tmp_path) as made:
        yield made


def watch(server, tmp_path, **options) -> Watching:
    return Watching(
        tmp_path,
        [Cluster(name="prod", url=server.url)],
        keep=timedelta(days=40),
        patience=QUICK,
        refresh_s=0.0,
        now=lambda: minute(0),
        **options,
    )


def told(watching, node="node-1", known="", *, changes=False):
    answer = watching.for_node("default", "prod", node, known=known, changes=changes)
    if not answer.packed:
        return None, answer.tag
    return identities.decode(gzip.decompress(answer.packed), "test"), answer.tag


def when(watching, holds, node="node-1"):
    end = time.monotonic() + 10
    while True:
        try:
            known, tag = told(watching, node)
            if holds(known):
                return known, tag
        except BusyError:
            pass
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_agent_is_told_its_own_pods_whole_and_its_peers_as_workloads(server, watching):
    server.put("nodes", node("node-2", "10.0.0.2", "use1-az2"))
    server.put("pods", pod("cart-0", "10.1.0.1", minute(-5)))
    for number in range(3):
        one = pod(f"stock-{number}", f"10.1.1.{number}", minute(-5), node="node-2")
        one["metadata"]["ownerReferences"][0]["name"] = "stock-6d5f"
        server.put("pods", one)
    server.put("services", service("stock", "10.2.0.1"))
    server.put("endpointslices", slice_of("stock", "uid-stock-0", outside="192.0.2.9"))
    known, _ = when(watching, lambda k: len(k.hosts) == 8)
    assert known.node.cloud_availability_zone == "use1-az1"
    assert known.pods["uid-cart-0"].k8s_pod_name == "cart-0"
    assert known.own == {"10.1.0.1": "uid-cart-0"}
    assert known.services == {"10.2.0.1": "shop/stock"}
    assert set(known.pods) == {"uid-cart-0"}
    peers = {text: known.identities[place] for text, place in known.hosts.items()}
    assert peers["10.1.1.1"] == peers["10.1.1.2"]
    assert peers["10.1.1.1"].k8s_workload_name == "stock"
    assert peers["10.1.1.1"].cloud_availability_zone == "use1-az2"
    assert peers["10.1.1.0"].service_name == "stock"
    assert peers["10.0.0.2"].k8s_node_name == "node-2"
    assert peers["192.0.2.9"] == Identity(service_name="stock")
    assert peers["10.2.0.1"].service_name == "stock"


def node(name: str, address: str, zone: str) -> dict:
    return {
        "metadata": {"name": name, "labels": {"topology.k8s.aws/zone-id": zone}},
        "spec": {
            "providerID": f"aws:///x/i-{address[-1]}",
            "podCIDRs": [f"10.8.{address[-1]}.0/24"],
        },
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def test_static_and_host_network_pods_are_known_by_cgroup_and_hold_no_address(server, watching):
    proxy = pod("proxy", "10.0.0.1", minute(-5))
    proxy["spec"]["hostNetwork"] = True
    proxy["metadata"]["annotations"] = {"kubernetes.io/config.hash": "abc"}
    server.put("pods", proxy)
    known, _ = when(watching, lambda k: k.pods)
    assert known.pods["abc"] == known.pods["uid-proxy"]
    assert known.identities[known.hosts["10.0.0.1"]] == known.node
    assert known.own == {}


def test_what_has_not_changed_is_not_told_again(server, watching):
    _, tag = when(watching, lambda k: k.hosts)
    assert told(watching, known=tag) == (None, tag)
    server.put("pods", pod("cart-0", "10.1.0.1", minute(-5)))
    when(watching, lambda k: len(k.hosts) == 2)
    assert told(watching, known=tag)[0]


def test_changes_laid_over_what_was_told_make_the_whole(server, watching):
    server.put("nodes", node("node-2", "10.0.0.2", "use1-az2"))
    server.put("pods", pod("cart-0", "10.1.0.1", minute(-5)))
    mine, tag = when(watching, lambda k: len(k.hosts) == 3)
    steps = (
        lambda: server.put("pods", pod("cart-1", "10.1.0.2", minute(-5), node="node-2")),
        lambda: server.delete("pods", "shop/cart-0"),
        lambda: server.put("pods", pod("new", "10.1.0.1", minute(-1))),
        lambda: server.put("services", service("cart", "10.2.0.1")),
        lambda: server.delete("services", "shop/cart"),
        lambda: server.delete("nodes", "/node-2"),
    )
    first, seen = (mine, tag), set()
    for step in steps:
        step()
        whole, newest = when(watching, lambda k, mine=mine: names(k) != names(mine))
        changes, tag = told(watching, known=tag, changes=True)
        assert changes.since
        assert len(changes.hosts) <= 2
        mine = identities.lay(changes, mine)
        assert (names(mine), tag) == (names(whole), newest)
        assert (mine.pods, mine.node, mine.own) == (whole.pods, whole.node, whole.own)
        seen.add(tag)
    assert len(seen) == len(steps)
    late, _ = told(watching, known=first[1], changes=True)
    assert names(identities.lay(late, first[0])) == names(mine)


def names(known):
    """What is told, by address: places in `identities` are of no account."""
    hosts = {text: known.identities[place] for text, place in known.hosts.items()}
    blocks = {text: known.identities[place] for text, place in known.blocks.items()}
    return hosts, blocks, known.services


def test_changes_that_do_not_fit_are_refused():
    whole = identities.AgentIdentities(identities=(Identity(),), hosts={"10.0.0.1": 0})
    with pytest.raises(identities.InventoryError):
        identities.lay(identities.AgentIdentities(since="x", first=9), whole)
    changes = identities.AgentIdentities(since="x", first=1, hosts={"10.0.0.2": 4})
    with pytest.raises(identities.InventoryError):
        identities.lay(changes, whole)


def test_an_unknown_tag_is_told_everything(server, watching):
    known, _ = when(watching, lambda k: k.hosts)
    for tag in ("", '"x"', '"0000.1.aa"', '"0000.x.aa"'):
        assert told(watching, known=tag, changes=True)[0] == known


def test_identities_of_workloads_long_gone_are_let_go(server, watching, monkeypatch):
    monkeypatch.setattr(agent_view, "_SPARE", 0)
    mine, tag = when(watching, lambda k: k.hosts)
    for number in range(6):
        server.put("pods", pod(f"app-{number}", "10.1.0.1", minute(-5)))
        when(watching, lambda k, n=number: f"uid-app-{n}" in k.pods)
        server.delete("pods", f"shop/app-{number}")
        when(watching, lambda k: not k.pods)
    whole, _ = when(watching, lambda k: len(k.identities) <= 3)
    assert names(whole) == names(mine)
    again, _ = told(watching, known=tag, changes=True)
    assert not again.since


def test_nothing_is_told_before_the_cluster_is_known_but_after_a_restart_all_is(server, tmp_path):
    server.put("pods", pod("cart-0", "10.1.0.1", minute(-5)))
    server.down = True
    with watch(server, tmp_path) as first:
        with pytest.raises(BusyError):
            told(first)
        server.down = False
        known, _ = when(first, lambda k: len(k.hosts) == 2)
    server.down = True
    with watch(server, tmp_path) as second:
        again, _ = when(second, lambda k: len(k.hosts) == 2)
        assert names(again) == names(known)


def test_another_tenant_and_an_unwatched_cluster_are_told_nothing(watching):
    for tenant, cluster in (("other", "prod"), ("default", "dev")):
        with pytest.raises(NotFoundError):
            watching.for_node(tenant, cluster, "node-1")


def test_states_join_what_posted_with_what_is_watched(server, tmp_path):
    at = datetime(2026, 11, 25, tzinfo=UTC)
    posted = [
        ClusterState(cluster="edge", nodes=2, last_segment=at),
        ClusterState(cluster="prod", nodes=3, last_segment=at),
    ]
    made = watch(server, tmp_path, posted=lambda tenant: posted if tenant == "default" else [])
    assert [one.watch for one in made.states("default")] == ["none", "syncing"]
    with made:
        server.put("pods", pod("cart-0", "10.1.0.1", minute(-5)))
        when(made, lambda k: len(k.hosts) == 2)
        stands(made, "watching")
        edge, prod = made.states("default")
        assert edge == posted[0]
        assert (prod.watch, prod.nodes, prod.pods, prod.last_segment) == ("watching", 3, 1, at)
        assert prod.watched_until == minute(0)
        assert made.states("other") == []
        server.down = True
        server.cut()
        stands(made, "broken")
        assert "API server" in made.states("default")[1].watch_error


def stands(watching, word):
    end = time.monotonic() + 10
    while watching.states("default")[1].watch != word:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_inventory_places_nodes(server, tmp_path):
    place = Identity(cloud_account_id="111122223333", cloud_availability_zone="use1-az1")
    inventory = Inventory(instances={"i-0abc": place})
    with watch(server, tmp_path, inventory=lambda _: inventory) as made:
        known, _ = when(made, lambda k: k.hosts)
        assert known.node.cloud_account_id == "111122223333"


def test_a_cluster_is_reached_in_one_way():
    with pytest.raises(ValueError, match="one of"):
        Cluster(name="prod")
    with pytest.raises(ValueError, match="one of"):
        Cluster(name="prod", url="https://x", in_cluster=True)


def test_two_clusters_of_one_tenant_have_two_names(tmp_path, server):
    one = Cluster(name="prod", url=server.url)
    with pytest.raises(ConfigError):
        Watching(tmp_path, [one, one], keep=timedelta(days=1))
    both = [one, replace(one, tenant="other")]
    assert Watching(tmp_path, both, keep=timedelta(days=1)).states("other")
