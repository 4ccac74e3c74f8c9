"""The AWS calls an inventory consists of: one table for reading, snapshots and their permission.

Every call is read-only. A file holds what `aws <service> <operation> --output json` prints.
"""

from __future__ import annotations

from msgspec import Struct


class Operation(Struct, frozen=True):
    """One call: its client, its name on the command line, and the list its answer holds.

    `each` names the file and field whose values are asked one by one; the answers then are
    `<name>/<value>.json`.
    """

    service: str
    name: str
    key: str
    each: tuple[str, str] | None = None
    argument: str = ""

    @property
    def method(self) -> str:
        """Return the method of a boto3 client."""
        return self.name.replace("-", "_")

    @property
    def permission(self) -> str:
        """Return the IAM action that allows it."""
        action = "".join(word.capitalize() for word in self.name.split("-"))
        return f"{_NAMESPACES.get(self.service, self.service)}:{action}"


_NAMESPACES = {"elbv2": "elasticloadbalancing"}

OPERATIONS = (
    Operation("ec2", "describe-availability-zones", "AvailabilityZones"),
    Operation("ec2", "describe-vpcs", "Vpcs"),
    Operation("ec2", "describe-subnets", "Subnets"),
    Operation("ec2", "describe-network-interfaces", "NetworkInterfaces"),
    Operation("ec2", "describe-instances", "Reservations"),
    Operation("ec2", "describe-addresses", "Addresses"),
    Operation("ec2", "describe-route-tables", "RouteTables"),
    Operation("ec2", "describe-nat-gateways", "NatGateways"),
    Operation("ec2", "describe-vpc-endpoints", "VpcEndpoints"),
    Operation("ec2", "describe-vpc-peering-connections", "VpcPeeringConnections"),
    Operation("ec2", "describe-managed-prefix-lists", "PrefixLists"),
    Operation(
        "ec2",
        "get-managed-prefix-list-entries",
        "Entries",
        each=("describe-managed-prefix-lists", "PrefixListId"),
        argument="PrefixListId",
    ),
    Operation("ec2", "describe-transit-gateways", "TransitGateways"),
    Operation("ec2", "describe-transit-gateway-attachments", "TransitGatewayAttachments"),
    Operation("ec2", "describe-transit-gateway-vpc-attachments", "TransitGatewayVpcAttachments"),
    Operation("ec2", "describe-transit-gateway-route-tables", "TransitGatewayRouteTables"),
    Operation(
        "ec2",
        "search-transit-gateway-routes",
        "Routes",
        each=("describe-transit-gateway-route-tables", "TransitGatewayRouteTableId"),
        argument="TransitGatewayRouteTableId",
    ),
    Operation("elbv2", "describe-load-balancers", "LoadBalancers"),
)
