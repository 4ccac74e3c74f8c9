"""The gate: proxies, open servers, headers given twice; and how grants add up."""

import pytest

from flowcost.access.principal import Principal, Role
from flowcost.access.roles import principal_of
from flowcost.access.settings import Access, Grant, Issuer, Login, Proxy
from flowcost.errors import ForbiddenError

USER = {"x-forwarded-user": "ann", "x-forwarded-groups": "x, payments-team"}


def test_a_proxy_is_believed_from_its_own_address_only(make_client, gate):
    found = make_client(gate, peer="10.9.0.7").get("/v1/whoami", headers=USER).json()
    assert (found["subject"], found["owners"], found["role"]) == ("ann", ["payments"], "viewer")
    for peer in ("10.9.1.7", "203.0.113.9", "127.0.0.1", "not-an-address"):
        assert make_client(gate, peer=peer).get("/v1/whoami", headers=USER).status_code == 401
    mapped = make_client(gate, peer="::ffff:10.9.0.7")
    assert mapped.get("/v1/whoami", headers=USER).status_code == 200


def test_a_proxy_that_names_two_people_names_nobody(make_client, gate):
    client = make_client(gate, peer="10.9.0.7")
    twice = [("x-forwarded-user", "ann"), ("x-forwarded-user", "root")]
    assert client.get("/v1/whoami", headers=twice).status_code == 401
    nobody = {"x-forwarded-user": "ann"}
    assert client.get("/v1/whoami", headers=nobody).status_code == 403


def test_an_open_server_is_open_to_its_own_machine(make_client, make_gate):
    gate = make_gate(Access(), host="127.0.0.1")
    assert gate.is_open
    client = make_client(gate, base="http://127.0.0.1:8080")
    assert client.get("/v1/whoami").json()["role"] == "admin"
    for host in ("evil.example.org", "127.0.0.1.evil.example.org"):
        assert client.get("/v1/whoami", headers={"host": host}).status_code == 403
    for host in ("localhost:8080", "[::1]:8080", "127.0.0.1"):
        assert client.get("/v1/whoami", headers={"host": host}).status_code == 200
    crossing = {"sec-fetch-site": "cross-site", "origin": "https://evil.example.org"}
    answer = client.post("/v1/tokens", json={"name": "mine"}, headers=crossing)
    assert answer.status_code == 403


def test_on_an_open_server_what_is_said_must_hold_all_the_same(make_client, make_gate, clock):
    gate = make_gate(Access(), host="127.0.0.1")
    client = make_client(gate, base="http://127.0.0.1:8080")
    agents = Principal(tenant="t1", subject="cluster prod", cluster="prod")
    _, text = gate.tokens.create(agents, "prod", by="test", now=clock())
    found = client.get("/v1/whoami", headers={"authorization": f"Bearer {text}"}).json()
    assert (found["tenant"], found["cluster"]) == ("t1", "prod")
    wrong = {"authorization": f"Bearer {text}x"}
    assert client.get("/v1/whoami", headers=wrong).status_code == 401


@pytest.mark.parametrize(
    ("settings", "host", "is_open"),
    [
        (Access(), "127.0.0.1", True),
        (Access(), "::1", True),
        (Access(), "0.0.0.0", False),
        (Access(), "10.0.0.1", False),
        (Access(), "", False),
        (Access(required=True), "127.0.0.1", False),
        (Access(grants=(Grant(value="x"),)), "127.0.0.1", False),
        (Access(proxy=Proxy(peers=("10.0.0.1",))), "127.0.0.1", False),
    ],
)
def test_a_server_is_open_on_loopback_and_unconfigured_only(settings, host, is_open):
    assert settings.is_open(host) is is_open


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "flowcost_1_2",
        "Bearer flowcost_",
        "Bearer flowcost_x_",
    ],
)
def test_what_is_no_bearer_token_is_401(client, header):
    assert client.get("/v1/whoami", headers={"authorization": header}).status_code == 401


def test_two_tokens_are_none(client, gate, clock):
    ann = Principal(tenant="t1", subject="ann")
    _, text = gate.tokens.create(ann, "ann", by="test", now=clock())
    once = ("authorization", f"Bearer {text}")
    assert client.get("/v1/whoami", headers=[once]).status_code == 200
    assert client.get("/v1/whoami", headers=[once, once]).status_code == 401


def grants(*rules):
    return [Grant(value=value, tenant="t1", **rest) for value, rest in rules]


def test_the_highest_role_wins_and_its_scopes_add_up():
    rules = grants(
        ("a", {"namespaces": ("shop",)}),
        ("b", {"namespaces": ("search",), "owners": ("x",)}),
        ("c", {"role": "editor", "owners": ("y",)}),
    )
    found = principal_of({"groups": ["a", "b"]}, "ann", rules)
    assert (found.role, found.namespaces, found.owners) == (Role.VIEWER, ("search", "shop"), ("x",))
    found = principal_of({"groups": ["a", "c"]}, "ann", rules)
    # What is seen comes with the role: an editor of one team does not edit what they may see.
    assert (found.role, found.namespaces, found.owners) == (Role.EDITOR, (), ("y",))


def test_a_grant_without_scope_opens_the_tenant():
    rules = grants(("a", {"namespaces": ("shop",)}), ("b", {}))
    assert not principal_of({"groups": ["a", "b"]}, "ann", rules).is_scoped


def test_claims_are_found_by_name_and_by_path():
    nested = [Grant(claim="realm_access.roles", value="viewer")]
    assert principal_of({"realm_access": {"roles": ["viewer"]}}, "ann", nested)
    assert principal_of({"realm_access.roles": "viewer"}, "ann", nested)
    anybody = [Grant(claim="email", value="*")]
    assert principal_of({"email": "ann@example.org"}, "ann", anybody)
    for claims in ({}, {"email": None}, {"email": []}):
        with pytest.raises(ForbiddenError):
            principal_of(claims, "ann", anybody)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Issuer(issuer="https://id.example.org"), "audience"),
        (lambda: Issuer(issuer="http://id.example.org", audience="x"), "https"),
        (lambda: Issuer(algorithms=("HS256",)), "HS256"),
        (lambda: Issuer(algorithms=("none",)), "none"),
        (lambda: Login(issuer="https://id.example.org"), "client_id"),
        (lambda: Proxy(peers=("10.0.0.1/8",)), "host bits"),
        (lambda: Grant(value="x", role="root"), "role"),
        (lambda: Grant(value="x", tenant=""), "tenant"),
        (lambda: Principal(tenant="", subject="x"), "tenant"),
    ],
)
def test_what_would_open_too_much_cannot_be_configured(make, words):
    with pytest.raises(ValueError, match=words):
        make()
