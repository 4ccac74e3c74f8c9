"""Segments as an agent would post them, for whatever takes them."""

from datetime import UTC, datetime

from flowcost import segment
from flowcost.address import pack
from flowcost.model import Direction, EndKind, Identity, Initiator
from flowcost.segment import Flow, SeenPod, Segment

HOUR = datetime(2026, 11, 20, 10, tzinfo=UTC)
NODE = Identity(
    kind=EndKind.COMPUTE,
    cloud_provider="aws",
    cloud_account_id="111111111111",
    cloud_region="us-east-1",
    k8s_cluster_name="prod",
)


def node(name, zone):
    """Return the identity of a node in a zone."""
    return Identity(
        kind=EndKind.COMPUTE,
        cloud_provider="aws",
        cloud_account_id="111111111111",
        cloud_region="us-east-1",
        cloud_availability_zone=zone,
        k8s_cluster_name="prod",
        k8s_node_name=name,
    )


NODES = {"node-a": node("node-a", "use1-az1"), "node-b": node("node-b", "use1-az2")}
PODS = {
    "cart": SeenPod(
        uid="uid-cart",
        namespace="shop",
        name="cart-0",
        workload_kind="Deployment",
        workload_name="cart",
        owner_team="storefront",
    ),
    "checkout": SeenPod(
        uid="uid-checkout",
        namespace="shop",
        name="checkout-0",
        workload_kind="Deployment",
        workload_name="checkout",
        owner_team="payments",
    ),
}
ADDRESSES = {"cart": pack("10.244.1.5"), "checkout": pack("10.244.2.7")}


def micros(instant):
    """Return microseconds since 1970."""
    return int(instant.timestamp()) * 1_000_000


def flow(local, remote, direction, size, **more):
    """Return one flow between two of the shop's pods."""
    more.setdefault("initiator", Initiator.LOCAL if local == "cart" else Initiator.REMOTE)
    return Flow(
        local_uid=PODS[local].uid,
        local_address=ADDRESSES[local],
        remote_address=ADDRESSES[remote],
        transport=6,
        direction=direction,
        bytes=size,
        packets=1 + size // 1400,
        **more,
    )


def posted(name, sequence, flows, *, at=0, seconds=5, hour=HOUR, epoch=7, pods=None, **more):
    """Return a segment of node `name` whose window begins `at` seconds into the hour."""
    start = micros(hour) + at * 1_000_000
    owned = {"node-a": "cart", "node-b": "checkout"}[name]
    fields = {
        "cluster": "prod",
        "node": name,
        "boot": f"boot-{name}",
        "epoch": epoch,
        "sequence": sequence,
        "window_start": start,
        "window_end": start + seconds * 1_000_000,
        "node_identity": NODES[name],
        "pods": (PODS[owned],) if pods is None else pods,
        "flows": segment.pack(flows),
    }
    return Segment(**(fields | more))


def both_ends(sequence, size, *, at=0, hour=HOUR):
    """Return what both nodes post when cart sends `size` bytes to checkout."""
    return [
        posted(
            "node-a",
            sequence,
            [
                flow("cart", "checkout", Direction.TRANSMIT, size),
                flow("cart", "checkout", Direction.RECEIVE, size // 10),
            ],
            at=at,
            hour=hour,
        ),
        posted(
            "node-b",
            sequence,
            [
                flow("checkout", "cart", Direction.RECEIVE, size),
                flow("checkout", "cart", Direction.TRANSMIT, size // 10),
            ],
            at=at,
            hour=hour,
        ),
    ]
