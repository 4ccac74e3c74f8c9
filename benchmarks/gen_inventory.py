"""The generated network as AWS CLI and kubectl output, in the layout of an inventory directory.

One moment: every pod that ever held an address is there, the ended ones with the time of their
end, so that an address is its second owner's from the second the first one ended.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gen_topology import (
    NETWORK_ACCOUNT,
    PODS_PER_NODE,
    REGION,
    TGW_ID,
    ZONE_NAMES,
    ZONES,
    Topology,
    Vpc,
    hexid,
    pod_uid,
)

TEAMS = 12


def instance_id(node: int) -> str:
    """Return the instance id of a node."""
    return hexid("i", 8, node)


def nat_id(vpc: Vpc, zone: int) -> str:
    """Return the id of a NAT gateway."""
    return hexid("nat", 9, vpc.octet, zone)


def write(out: Path, topology: Topology) -> None:
    """Write the inventory directory."""
    accounts: dict[str, list[Vpc]] = {}
    for vpc in topology.all_vpcs:
        accounts.setdefault(vpc.account, []).append(vpc)
    for account, vpcs in accounts.items():
        folder = out / "aws" / account / REGION
        _aws(folder, topology, account, vpcs)
    for vpc in topology.vpcs:
        _kubernetes(out / "kubernetes" / f"cluster-{vpc.octet}", topology, vpc)


def _dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def _aws(folder: Path, topology: Topology, account: str, vpcs: list[Vpc]) -> None:
    def dump(operation: str, key: str, items: list[dict[str, Any]]) -> None:
        _dump(folder / f"{operation}.json", {key: items})

    dump(
        "describe-availability-zones",
        "AvailabilityZones",
        [
            {"ZoneName": name, "ZoneId": zone, "RegionName": REGION}
            for name, zone in zip(ZONE_NAMES, ZONES, strict=True)
        ],
    )
    dump("describe-vpcs", "Vpcs", [
        {"VpcId": vpc.id, "OwnerId": account, "CidrBlock": vpc.cidr} for vpc in vpcs
    ])  # fmt: skip
    dump("describe-subnets", "Subnets", [s for vpc in vpcs for s in _subnets(topology, vpc)])
    dump(
        "describe-network-interfaces",
        "NetworkInterfaces",
        [i for vpc in vpcs for i in _interfaces(topology, vpc)],
    )
    dump("describe-nat-gateways", "NatGateways", [n for vpc in vpcs for n in _nats(topology, vpc)])
    dump("describe-route-tables", "RouteTables", [
        table for vpc in vpcs for table in _route_tables(topology, vpc)
    ])  # fmt: skip
    dump("describe-transit-gateway-vpc-attachments", "TransitGatewayVpcAttachments", [
        {
            "TransitGatewayAttachmentId": vpc.attachment, "TransitGatewayId": TGW_ID,
            "VpcId": vpc.id, "VpcOwnerId": account, "State": "available",
            "SubnetIds": [vpc.subnet(250 + zone) for zone in range(len(ZONES))],
        }
        for vpc in vpcs
    ])  # fmt: skip
    if account == NETWORK_ACCOUNT:
        dump("describe-transit-gateways", "TransitGateways", [
            {"TransitGatewayId": TGW_ID, "OwnerId": account, "State": "available"}
        ])  # fmt: skip


def _thirds(topology: Topology, vpc: Vpc) -> list[tuple[int, int]]:
    """Return (third octet, zone) of the subnets of a VPC."""
    nodes = np.flatnonzero(topology.node_vpc == vpc.number)
    used = [(int(topology.node_third[n]), int(topology.node_zone[n])) for n in nodes]
    return used + [(250 + zone, zone) for zone in range(len(ZONES))]


def _subnets(topology: Topology, vpc: Vpc) -> list[dict[str, Any]]:
    return [
        {
            "SubnetId": vpc.subnet(third),
            "VpcId": vpc.id,
            "OwnerId": vpc.account,
            "AvailabilityZone": ZONE_NAMES[zone],
            "AvailabilityZoneId": ZONES[zone],
            "CidrBlock": f"10.{vpc.octet}.{third}.0/24",
        }
        for third, zone in _thirds(topology, vpc)
    ]


def _interface(vpc: Vpc, name: str, third: int, zone: int, **more: Any) -> dict[str, Any]:
    return {
        "NetworkInterfaceId": name,
        "SubnetId": vpc.subnet(third),
        "VpcId": vpc.id,
        "OwnerId": vpc.account,
        "AvailabilityZone": ZONE_NAMES[zone],
        "SourceDestCheck": True,
        **more,
    }


def _interfaces(topology: Topology, vpc: Vpc) -> list[dict[str, Any]]:
    texts = topology.addresses.texts
    found = []
    for node in np.flatnonzero(topology.node_vpc == vpc.number).tolist():
        third, zone = int(topology.node_third[node]), int(topology.node_zone[node])
        primary = texts[topology.first_node_address + node]
        first = node * PODS_PER_NODE
        addresses = [{"PrivateIpAddress": primary, "Primary": True}] + [
            {"PrivateIpAddress": texts[slot], "Primary": False}
            for slot in range(first, first + PODS_PER_NODE)
        ]
        found.append(
            _interface(
                vpc,
                topology.interfaces[node],
                third,
                zone,
                InterfaceType="interface",
                Description="",
                RequesterManaged=False,
                Attachment={"InstanceId": instance_id(node), "DeviceIndex": 0},
                PrivateIpAddress=primary,
                PrivateIpAddresses=addresses,
            )
        )
    for zone, (eni, private, public) in enumerate(vpc.nat):
        found.append(
            _interface(
                vpc,
                topology.interfaces[eni],
                250 + zone,
                zone,
                InterfaceType="nat_gateway",
                Description=f"Interface for NAT Gateway {nat_id(vpc, zone)}",
                RequesterManaged=True,
                PrivateIpAddresses=[
                    {
                        "PrivateIpAddress": texts[private],
                        "Primary": True,
                        "Association": {"PublicIp": texts[public]},
                    }
                ],
            )
        )
    for zone, (eni, address) in enumerate(vpc.tgw):
        found.append(
            _interface(
                vpc,
                topology.interfaces[eni],
                250 + zone,
                zone,
                InterfaceType="transit_gateway",
                Description=f"Network Interface for Transit Gateway Attachment {vpc.attachment}",
                RequesterManaged=True,
                PrivateIpAddresses=[{"PrivateIpAddress": texts[address], "Primary": True}],
            )
        )
    return found


def _nats(topology: Topology, vpc: Vpc) -> list[dict[str, Any]]:
    texts = topology.addresses.texts
    return [
        {
            "NatGatewayId": nat_id(vpc, zone),
            "VpcId": vpc.id,
            "SubnetId": vpc.subnet(250 + zone),
            "State": "available",
            "NatGatewayAddresses": [
                {
                    "NetworkInterfaceId": topology.interfaces[eni],
                    "PrivateIp": texts[private],
                    "PublicIp": texts[public],
                    "IsPrimary": True,
                }
            ],
        }
        for zone, (eni, private, public) in enumerate(vpc.nat)
    ]


def _route_tables(topology: Topology, vpc: Vpc) -> list[dict[str, Any]]:
    """Return one table per zone, and a main table for the subnets of the devices."""
    local = {"DestinationCidrBlock": vpc.cidr, "GatewayId": "local", "State": "active"}
    across = {
        "DestinationCidrBlock": "10.0.0.0/8",
        "TransitGatewayId": TGW_ID,
        "State": "active",
    }
    tables = []
    for zone in range(len(ZONES)):
        out: dict[str, Any] = {"DestinationCidrBlock": "0.0.0.0/0", "State": "active"}
        if vpc.nat:
            out["NatGatewayId"] = nat_id(vpc, zone)
        else:
            out["TransitGatewayId"] = TGW_ID
        tables.append(
            {
                "RouteTableId": hexid("rtb", 10, vpc.octet, zone),
                "VpcId": vpc.id,
                "OwnerId": vpc.account,
                "Associations": [
                    {"SubnetId": vpc.subnet(third), "Main": False}
                    for third, at in _thirds(topology, vpc)
                    if at == zone and third < 250
                ],
                "Routes": [local, across, out],
            }
        )
    gateway = {
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": hexid("igw", 11, vpc.octet),
        "State": "active",
    }
    tables.append(
        {
            "RouteTableId": hexid("rtb", 10, vpc.octet, 9),
            "VpcId": vpc.id,
            "OwnerId": vpc.account,
            "Associations": [{"Main": True}],
            "Routes": [local, across, *([gateway] if vpc.nat else [])],
        }
    )
    return tables


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kubernetes(folder: Path, topology: Topology, vpc: Vpc) -> None:
    nodes = np.flatnonzero(topology.node_vpc == vpc.number).tolist()
    _dump(
        folder / "nodes.json",
        {"kind": "List", "items": [_node(topology, node) for node in nodes]},
    )
    slots = [s for n in nodes for s in range(n * PODS_PER_NODE, (n + 1) * PODS_PER_NODE)]
    _dump(
        folder / "pods.json",
        {"kind": "List", "items": [pod for slot in slots for pod in _pods(topology, slot)]},
    )
    _dump(
        folder / "namespaces.json",
        {
            "kind": "List",
            "items": [
                {"metadata": {"name": f"team-{n}", "labels": {"team": f"team-{n}"}}}
                for n in range(TEAMS)
            ],
        },
    )


def _node(topology: Topology, node: int) -> dict[str, Any]:
    zone = int(topology.node_zone[node])
    return {
        "metadata": {
            "name": f"node-{node}",
            "uid": f"node-uid-{node}",
            "labels": {
                "topology.kubernetes.io/region": REGION,
                "topology.kubernetes.io/zone": ZONE_NAMES[zone],
                "topology.k8s.aws/zone-id": ZONES[zone],
            },
        },
        "spec": {"providerID": f"aws:///{ZONE_NAMES[zone]}/{instance_id(node)}"},
        "status": {
            "addresses": [
                {
                    "type": "InternalIP",
                    "address": topology.addresses.texts[topology.first_node_address + node],
                }
            ]
        },
    }


def _pods(topology: Topology, slot: int) -> list[dict[str, Any]]:
    """Return the pods that held an address, one after another."""
    begins = [topology.start - 86_400]
    begins += topology.changes[topology.changed[:, slot]].tolist()
    workload = f"app-{slot % 400}"
    address = topology.addresses.texts[slot]
    pods = []
    for generation, (begin, end) in enumerate(zip(begins, [*begins[1:], None], strict=True)):
        status: dict[str, Any] = {
            "phase": "Running" if end is None else "Succeeded",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": _iso(begin),
        }
        if end is not None:
            status["containerStatuses"] = [
                {"state": {"terminated": {"startedAt": _iso(begin), "finishedAt": _iso(end)}}}
            ]
        pods.append(
            {
                "metadata": {
                    "name": f"{workload}-{slot}-{generation}",
                    "namespace": f"team-{slot % TEAMS}",
                    "uid": pod_uid(slot, generation),
                    "ownerReferences": [
                        {"kind": "StatefulSet", "name": workload, "controller": True}
                    ],
                },
                "spec": {"nodeName": f"node-{slot // PODS_PER_NODE}"},
                "status": status,
            }
        )
    return pods
