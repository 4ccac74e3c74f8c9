"""What the words mean: identity, facts, verdict, meter, rate, finding.

Names are IPFIX's, OpenTelemetry's and the provider's own. Everything here is immutable.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct


class Path(StrEnum):
    """The canonical billing path; aliases of other tools exist only at API edges."""

    SAME_ZONE = "same_zone"
    CROSS_AZ = "cross_az"
    CROSS_REGION = "cross_region"
    NAT_GATEWAY = "nat_gateway"
    INTERNET_EGRESS = "internet_egress"
    VPC_PEERING = "vpc_peering"
    TRANSIT_GATEWAY = "transit_gateway"
    VPC_ENDPOINT = "vpc_endpoint"
    CLOUD_SERVICE_PUBLIC = "cloud_service_public"
    INTERNET_INGRESS = "internet_ingress"
    EXTERNAL_PRIVATE = "external_private"
    CLOUD_INFRA = "cloud_infra"
    UNKNOWN = "unknown"


class Direction(StrEnum):
    """Which way the bytes went, seen from the observed end (OTel `network.io.direction`)."""

    TRANSMIT = "transmit"
    RECEIVE = "receive"


class ObserverType(StrEnum):
    """What kind of sensor saw the flow, finest identity first (law 4 books the first present)."""

    NODE_AGENT = "node_agent"
    INTERFACE = "interface"
    GATEWAY = "gateway"
    TGW_ATTACHMENT = "tgw_attachment"
    EXPORTER = "exporter"


class Initiator(StrEnum):
    """Which end opened the connection, as far as it is known."""

    LOCAL = "local"
    REMOTE = "remote"
    UNKNOWN = "unknown"


class EndKind(StrEnum):
    """What an end of a flow is, as far as billing tells apart."""

    COMPUTE = "compute"  # an interface we meter: instance, pod, task, function, appliance
    MANAGED = "managed"  # a managed service's interface: its own side is free (RDS, ElastiCache…)
    NAT_GATEWAY = "nat_gateway"
    APPLICATION_LB = "application_lb"
    NETWORK_LB = "network_lb"
    CLASSIC_LB = "classic_lb"
    GATEWAY_LB = "gateway_lb"
    INTERFACE_ENDPOINT = "interface_endpoint"  # PrivateLink
    GWLB_ENDPOINT = "gwlb_endpoint"
    TRANSIT_GATEWAY = "transit_gateway"
    SERVICE = "service"  # a provider service behind public addresses (S3, DynamoDB, SQS…)
    EC2_PUBLIC = "ec2_public"  # a public address of some customer's instance
    CLOUDFRONT = "cloudfront"
    GLOBAL_ACCELERATOR = "global_accelerator"
    ON_PREMISES = "on_premises"
    INTERNET = "internet"
    EXTERNAL_PRIVATE = "external_private"
    INFRASTRUCTURE = "infrastructure"
    UNKNOWN = "unknown"


class GatewayKind(StrEnum):
    """What a flow leaves its subnet through."""

    NONE = "none"  # delivered inside the VPC
    INTERNET_GATEWAY = "internet_gateway"
    EGRESS_ONLY_GATEWAY = "egress_only_gateway"
    NAT_GATEWAY = "nat_gateway"
    REGIONAL_NAT_GATEWAY = "regional_nat_gateway"
    GATEWAY_ENDPOINT = "gateway_endpoint"
    INTERFACE_ENDPOINT = "interface_endpoint"
    GWLB_ENDPOINT = "gwlb_endpoint"
    VPC_PEERING = "vpc_peering"
    TRANSIT_GATEWAY = "transit_gateway"
    VPN = "vpn"
    DIRECT_CONNECT = "direct_connect"
    LOCAL_GATEWAY = "local_gateway"
    BLACKHOLE = "blackhole"
    UNKNOWN = "unknown"


class VpcRelation(StrEnum):
    """How the VPCs of the two ends relate."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


class Position(StrEnum):
    """A place on the path where a meter can fire, or a sensor can sit."""

    LOCAL = "local"
    GATEWAY = "gateway"


class Leg(StrEnum):
    """Which part of a transmission a meter counts."""

    TRANSMIT = "transmit"  # the sender's end
    RECEIVE = "receive"  # the receiver's end
    PROCESSING = "processing"  # a device on the way


class Provenance(StrEnum):
    """Whether the metered end was seen itself, or follows from what the other end saw."""

    OBSERVED = "observed"
    IMPLIED = "implied"


class Confidence(StrEnum):
    """How a verdict was reached."""

    MEASURED = "measured"  # both ends and the gateway are known facts
    DERIVED = "derived"  # a fact follows from a route table, a prefix list or a log field
    ASSUMED = "assumed"  # an operator's switch or an undocumented provider behaviour


class Identity(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who an address was, in OpenTelemetry names (`.` written `_`); empty means not known.

    `cloud_availability_zone` is an AZ **id** (`use1-az1`): names differ per account.
    """

    kind: EndKind = EndKind.UNKNOWN
    cloud_provider: str = ""
    cloud_account_id: str = ""
    cloud_region: str = ""
    cloud_availability_zone: str = ""
    cloud_vpc_id: str = ""
    cloud_subnet_id: str = ""
    cloud_resource_id: str = ""
    cloud_service: str = ""  # a provider service: `S3`, `RDS`, `DYNAMODB`
    k8s_cluster_name: str = ""
    k8s_namespace_name: str = ""
    k8s_workload_kind: str = ""
    k8s_workload_name: str = ""
    k8s_pod_name: str = ""
    k8s_pod_uid: str = ""
    k8s_node_name: str = ""
    service_name: str = ""
    owner_team: str = ""
    stage: str = ""
    dns_name: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """All that decides a billing path, and nothing else: no address, account or byte count.

    Millions of rows collapse to a few hundred of these. `observer` is where the sensor sits;
    a gateway's row is oriented to its private client, so `local` is the client there too.
    """

    provider: str
    direction: Direction
    observer: Position = Position.LOCAL
    family: int = 4
    local_kind: EndKind = EndKind.COMPUTE
    local_region: str = ""
    local_az: str = ""
    local_public: bool = False  # the local end used its public or Elastic address
    remote_kind: EndKind = EndKind.UNKNOWN
    remote_region: str = ""
    remote_az: str = ""
    remote_public: bool = False  # the remote address is a public one
    remote_service: str = ""
    same_node: bool = False
    vpc: VpcRelation = VpcRelation.UNKNOWN
    gateway: GatewayKind = GatewayKind.NONE
    gateway_region: str = ""
    gateway_az: str = ""
    gateway_vpc: VpcRelation = VpcRelation.SAME  # the client's VPC against the gateway's


class Meter(Struct, frozen=True, kw_only=True):
    """One provider meter that a transmission fires.

    `usage_type` and `operation` are the provider's words, region prefix included, so that they
    join the bill. `region` prices it; `to_region` is set on inter-region meters. `at` says whose
    account and resource carry the line. `hop` marks the legs between a client and its gateway:
    each end's own, so the far one is implied; what a gateway does with a byte it was seen to
    carry is not.
    """

    usage_type: str
    operation: str
    region: str
    to_region: str = ""
    at: Position = Position.LOCAL
    leg: Leg = Leg.TRANSMIT
    hop: bool = False


class Verdict(Struct, frozen=True, kw_only=True):
    """Which billing path, which meters, by which rule, on which evidence."""

    path: Path
    rule: str
    meters: tuple[Meter, ...] = ()
    evidence: tuple[str, ...] = ()
    confidence: Confidence = Confidence.MEASURED
    priced: bool = True  # False: bytes are kept, shown, and carry no price

    def provenance(self, meter: Meter, observer: Position) -> Provenance:
        """Return whether `meter` was seen at its own end or follows from `observer`'s sight."""
        unseen = meter.hop and meter.at is not observer
        return Provenance.IMPLIED if unseen else Provenance.OBSERVED


class Rate(Struct, frozen=True, kw_only=True):
    """One dated price of one meter in one region (pair) and tier.

    `price` is `currency` per `unit_bytes` bytes (or per one, for hours: `unit_bytes == 1`).
    Tiers are half-open in bytes (or units); the interval of validity is half-open in UTC days.
    """

    provider: str
    usage_type: str
    operation: str
    region: str
    to_region: str
    tier_from: int
    tier_to: int | None
    effective_from: date
    effective_to: date | None
    price: Decimal
    unit: str
    unit_bytes: int
    currency: str
    sku: str
    source_url: str
    checked_on: date


class Finding(Struct, frozen=True, kw_only=True):
    """Trouble or an opportunity in data: counted, sampled, never fatal."""

    code: str
    severity: str  # info, warning, error
    subject: str
    count: int = 1
    bytes: int = 0
    sample: str = ""
    hint: str = ""
