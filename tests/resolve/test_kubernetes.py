"""Pods, nodes, Services and their history, from `kubectl get -o json`."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from flowcost.address import pack
from flowcost.clock import iso, parse
from flowcost.errors import InventoryError
from flowcost.model import EndKind
from flowcost.resolve import inventory
from flowcost.resolve.kubernetes_resources import RESOURCES
from flowcost.resolve.lookup import lookup
from flowcost.resolve.plans import plans_of
from flowcost.resolve.timeline import build
from tests.resolve import aws_world

AT = parse("2026-11-15")


def pod(name: str, ip: str, *, uid: str = "", owner=None, status=None, **spec) -> dict:
    labels = {"pod-template-hash": "6d5f"} if owner and owner[0] == "ReplicaSet" else {}
    meta = {"name": name, "namespace": "shop", "uid": uid or f"uid-{name}", "labels": labels}
    if owner:
        meta["ownerReferences"] = [
            {"kind": "Other", "name": "x", "controller": False},
            {"kind": owner[0], "name": owner[1], "controller": True},
        ]
    return {
        "metadata": meta,
        "spec": {"nodeName": "node-1", **spec},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], **(status or {})},
    }


NODES = [
    {
        "metadata": {
            "name": "node-1",
            "labels": {
                "topology.kubernetes.io/region": "us-east-1",
                "topology.kubernetes.io/zone": "us-east-1a",
            },
        },
        "spec": {"providerID": "aws:///us-east-1a/i-0abc"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "10.0.1.10"},
                {"type": "Hostname", "address": "ip-10-0-1-10.ec2.internal"},
            ]
        },
    }
]


def write(directory: Path, cluster: str = "prod", **resources: list[dict]) -> Path:
    home = directory / "kubernetes" / cluster
    home.mkdir(parents=True, exist_ok=True)
    for name, items in resources.items():
        (home / f"{name}.json").write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        )
    return directory


def resolved(directory: Path):
    return build(inventory.read(directory, published=False))


def who(directory: Path, address: str, at=AT, plans=()):
    return lookup(resolved(directory), pack(address), at, plans)


def test_a_pod_on_an_interface_address_gets_its_place_from_there(tmp_path):
    aws_world.write(tmp_path)
    write(tmp_path, nodes=NODES, pods=[pod("cart-0", "10.0.1.11"), pod("cart-1", "10.0.1.35")])
    for address in ("10.0.1.11", "10.0.1.35"):  # a secondary address, and a delegated prefix
        found = who(tmp_path, address)
        assert found.kind is EndKind.COMPUTE
        assert found.k8s_namespace_name == "shop"
        assert found.k8s_node_name == "node-1"
        assert found.k8s_cluster_name == "prod"
        assert found.cloud_availability_zone == "use1-az4"
        assert found.cloud_account_id == aws_world.ACCOUNT
        assert (found.cloud_vpc_id, found.cloud_subnet_id) == ("vpc-a", "subnet-a")
        assert found.cloud_resource_id == "i-0abc"


def test_a_pod_on_an_overlay_stands_where_its_node_stands(tmp_path):
    aws_world.write(tmp_path)
    write(tmp_path, nodes=NODES, pods=[pod("cart-0", "10.244.3.7")])
    found = who(tmp_path, "10.244.3.7")
    assert (found.k8s_pod_name, found.cloud_availability_zone) == ("cart-0", "use1-az4")
    assert (found.cloud_vpc_id, found.cloud_subnet_id) == ("vpc-a", "subnet-a")


def test_a_zone_name_is_no_zone_id_and_the_gap_is_reported(tmp_path):
    write(tmp_path, nodes=NODES, pods=[pod("cart-0", "10.0.1.11")])
    found = who(tmp_path, "10.0.1.11")
    assert found.cloud_availability_zone == ""
    assert found.cloud_region == "us-east-1"
    (finding,) = resolved(tmp_path).findings
    assert (finding.code, finding.subject, finding.count) == ("node-without-zone", "prod", 1)


def test_the_zone_id_label_and_other_clouds_zones_are_ids(tmp_path):
    eks = json.loads(json.dumps(NODES))
    eks[0]["metadata"]["labels"] = {"topology.k8s.aws/zone-id": "use1-az4"}
    write(tmp_path, cluster="eks", nodes=eks, pods=[pod("a", "10.0.1.11")])
    gke = json.loads(json.dumps(NODES))
    gke[0]["spec"]["providerID"] = "gce://project/us-central1-a/gke-node-1"
    gke[0]["metadata"]["labels"]["topology.kubernetes.io/zone"] = "us-central1-a"
    gke[0]["status"]["addresses"] = []
    write(tmp_path, cluster="gke", nodes=gke, pods=[pod("b", "10.8.1.11")])
    found = who(tmp_path, "10.0.1.11")
    assert (found.cloud_availability_zone, found.cloud_region) == ("use1-az4", "us-east-1")
    other = who(tmp_path, "10.8.1.11")
    assert (other.cloud_availability_zone, other.cloud_provider) == ("us-central1-a", "gcp")


def test_a_pod_on_the_hosts_network_never_takes_the_nodes_address(tmp_path):
    pods = [pod("proxy", "10.0.1.10", hostNetwork=True), pod("cart-0", "10.0.1.11")]
    write(tmp_path, nodes=NODES, pods=pods)
    found = who(tmp_path, "10.0.1.10")
    assert (found.k8s_node_name, found.k8s_pod_name) == ("node-1", "")


def test_both_addresses_of_a_dual_stack_pod_are_its_own(tmp_path):
    status = {"podIPs": [{"ip": "10.0.1.11"}, {"ip": "2600:1f18:aaaa:1::b"}]}
    write(tmp_path, pods=[pod("cart-0", "10.0.1.11", status=status)])
    assert who(tmp_path, "2600:1f18:aaaa:1::b").k8s_pod_name == "cart-0"


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (("ReplicaSet", "cart-6d5f"), ("Deployment", "cart")),
        (("ReplicaSet", "alone"), ("Rollout", "canary")),  # from replicasets.json
        (("StatefulSet", "db"), ("StatefulSet", "db")),
        (("DaemonSet", "logs"), ("DaemonSet", "logs")),
        (("Job", "report-28912345"), ("CronJob", "report")),
        (("Job", "once"), ("Job", "once")),
        (None, ("Pod", "p")),
    ],
)
def test_a_pod_belongs_to_the_workload_at_the_top(tmp_path, owner, expected):
    sets = [
        {
            "metadata": {
                "name": "alone",
                "namespace": "shop",
                "ownerReferences": [{"kind": "Rollout", "name": "canary", "controller": True}],
            }
        }
    ]
    jobs = [{"metadata": {"name": "once", "namespace": "shop"}}]
    write(tmp_path, pods=[pod("p", "10.0.1.11", owner=owner)], replicasets=sets, jobs=jobs)
    found = who(tmp_path, "10.0.1.11")
    assert (found.k8s_workload_kind, found.k8s_workload_name) == expected


def test_labels_of_the_pod_win_over_those_of_its_namespace(tmp_path):
    one = pod("cart-0", "10.0.1.11")
    one["metadata"]["labels"] = {"team": "carts", "app.kubernetes.io/name": "cart"}
    names = [{"metadata": {"name": "shop", "labels": {"team": "shop", "stage": "prod"}}}]
    write(tmp_path, pods=[one], namespaces=names)
    found = who(tmp_path, "10.0.1.11")
    assert (found.owner_team, found.stage, found.service_name) == ("carts", "prod", "cart")


def test_services_are_dialed_addresses_and_never_identities(tmp_path):
    services = [
        {
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"clusterIP": "172.20.0.10", "clusterIPs": ["172.20.0.10", "fd00::10"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}, {"hostname": "x"}]}},
        },
        {"metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "None"}},
    ]
    write(tmp_path, services=services)
    resolution = resolved(tmp_path)
    assert {(one.address, one.name) for one in resolution.services} == {
        (pack(text), "shop/cart") for text in ("172.20.0.10", "fd00::10", "203.0.113.5")
    }
    assert not lookup(resolution, pack("172.20.0.10"), AT).k8s_namespace_name


def test_slices_name_the_service_of_a_pod_and_of_outside_addresses(tmp_path):
    def piece(service: str, *endpoints: dict, address_type: str = "IPv4") -> dict:
        labels = {"kubernetes.io/service-name": service}
        return {
            "metadata": {"name": f"{service}-x", "namespace": "shop", "labels": labels},
            "addressType": address_type,
            "endpoints": list(endpoints) or None,
        }

    target = {"kind": "Pod", "name": "cart-0", "uid": "uid-cart-0"}
    slices = [
        piece("cart", {"addresses": ["10.0.1.11"], "targetRef": target}),
        piece("legacy-db", {"addresses": ["192.168.7.7"]}),
        piece("api", {"addresses": ["api.example.com"]}, address_type="FQDN"),
        piece("empty"),
    ]
    write(tmp_path, pods=[pod("cart-0", "10.0.1.11")], endpointslices=slices)
    assert who(tmp_path, "10.0.1.11").service_name == "cart"
    assert who(tmp_path, "192.168.7.7").service_name == "legacy-db"


def test_an_ended_pod_holds_its_address_only_while_it_ran(tmp_path):
    def ended(phase: str, **status) -> dict:
        return {"phase": phase, **status}

    finished = {
        "startTime": "2026-11-15T10:00:00Z",
        "containerStatuses": [
            {"state": {"terminated": {"finishedAt": "2026-11-15T10:20:00Z"}}},
            {"state": {"terminated": {"finishedAt": "2026-11-15T10:30:00Z"}}},
        ],
    }
    pods = [
        pod("done", "10.0.1.11", status=ended("Succeeded", **finished)),
        pod("lost", "10.0.1.12", status=ended("Failed")),
    ]
    write(tmp_path, pods=pods)
    start = parse("2026-11-15T10:00:00Z")
    names = [
        who(tmp_path, "10.0.1.11", start + timedelta(minutes=minute)).k8s_pod_name
        for minute in (-1, 0, 29, 30)
    ]
    assert names == ["", "done", "done", ""]
    assert who(tmp_path, "10.0.1.12").k8s_pod_name == ""


def test_a_reused_address_changes_hands_when_the_next_pod_starts(tmp_path):
    hour = parse("2026-11-15T10:00:00Z")

    def running(name: str, minute: int) -> dict:
        start = iso(hour + timedelta(minutes=minute))
        return pod(name, "10.0.1.11", status={"startTime": start})

    for number, pods in enumerate(
        ([running("old", -90)], [running("new", 20)], [running("new", 20)], [])
    ):
        write(tmp_path / iso(hour + timedelta(hours=number)), pods=pods)
    names = [
        who(tmp_path, "10.0.1.11", hour + timedelta(minutes=minute)).k8s_pod_name
        for minute in (-91, -90, 0, 19, 20, 59, 60, 179, 180)
    ]
    assert names == ["", "old", "old", "old", "new", "new", "new", "new", ""]
    assert not resolved(tmp_path).findings


def test_two_clusters_that_share_a_pod_range_have_each_its_own_pod_and_say_so(tmp_path):
    for cluster in ("blue", "green"):
        write(tmp_path, cluster=cluster, pods=[pod(cluster, "10.244.0.5", uid=cluster)])
    found = who(tmp_path, "10.244.0.5")
    assert (found.k8s_pod_name, found.k8s_cluster_name) == ("", "")
    assert found.k8s_namespace_name == "shop"
    for cluster in ("blue", "green"):
        assert who(tmp_path, "10.244.0.5", plans=plans_of(cluster=cluster)).k8s_pod_name == cluster
    (finding,) = resolved(tmp_path).findings
    assert finding.code == "overlapping-address-plans"
    assert finding.sample == "10.244.0.5"


def test_pods_of_two_clusters_in_two_vpcs_of_one_plan_are_placed_in_their_own(tmp_path):
    home = tmp_path / "aws" / "111111111111" / "us-east-1"
    home.mkdir(parents=True)
    subnets = [
        {
            "SubnetId": f"subnet-{vpc}{number}",
            "VpcId": f"vpc-{vpc}",
            "AvailabilityZoneId": zone,
            "CidrBlock": f"10.0.{number}.0/24",
        }
        for vpc, zones in (("a", ("use1-az1", "use1-az2")), ("b", ("use1-az4", "use1-az6")))
        for number, zone in enumerate(zones, 1)
    ]
    interfaces = [
        {
            "NetworkInterfaceId": f"eni-{vpc}",
            "SubnetId": f"subnet-{vpc}1",
            "VpcId": f"vpc-{vpc}",
            "PrivateIpAddress": "10.0.1.10",
            "Attachment": {"InstanceId": f"i-0{vpc}"},
        }
        for vpc in "ab"
    ]
    (home / "describe-subnets.json").write_text(json.dumps({"Subnets": subnets}))
    (home / "describe-network-interfaces.json").write_text(
        json.dumps({"NetworkInterfaces": interfaces})
    )
    for cluster, vpc in (("blue", "a"), ("green", "b")):
        node = {**NODES[0], "spec": {"providerID": f"aws:///us-east-1a/i-0{vpc}"}}
        write(tmp_path, cluster, nodes=[node], pods=[pod(cluster, "10.0.2.7", uid=cluster)])
    for plans in (plans_of(cluster="blue"), plans_of(vpc="vpc-a")):
        found = who(tmp_path, "10.0.2.7", plans=plans)
        assert (found.k8s_pod_name, found.cloud_vpc_id) == ("blue", "vpc-a")
        assert found.cloud_subnet_id == "subnet-a2"  # its own, not its node's
    assert who(tmp_path, "10.0.1.10", plans=plans_of(vpc="vpc-b")).cloud_resource_id == "i-0b"
    assert who(tmp_path, "10.0.2.7").k8s_pod_name == ""


@pytest.mark.parametrize(
    "resource",
    ["pods", "nodes", "services", "endpointslices", "namespaces", "replicasets", "jobs"],
)
def test_every_resource_named_here_is_read(tmp_path, resource):
    assert resource in RESOURCES
    home = write(tmp_path) / "kubernetes" / "prod"
    (home / f"{resource}.json").write_text('{"items": [{"metadata": {"name": 7}}]}')
    with pytest.raises(InventoryError, match=rf"{resource}\.json.*items\[0\]"):
        inventory.read(tmp_path)


def test_a_bad_address_names_the_cluster(tmp_path):
    write(tmp_path, pods=[pod("cart-0", "10.0.1.299")])
    with pytest.raises(InventoryError, match=r"prod: '10\.0\.1\.299'"):
        inventory.read(tmp_path)
