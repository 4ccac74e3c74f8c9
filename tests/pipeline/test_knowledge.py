"""What an inventory tells the readers: gateways, interfaces, peering attachments, changes."""

import json

from flowcost.address import pack
from flowcost.pipeline.knowledge import knowledge_of
from flowcost.resolve import inventory, timeline


def test_peering_attachments_are_known_as_such(tmp_path):
    place = tmp_path / "aws" / "111111111111" / "us-east-1"
    place.mkdir(parents=True)
    attachments = [
        {"TransitGatewayAttachmentId": f"tgw-attach-{kind}", "TransitGatewayId": "tgw-1",
         "ResourceType": kind, "ResourceId": f"{kind}-1", "ResourceOwnerId": "222222222222",
         "State": "available"}
        for kind in ("vpc", "peering", "vpn")
    ]  # fmt: skip
    (place / "describe-transit-gateway-attachments.json").write_text(
        json.dumps({"TransitGatewayAttachments": attachments})
    )
    known = knowledge_of(timeline.build(inventory.read(tmp_path)))
    assert known.peering_attachments == {"tgw-attach-peering"}
    assert known.interfaces == ()


def test_an_address_that_changes_hands_inside_an_hour_is_a_change(tmp_path):
    world = tmp_path / "declared.toml"
    world.write_text(
        '[[network]]\ncidr = "10.0.0.1"\nk8s.pod.name = "a"\nto = 2026-11-02T10:20:00Z\n'
        '[[network]]\ncidr = "10.0.0.1"\nk8s.pod.name = "b"\nfrom = 2026-11-02T10:20:00Z\n'
        '[[network]]\ncidr = "10.0.0.2"\nk8s.pod.name = "c"\nfrom = 2026-11-02T10:00:00Z\n'
    )
    known = knowledge_of(timeline.build(inventory.read(world)))
    assert known.changes == {(pack("10.0.0.1"), 1793614800)}
