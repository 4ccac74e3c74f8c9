"""What an interface belongs to, read from its type and description.

AWS names the owner of a requester-managed interface only there (AWS EC2, "Requester-managed
network interfaces"). Types are the enumeration of `DescribeNetworkInterfaces`; descriptions are
those AWS services write. An interface that neither tells stays unknown and is reported.
"""

from __future__ import annotations

import re

from msgspec import Struct

from flowcost.model import EndKind


class Role(Struct, frozen=True):
    """What an interface is for: the kind of end, the service behind it, the resource's name."""

    kind: EndKind
    service: str = ""
    resource: str = ""


_TYPES = {
    "natgateway": Role(EndKind.NAT_GATEWAY),
    "nat_gateway": Role(EndKind.NAT_GATEWAY),
    "network_load_balancer": Role(EndKind.NETWORK_LB),
    "gateway_load_balancer": Role(EndKind.GATEWAY_LB),
    "gateway_load_balancer_endpoint": Role(EndKind.GWLB_ENDPOINT),
    "vpc_endpoint": Role(EndKind.INTERFACE_ENDPOINT),
    "transit_gateway": Role(EndKind.TRANSIT_GATEWAY),
    "quicksight": Role(EndKind.MANAGED, "QUICKSIGHT"),
    "api_gateway_managed": Role(EndKind.MANAGED, "API_GATEWAY"),
    "global_accelerator_managed": Role(EndKind.MANAGED, "GLOBALACCELERATOR"),
    "iot_rules_managed": Role(EndKind.MANAGED, "IOT"),
    "aws_codestar_connections_managed": Role(EndKind.MANAGED, "CODESTAR_CONNECTIONS"),
    "ec2_instance_connect_endpoint": Role(EndKind.MANAGED, "EC2_INSTANCE_CONNECT"),
    # The function's, task's or pod's owner pays for these, as for an instance.
    "lambda": Role(EndKind.COMPUTE, "LAMBDA"),
    "branch": Role(EndKind.COMPUTE),
    "trunk": Role(EndKind.COMPUTE),
    "efa": Role(EndKind.COMPUTE),
    "efa-only": Role(EndKind.COMPUTE),
}

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

# First match wins; the group, where there is one, is the resource.
_DESCRIPTIONS = tuple(
    (re.compile(pattern), kind, service)
    for pattern, kind, service in (
        (r"Interface for NAT Gateway (\S+)", EndKind.NAT_GATEWAY, ""),
        (r"Network Interface for Transit Gateway Attachment (\S+)", EndKind.TRANSIT_GATEWAY, ""),
        (r"VPC Endpoint Interface (\S+)", EndKind.INTERFACE_ENDPOINT, ""),
        (r"ELB (app/\S+)", EndKind.APPLICATION_LB, ""),
        (r"ELB (net/\S+)", EndKind.NETWORK_LB, ""),
        (r"ELB (gwy/\S+)", EndKind.GATEWAY_LB, ""),
        (r"ELB (\S+)", EndKind.CLASSIC_LB, ""),
        (r"RDSNetworkInterface", EndKind.MANAGED, "RDS"),
        (r"Network interface for DBProxy ?(\S*)", EndKind.MANAGED, "RDS"),
        (r"ElastiCache[ +](\S+)", EndKind.MANAGED, "ELASTICACHE"),
        (r"RedshiftNetworkInterface", EndKind.MANAGED, "REDSHIFT"),
        (r"Redshift ", EndKind.MANAGED, "REDSHIFT"),
        (r"EFS mount target for (fs-\S+)", EndKind.MANAGED, "EFS"),
        (r"ES (\S+)", EndKind.MANAGED, "OPENSEARCH"),
        (
            r"(?:DO NOT DELETE - )?Amazon MSK network interface(?: for cluster (\S+))?",
            EndKind.MANAGED,
            "MSK",
        ),
        (r"DAX (\S+)", EndKind.MANAGED, "DAX"),
        (r"DMSNetworkInterface", EndKind.MANAGED, "DMS"),
        (r"AWS created network interface for directory (\S+)", EndKind.MANAGED, "DIRECTORY"),
        (r"CloudHSM Managed Interface", EndKind.MANAGED, "CLOUDHSM"),
        (r"CloudHsm ENI", EndKind.MANAGED, "CLOUDHSM"),
        (r"ENI managed by APIGateway", EndKind.MANAGED, "API_GATEWAY"),
        # The cluster's control plane; node and pod interfaces begin with aws-K8S or aws-k8s.
        (r"Amazon EKS (\S+)", EndKind.MANAGED, "EKS"),
        (
            r"AWS Lambda VPC ENI-(.+?)(?:-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?$",
            EndKind.COMPUTE,
            "LAMBDA",
        ),
        (r"AWS Lambda VPC ENI", EndKind.COMPUTE, "LAMBDA"),
        (r"arn:aws[\w-]*:ecs:\S+?:attachment/(\S+)", EndKind.COMPUTE, "ECS"),
        (r"aws-[kK]8[sS]", EndKind.COMPUTE, ""),
    )
)


def role(interface_type: str, description: str, *, managed: bool, attached: bool) -> Role:
    """Return what an interface is for.

    `managed`: AWS made it for a service (`RequesterManaged`); `attached`: an instance of ours
    holds it. The kind is `UNKNOWN` for a service's interface that neither text identifies.
    """
    named = _described(description)
    typed = _TYPES.get(interface_type.casefold())
    if typed:
        if named and (named.kind is typed.kind or typed.service == named.service):
            return Role(typed.kind, typed.service or named.service, named.resource)
        return typed
    if named and (managed or not attached or named.kind is EndKind.COMPUTE):
        return named
    return Role(EndKind.UNKNOWN) if managed and not attached else Role(EndKind.COMPUTE)


def _described(description: str) -> Role | None:
    for pattern, kind, service in _DESCRIPTIONS:
        if found := pattern.match(description):
            groups = found.groups()
            return Role(kind, service, (groups[0] or "").rstrip(".") if groups else "")
    return None
