"""What the reference says of a booked row beside its bytes: the columns of its flow."""

from __future__ import annotations

from collections.abc import Mapping

from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC

# The columns that are compared, after the hour.
COLUMNS = (
    "direction", "local_address", "remote_address", "observer_type", "observer", "via", "local_uid",
    "account", "region", "az_id", "vpc_id", "subnet_id", "next_hop_type", "next_hop_az_id",
    "aws_service", "traffic_path", "transport", "local_port", "remote_port", "initiator",
)  # fmt: skip
EPHEMERAL, SYSTEM = 32_768, 1_024
_SENDER = {"account": "tgw-src-vpc-account-id", "region": "region", "az_id": "tgw-src-az-id",
           "vpc_id": "tgw-src-vpc-id", "subnet_id": "tgw-src-subnet-id"}  # fmt: skip
_OWNER = {"account": "account-id", "region": "region", "az_id": "az-id", "vpc_id": "vpc-id",
          "subnet_id": "subnet-id", "next_hop_type": "next-hop-interface-type",
          "next_hop_az_id": "next-hop-az-id"}  # fmt: skip

Value = str | int | bytes


def words_of(
    row: Mapping[str, str], numbers: Mapping[str, int | None], *, sends: bool, gateway: str
) -> dict[str, Value]:
    """Return the words and small numbers of a flow.

    Args:
        row: the record's fields, those of its format only.
        numbers: `protocol`, `traffic-path`, `srcport`, `dstport` where the record has them.
        sends: the local end is the source.
        gateway: the NAT gateway the row was logged at, or empty.
    """
    tgw = any(name.startswith("tgw-") for name in row)
    record = TGW if tgw else VPC

    def word(name: str) -> str:
        text = row.get(name, "") if name in record.names else ""
        return "" if text == "-" else text

    device = word("tgw-id") if tgw else word("resource-id")
    observer = word("tgw-attachment-id" if tgw else "interface-id") or device
    far = "dst" if sends else "src"
    found: dict[str, Value] = dict.fromkeys(("next_hop_type", "next_hop_az_id"), "")
    found |= {column: word(name) for column, name in (_SENDER if tgw else _OWNER).items()}
    found["observer"], found["aws_service"] = observer, word(f"pkt-{far}-aws-service")
    found["via"] = device if tgw else gateway
    found["local_uid"] = "" if tgw or gateway else observer
    found["transport"] = numbers.get("protocol") or 0
    found["traffic_path"] = 0 if tgw else numbers.get("traffic-path") or 0
    return found | _ports(numbers.get("srcport"), numbers.get("dstport"), sends=sends)


def _ports(source: int | None, target: int | None, *, sends: bool) -> dict[str, Value]:
    """Return the service's port at its end; its client opened the connection."""
    none: dict[str, Value] = {"local_port": 0, "remote_port": 0, "initiator": "unknown"}
    if source is None or target is None:
        return none
    for port, other, at_source in ((source, target, True), (target, source, False)):
        serves = (port < EPHEMERAL <= other) or (port < SYSTEM <= other)
        if serves and port:
            local = at_source == sends
            end, initiator = ("local_port", "remote") if local else ("remote_port", "local")
            return {**none, end: port, "initiator": initiator}
    return none
