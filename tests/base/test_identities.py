"""What the server tells an agent, and what an agent refuses to believe."""

import msgspec
import pytest
from msgspec.structs import replace

from flowcost import identities
from flowcost.errors import InventoryError
from flowcost.identities import AgentIdentities
from flowcost.model import EndKind, Identity

CART = Identity(kind=EndKind.COMPUTE, k8s_pod_name="cart-0", k8s_pod_uid="u1")
KNOWN = AgentIdentities(
    cluster="lab",
    node=Identity(kind=EndKind.COMPUTE, k8s_node_name="node-a"),
    pods={"u1": CART},
    services={"10.96.0.10": "shop/checkout"},
    identities=(CART,),
    hosts={"10.244.1.11": 0, "fd00::11": 0},
    blocks={"10.244.2.0/24": 0},
)


def test_an_answer_reads_back_and_is_the_same_bytes_every_time():
    data = identities.encode(KNOWN)
    assert identities.decode(data, "server") == KNOWN
    turned = replace(KNOWN, hosts=dict(reversed(KNOWN.hosts.items())))
    assert identities.encode(turned) == data


def test_fields_of_a_later_release_are_ignored():
    fields = msgspec.to_builtins(KNOWN) | {"routes": []}
    assert identities.decode(msgspec.json.encode(fields), "server") == KNOWN


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"hosts": {"10.0.0.256": 0}}, "not an IP address"),
        ({"hosts": {"10.0.0.1": 1}}, "refers to identity 1"),
        ({"blocks": {"10.0.0.1/8": 0}}, "host bits"),
        ({"services": {"checkout": "shop/checkout"}}, "not an IP address"),
    ],
)
def test_a_wrong_answer_is_named(changed, words):
    with pytest.raises(InventoryError, match=words):
        identities.decode(identities.encode(replace(KNOWN, **changed)), "server")


def test_noise_is_refused_in_words():
    with pytest.raises(InventoryError, match="identities"):
        identities.decode(b"<html>", "server")
