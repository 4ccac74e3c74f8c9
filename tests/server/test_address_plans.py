"""Two clusters with equal pod and node addresses post to one server; each keeps its own."""

import pytest
from msgspec.structs import replace

from flowcost import segment
from flowcost.ledger.query import Selection, costs
from flowcost.model import Direction
from tests.server.posting import NODES, PODS, flow, posted
from tests.server.test_live import Site

# Zones of the two nodes that the pods cart and checkout run on.
CLUSTERS = {"blue": ("use1-az1", "use1-az2"), "green": ("use1-az4", "use1-az4")}


def world(cluster: str):
    """Return a cluster's nodes and pods; only the uids and places differ from the other's."""
    nodes = {
        name: replace(node, k8s_cluster_name=cluster, cloud_availability_zone=zone)
        for (name, node), zone in zip(NODES.items(), CLUSTERS[cluster], strict=True)
    }
    pods = {name: replace(pod, uid=f"{cluster}-{name}") for name, pod in PODS.items()}
    return nodes, pods


def conversation(cluster: str, sequence: int, size: int):
    """Yield what a cluster's agents post of `size` bytes from cart to checkout."""
    nodes, pods = world(cluster)
    seen = {
        "node-a": ("cart", "checkout", Direction.TRANSMIT),
        "node-b": ("checkout", "cart", Direction.RECEIVE),
    }
    for name, (local, remote, direction) in seen.items():
        yield replace(
            posted(name, sequence, [], pods=(pods[local],)),
            cluster=cluster,
            boot=f"boot-{cluster}-{name}",
            node_identity=nodes[name],
            flows=segment.pack(
                [flow(local, remote, direction, size)._replace(local_uid=pods[local].uid)]
            ),
        )


def post(site, cluster, segments):
    for one in segments:
        site.inbox.put("acme", cluster, segment.encode(one))


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "live")
    yield made
    made.stop()


def booked(site):
    keys = ("local.k8s.pod.uid", "remote.k8s.pod.uid", "remote.k8s.cluster.name", "path")
    table = costs(site.ledger, Selection(tenant="acme"), by=("direction", *keys))
    return {row[: len(keys) + 1]: row[len(keys) + 1] for row in table.rows if row[len(keys) + 1]}


BOTH = {
    ("transmit", "blue-cart", "blue-checkout", "blue", "cross_az"): 1_000_000,
    ("receive", "blue-checkout", "blue-cart", "blue", "cross_az"): 1_000_000,
    ("transmit", "green-cart", "green-checkout", "green", "same_zone"): 3_000,
    ("receive", "green-checkout", "green-cart", "green", "same_zone"): 3_000,
}


def test_each_conversation_is_booked_to_its_own_pods(site):
    post(site, "blue", conversation("blue", 1, 1_000_000))
    post(site, "green", conversation("green", 1, 3_000))
    site.live.round()
    assert booked(site) == BOTH


def test_the_order_of_the_clusters_changes_nothing(site, tmp_path):
    post(site, "blue", conversation("blue", 1, 1_000_000))
    site.live.round()
    post(site, "green", conversation("green", 1, 3_000))
    site.live.round()
    other = Site(tmp_path / "other")
    post(other, "green", conversation("green", 1, 3_000))
    post(other, "blue", conversation("blue", 1, 1_000_000))
    other.live.round()
    assert booked(other) == BOTH
    assert other.content() == site.content()
    other.stop()
