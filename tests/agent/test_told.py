"""Identities from a Flowcost server, in place of the Kubernetes API."""

import gzip

import pytest
from msgspec.structs import replace

from flowcost import identities as wire
from flowcost.address import pack
from flowcost.agent.apiserver import ApiServer
from flowcost.agent.identities import Identities, Source
from flowcost.agent.told import IdentityServer
from flowcost.errors import InventoryError, NotPermittedError, NotSupportedError, UnreachableError
from flowcost.identities import AgentIdentities
from flowcost.lab import objects, plan
from flowcost.model import EndKind, Identity
from tests.agent.test_identities import api

SHOP = plan.shop()
A = SHOP.nodes[0]
NODE = Identity(
    kind=EndKind.COMPUTE,
    cloud_provider="aws",
    cloud_region="us-east-1",
    cloud_availability_zone="use1-az1",
    k8s_cluster_name="lab",
    k8s_node_name=A.name,
)
CART = replace(NODE, k8s_namespace_name="shop", k8s_pod_name="cart-0", k8s_pod_uid="u1")
FAR = replace(NODE, cloud_availability_zone="use1-az2", k8s_node_name="node-b")
KNOWN = AgentIdentities(
    cluster="lab",
    node=NODE,
    pods={"u1": CART},
    services={"10.96.0.10": "shop/checkout"},
    identities=(NODE, FAR),
    hosts={A.v4: 0},
    blocks={"10.244.2.0/24": 1},
)


class Answers:
    """A server's answers: the same world until it is changed, told once per tag."""

    def __init__(self):
        self.known, self.status, self.told = KNOWN, 200, 0

    def __call__(self, method, path, headers):
        assert (method, path) == ("GET", f"/v1/agents/identities?node={A.name}&changes=1")
        if headers["Authorization"] != "Bearer s3cret-of-the-agent":
            return 401, b""
        if self.status != 200:
            return self.status, b""
        self.told += 1
        return 200, wire.encode(self.known)


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def start(serve, answers, token_file, tmp_path):
    url, _ = serve(answers)
    held = []

    def identities(**options):
        server = IdentityServer(url, token_file=token_file, keep=tmp_path / "identities.json")
        source = Source(node=A.name, cluster="lab", server=server, **options)
        held.append(Identities(source, interval_s=3600, on_error=lambda error: None))
        return held[-1]

    yield identities
    for one in held:
        one.close()


def test_the_world_is_as_the_server_tells_it(start):
    known = start(place=objects.place(A)).directory
    assert known.world.pods == {"u1": CART}
    assert known.world.services == {pack("10.96.0.10"): "shop/checkout"}
    assert known.identity(pack("10.244.2.7")).cloud_availability_zone == "use1-az2"
    assert (known.world.node_address, known.world.zone_id) == (pack(A.v4), "use1-az1")
    assert known.world.node.cloud_vpc_id == objects.place(A).vpc


def test_a_server_that_is_away_leaves_the_last_world_also_to_the_next_process(start, answers):
    first = start()
    answers.status = 503
    first.refresh(5)
    assert first.failures == 1
    assert first.directory.world.pods == {"u1": CART}
    second = start()
    assert second.failures == 1
    assert second.directory.world.pods == {"u1": CART}


def test_a_change_arrives_with_the_next_refresh(start, answers):
    known = start()
    answers.known = replace(KNOWN, pods={}, services={})
    known.refresh(5)
    assert known.directory.world.services == {}
    assert known.directory.world.pods == {"u1": CART}  # kept for its last bytes


def test_an_unchanged_answer_travels_once(token_file, tagged):
    url, asked = tagged
    server = IdentityServer(url, token_file=token_file)
    assert server.fetch(A.name) == server.fetch(A.name) == wire.encode(KNOWN)
    assert [headers.get("If-None-Match") for _, _, headers in asked] == [None, '"t1"']


@pytest.fixture
def tagged(serve):
    def answer(method, path, headers):
        if headers.get("If-None-Match") == '"t1"':
            return 304, b""
        return 200, wire.encode(KNOWN), {"ETag": '"t1"'}

    return serve(answer)


def test_changes_are_laid_over_what_is_known(token_file, serve):
    known = {None: KNOWN, '"t1"': KNOWN}
    changes = AgentIdentities(
        cluster="lab",
        node=NODE,
        since='"t1"',
        first=2,
        identities=(CART,),
        hosts={"10.244.2.9": 2},
        gone=("10.244.2.0/24", "10.96.0.10"),
    )

    def answer(method, path, headers):
        tag = headers.get("If-None-Match")
        told, new = (changes, '"t2"') if tag == '"t1"' else (known[None], '"t1"')
        body = gzip.compress(b"") + gzip.compress(wire.encode(told))
        return 200, body, {"ETag": new, "Content-Encoding": "gzip"}

    url, asked = serve(answer)
    server = IdentityServer(url, token_file=token_file)
    assert server.fetch(A.name) == wire.encode(KNOWN)
    whole = wire.decode(server.fetch(A.name), "test")
    assert whole.hosts == {A.v4: 0, "10.244.2.9": 2}
    assert (whole.blocks, whole.services, whole.since) == ({}, {}, "")
    assert whole.identities == (NODE, FAR, CART)
    assert asked[-1][2]["If-None-Match"] == '"t1"'


def test_changes_of_something_else_are_refused_and_all_is_asked_for_again(token_file, serve):
    odd = AgentIdentities(since='"t0"', first=7)
    url, asked = serve(lambda *_: (200, wire.encode(odd), {"ETag": '"t2"'}))
    server = IdentityServer(url, token_file=token_file)
    for _ in range(2):
        with pytest.raises(InventoryError):
            server.fetch(A.name)
    assert "If-None-Match" not in asked[-1][2]


@pytest.mark.parametrize("cut", [0, 20])
def test_a_broken_package_is_no_answer(serve, cut):
    body = gzip.compress(b"x" * 5000)[:cut] or b"noise"
    url, _ = serve(lambda *_: (200, body, {"Content-Encoding": "gzip"}))
    with pytest.raises(InventoryError):
        IdentityServer(url).fetch(A.name)


def test_an_answer_is_unpacked_within_bounds():
    with pytest.raises(InventoryError, match="more than 100 bytes"):
        wire.unpack(gzip.compress(bytes(101)), "test", limit=100)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"", NotPermittedError),
        (500, b"", UnreachableError),
        (404, b"", NotSupportedError),
        (404, b'{"detail": "cluster lab is not watched"}', NotSupportedError),
        (200, b"<html>", InventoryError),
        (200, b'{"version": 9}', InventoryError),
    ],
)
def test_no_answer_and_a_wrong_one_are_told_in_words(serve, status, body, error):
    url, _ = serve(lambda *_: (status, body))
    with pytest.raises(error):
        IdentityServer(url).fetch(A.name)


def test_noise_in_the_kept_answer_is_no_answer(start, answers, tmp_path):
    (tmp_path / "identities.json").write_bytes(b"noise")
    answers.status = 503
    assert start().directory.world.pods == {}


def test_a_server_that_does_not_watch_the_cluster_leaves_it_to_the_api_server(
    start, serve, answers
):
    url, _ = serve(api)
    answers.status = 404
    alone = start()
    assert (alone.failures, alone.directory.world.pods) == (1, {})
    both = start(api=ApiServer(url))
    assert both.failures == 0
    assert both.directory.world.pods[SHOP.pod("cart-0").uid].k8s_workload_name == "cart"
