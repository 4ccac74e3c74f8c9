import json

import pytest

from flowcost import clock
from flowcost.address import pack
from flowcost.agent.identity import world
from flowcost.agent.imds import Place
from flowcost.agent.kubernetes import decode
from flowcost.errors import InventoryError
from flowcost.lab import objects, plan
from flowcost.model import EndKind
from flowcost.resolve.lookup import lookup

NOW = clock.parse("2026-11-20T12:00:00Z")
SHOP = plan.shop()
A, B = SHOP.nodes


def shop_world(node=A, place=None, documents=None, **options):
    documents = documents or objects.documents(SHOP, node=node.name)
    return world(
        decode(documents),
        node_name=node.name,
        cluster="lab",
        place=objects.place(node) if place is None else place,
        at=NOW,
        **options,
    )


def who(known, text):
    return lookup(known.resolution, pack(text), NOW)


def edited(change, node=A):
    """The shop's documents after `change(resource, item)` on every object."""
    found = {}
    for resource, body in objects.documents(SHOP, node=node.name).items():
        items = json.loads(body)["items"]
        for item in items:
            change(resource, item)
        found[resource] = json.dumps({"items": items}).encode()
    return found


def test_the_nodes_own_pods_are_known_by_uid_with_workload_and_place():
    cart = shop_world().pods[SHOP.pod("cart-0").uid]
    assert (cart.k8s_namespace_name, cart.k8s_workload_kind, cart.k8s_workload_name) == (
        "shop",
        "Deployment",
        "cart",
    )
    assert (cart.cloud_availability_zone, cart.cloud_account_id, cart.cloud_subnet_id) == (
        "use1-az1",
        plan.ACCOUNT,
        "subnet-0lab1",
    )


def test_a_backend_on_another_node_is_known_with_that_nodes_zone():
    checkout = who(shop_world(), SHOP.pod("checkout-0").v4)
    assert checkout.k8s_pod_name == "checkout-0"
    assert checkout.service_name == "checkout"
    assert checkout.cloud_availability_zone == "use1-az2"
    assert checkout.kind is EndKind.COMPUTE


def test_a_service_address_has_a_name_and_no_zone():
    known = shop_world()
    virtual = who(known, "10.96.0.10")
    assert virtual.service_name == "checkout"
    assert virtual.cloud_availability_zone == ""
    assert known.services[pack("10.96.0.10")] == "shop/checkout"


def test_an_address_of_a_nodes_pod_block_is_at_that_node():
    stranger = who(shop_world(), "10.244.2.200")
    assert (stranger.k8s_node_name, stranger.k8s_pod_name) == ("node-b", "")
    assert stranger.cloud_availability_zone == "use1-az2"


def test_a_host_network_pod_is_known_by_uid_while_its_address_stays_the_nodes():
    known = shop_world()
    assert known.pods[SHOP.pod("proxy-a").uid].k8s_workload_name == "proxy"
    assert who(known, A.v4).k8s_pod_name == ""
    assert who(known, A.v4).k8s_node_name == "node-a"


def test_pods_of_other_nodes_are_not_taken_for_own_ones():
    everything = objects.documents(SHOP)
    assert SHOP.pod("checkout-0").uid not in shop_world(documents=everything).pods


def test_zone_names_become_ids_where_the_mapping_is_given():
    def no_label(resource, item):
        if resource == "nodes":
            del item["metadata"]["labels"]["topology.k8s.aws/zone-id"]

    known = shop_world(documents=edited(no_label), zone_ids={"us-east-1b": "use1-az2"})
    assert known.node.cloud_availability_zone == "use1-az1"
    assert who(known, B.v4).cloud_availability_zone == "use1-az2"


def test_without_a_mapping_zones_are_compared_by_name_never_a_name_with_an_id():
    def no_label(resource, item):
        if resource == "nodes":
            del item["metadata"]["labels"]["topology.k8s.aws/zone-id"]

    known = shop_world(documents=edited(no_label))
    assert known.node.cloud_availability_zone == "us-east-1a"
    assert who(known, B.v4).cloud_availability_zone == "us-east-1b"


def test_a_node_without_any_zone_stays_unknown():
    def bare(resource, item):
        if resource == "nodes" and item["metadata"]["name"] == "node-b":
            item["metadata"]["labels"] = {}

    known = shop_world(documents=edited(bare))
    assert who(known, B.v4).cloud_availability_zone == ""
    assert known.node.cloud_availability_zone == "use1-az1"


def test_a_static_pod_is_also_known_by_its_configuration_hash():
    def static(resource, item):
        if item["metadata"]["name"] == "cart-0":
            item["metadata"]["annotations"] = {"kubernetes.io/config.hash": "ab" * 16}

    known = shop_world(documents=edited(static))
    assert known.pods["ab" * 16].k8s_pod_name == "cart-0"


def test_headless_services_and_missing_targets_are_read():
    def odd(resource, item):
        if resource == "services":
            item["spec"]["clusterIPs"] = ["None"]
        if resource == "endpointslices":
            for endpoint in item["endpoints"]:
                del endpoint["targetRef"], endpoint["nodeName"]

    known = shop_world(documents=edited(odd))
    assert known.services == {}
    assert who(known, SHOP.pod("checkout-0").v4).service_name == "checkout"


def test_without_kubernetes_the_node_still_has_its_place():
    known = world(decode({}), node_name="vm-1", cluster="", place=Place(region="us-east-1"), at=NOW)
    assert (known.node.k8s_node_name, known.node.cloud_region) == ("vm-1", "us-east-1")


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (("ReplicaSet", f"web-{objects.HASH}"), ("Deployment", "web")),
        (("ReplicaSet", "web-1"), ("ReplicaSet", "web-1")),
        (("StatefulSet", "db"), ("StatefulSet", "db")),
        (("Job", "report-29012345"), ("CronJob", "report")),
        (None, ("Pod", "cart-0")),
    ],
)
def test_the_workload_is_what_controls_the_pod(owner, expected):
    def owned(resource, item):
        if item["metadata"]["name"] == "cart-0":
            owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
            item["metadata"]["ownerReferences"] = owners

    cart = shop_world(documents=edited(owned)).pods[SHOP.pod("cart-0").uid]
    assert (cart.k8s_workload_kind, cart.k8s_workload_name) == expected


def test_a_finished_pods_address_is_no_longer_its_own():
    def finished(resource, item):
        if item["metadata"]["name"] == "cart-0":
            item["status"]["phase"] = "Succeeded"

    known = shop_world(documents=edited(finished))
    assert who(known, SHOP.pod("cart-0").v4).k8s_pod_name == ""
    assert known.pods[SHOP.pod("cart-0").uid].k8s_pod_name == "cart-0"


def test_a_document_that_is_no_list_names_the_command_that_prints_one():
    with pytest.raises(InventoryError) as refused:
        decode({"pods": b'{"items": [{"metadata": 7}]}'})
    assert "kubectl get pods" in refused.value.hint
