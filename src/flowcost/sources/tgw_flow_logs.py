"""AWS Transit Gateway flow logs (version 6, 36 fields).

Source: the Transit Gateway guide, "Transit Gateway Flow Logs". Every flow is logged where it
enters the gateway and where it leaves; the sender's attachment pays per byte sent into the
gateway, and what arrives from a peering attachment is not charged again. So the ingress rows of
non-peering attachments are the billed ones.
"""

from __future__ import annotations

from flowcost.sources.record import Field, Mapping, Record

FIELDS = (
    Field("version", "int", 6, "record version"),
    Field("resource-type", "text", 6, "TransitGateway or TransitGatewayAttachment"),
    Field("account-id", "text", 6, "owner of the transit gateway"),
    Field("tgw-id", "text", 6, "transit gateway"),
    Field("tgw-attachment-id", "text", 6, "attachment the row was logged at"),
    Field("tgw-src-vpc-account-id", "text", 6, "owner of the sending VPC; pays by default"),
    Field("tgw-dst-vpc-account-id", "text", 6, "owner of the receiving VPC"),
    Field("tgw-src-vpc-id", "text", 6, "sending VPC"),
    Field("tgw-dst-vpc-id", "text", 6, "receiving VPC"),
    Field("tgw-src-subnet-id", "text", 6, "subnet of the sending attachment"),
    Field("tgw-dst-subnet-id", "text", 6, "subnet of the receiving attachment"),
    Field("tgw-src-eni", "text", 6, "interface of the sending attachment"),
    Field("tgw-dst-eni", "text", 6, "interface of the receiving attachment"),
    Field("tgw-src-az-id", "text", 6, "zone of the sending attachment"),
    Field("tgw-dst-az-id", "text", 6, "zone of the receiving attachment"),
    Field("tgw-pair-attachment-id", "text", 6, "the other attachment of the flow"),
    Field("srcaddr", "text", 6, "source in the packet"),
    Field("dstaddr", "text", 6, "destination in the packet"),
    Field("srcport", "int", 6, "source port"),
    Field("dstport", "int", 6, "destination port"),
    Field("protocol", "int", 6, "IANA protocol number"),
    Field("packets", "int", 6, "packets in the interval"),
    Field("bytes", "int", 6, "IP bytes in the interval"),
    Field("start", "int", 6, "first packet, Unix seconds"),
    Field("end", "int", 6, "last packet, Unix seconds"),
    Field("log-status", "text", 6, "OK, NODATA, SKIPDATA"),
    Field("type", "text", 6, "IPv4 or IPv6"),
    Field("packets-lost-no-route", "int", 6, "packets dropped for want of a route"),
    Field("packets-lost-blackhole", "int", 6, "packets dropped in a blackhole"),
    Field("packets-lost-mtu-exceeded", "int", 6, "packets dropped as too large"),
    Field("packets-lost-ttl-expired", "int", 6, "packets dropped at hop limit zero"),
    Field("tcp-flags", "int", 6, "as in VPC flow logs"),
    Field("region", "text", 6, "region of the transit gateway"),
    Field("flow-direction", "text", 6, "ingress into or egress out of the gateway"),
    Field("pkt-src-aws-service", "text", 6, "AWS service behind srcaddr"),
    Field("pkt-dst-aws-service", "text", 6, "AWS service behind dstaddr"),
)

TGW = Record(
    name="transitgateway",
    fields=FIELDS,
    default=tuple(field.name for field in FIELDS),
    mapping=Mapping(
        source="srcaddr",
        destination="dstaddr",
        observer="tgw-attachment-id",
        direction="flow-direction",
        source_service="pkt-src-aws-service",
        destination_service="pkt-dst-aws-service",
        device="tgw-id",
        account="tgw-src-vpc-account-id",
        region="region",
        az="tgw-src-az-id",
        vpc="tgw-src-vpc-id",
        subnet="tgw-src-subnet-id",
    ),
)
