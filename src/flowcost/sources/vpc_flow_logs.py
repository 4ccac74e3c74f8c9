"""AWS VPC flow logs, versions 2 to 11: what each field is called and says.

Source: the VPC user guide, "Flow log records"; v7 to v11 from later public pages. The version on
a line is the highest among the chosen fields and public samples carry wrong ones, so nothing here
depends on it: a record is read by its header or by the configured format. Version 6 is the
transit gateway's (`tgw_flow_logs`).
"""

from __future__ import annotations

from flowcost.sources.record import Field, Mapping, Record

# traffic-path, egress records only: 1 another resource in the VPC, 2 internet gateway or gateway
# endpoint, 3 virtual private gateway, 4 and 5 intra- and inter-region peering, 6 local gateway,
# 7 gateway endpoint (Nitro), 8 internet gateway (Nitro). NAT and transit gateways show as 1.
FIELDS = (
    Field("version", "int", 2, "record version"),
    Field("account-id", "text", 2, "owner of the interface; on a NAT gateway never the origin"),
    Field("interface-id", "text", 2, "network interface; `-` for a regional NAT gateway"),
    Field("srcaddr", "text", 2, "source; on outgoing records the interface's primary address"),
    Field("dstaddr", "text", 2, "destination; on incoming records the interface's primary address"),
    Field("srcport", "int", 2, "source port"),
    Field("dstport", "int", 2, "destination port"),
    Field("protocol", "int", 2, "IANA protocol number"),
    Field("packets", "int", 2, "packets in the interval"),
    Field("bytes", "int", 2, "IP bytes in the interval"),
    Field("start", "int", 2, "first packet, Unix seconds"),
    Field("end", "int", 2, "last packet, Unix seconds"),
    Field("action", "text", 2, "ACCEPT or REJECT"),
    Field("log-status", "text", 2, "OK, NODATA, SKIPDATA"),
    Field("vpc-id", "text", 3, "VPC of the interface"),
    Field("subnet-id", "text", 3, "subnet of the interface"),
    Field("instance-id", "text", 3, "instance; `-` on a requester-managed interface"),
    Field("tcp-flags", "int", 3, "FIN 1, SYN 2, RST 4, SYN-ACK 18, or-ed over the interval"),
    Field("type", "text", 3, "IPv4, IPv6, EFA"),
    Field("pkt-srcaddr", "text", 3, "source in the packet"),
    Field("pkt-dstaddr", "text", 3, "destination in the packet"),
    Field("region", "text", 4, "region of the interface"),
    Field("az-id", "text", 4, "availability zone id of the interface"),
    Field("sublocation-type", "text", 4, "wavelength, outpost, localzone"),
    Field("sublocation-id", "text", 4, "id of the sublocation"),
    Field("pkt-src-aws-service", "text", 5, "AWS service behind pkt-srcaddr, any region's"),
    Field("pkt-dst-aws-service", "text", 5, "AWS service behind pkt-dstaddr, any region's"),
    Field("flow-direction", "text", 5, "ingress or egress, seen from the interface"),
    Field("traffic-path", "int", 5, "way out of the VPC, 1 to 8, egress records only"),
    Field("ecs-cluster-arn", "text", 7, "ECS cluster"),
    Field("ecs-cluster-name", "text", 7, "ECS cluster name"),
    Field("ecs-container-instance-arn", "text", 7, "ECS container instance"),
    Field("ecs-container-instance-id", "text", 7, "ECS container instance id"),
    Field("ecs-container-id", "text", 7, "first container of the task"),
    Field("ecs-second-container-id", "text", 7, "second container of the task"),
    Field("ecs-service-name", "text", 7, "ECS service"),
    Field("ecs-task-definition-arn", "text", 7, "ECS task definition"),
    Field("ecs-task-arn", "text", 7, "ECS task"),
    Field("ecs-task-id", "text", 7, "ECS task id"),
    Field("reject-reason", "text", 8, "BPA or EC"),
    Field("resource-id", "text", 9, "regional NAT gateway"),
    Field("encryption-status", "int", 10, "encryption in transit"),
    Field("instance-tag", "text", 11, "chosen tag of the instance, percent-encoded"),
    Field("instance-tag-2", "text", 11, "second chosen tag of the instance"),
    Field("interface-tag", "text", 11, "chosen tag of the interface"),
    Field("interface-tag-2", "text", 11, "second chosen tag of the interface"),
    Field("asg-tag", "text", 11, "chosen tag of the auto scaling group"),
    Field("asg-tag-2", "text", 11, "second chosen tag of the auto scaling group"),
    Field("interface-type", "text", 11, "nat_gateway, transit_gateway, vpc_endpoint…"),
    Field("next-hop-interface-id", "text", 11, "interface the packet goes to next"),
    Field("next-hop-subnet-id", "text", 11, "subnet of the next hop"),
    Field("next-hop-az-id", "text", 11, "availability zone id of the next hop"),
    Field("next-hop-vpc-id", "text", 11, "VPC of the next hop"),
    Field("next-hop-interface-type", "text", 11, "interface type of the next hop"),
)

# The default format (version 2), used for text without a header when no format is given.
DEFAULT = tuple(field.name for field in FIELDS if field.version == 2)

VPC = Record(
    name="vpcflowlogs",
    fields=FIELDS,
    default=DEFAULT,
    mapping=Mapping(
        source="srcaddr",
        destination="dstaddr",
        packet_source="pkt-srcaddr",
        packet_destination="pkt-dstaddr",
        observer="interface-id",
        direction="flow-direction",
        source_service="pkt-src-aws-service",
        destination_service="pkt-dst-aws-service",
        device="resource-id",
        device_type="interface-type",
        next_hop_type="next-hop-interface-type",
        next_hop_az="next-hop-az-id",
        action="action",
        account="account-id",
        region="region",
        az="az-id",
        vpc="vpc-id",
        subnet="subnet-id",
        instance="instance-id",
        traffic_path="traffic-path",
    ),
)
