"""Signing in to the console with a real provider: code, PKCE, state, nonce, session, sign-out."""

from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from flowcost.access.sessions import COOKIE, LOGIN_COOKIE
from flowcost.access.settings import Access
from flowcost.views.sign_in import own_path


def begin(client, target="/costs?by=path"):
    answer = client.get("/login", params={"next": target})
    assert answer.status_code == 303
    return answer


def come_back(began):
    """Do at the provider what a browser would; return where it sends the browser."""
    sent = httpx2.get(began.headers["location"])
    assert sent.status_code == 307
    back = urlsplit(sent.headers["location"])
    assert back.netloc == "costs.example.org"
    return f"{back.path}?{back.query}"


def signed_in(client, target="/"):
    return client.get(come_back(begin(client, target)))


def test_a_person_signs_in_and_out(client, gate):
    answer = signed_in(client, "/costs?by=path")
    assert (answer.status_code, answer.headers["location"]) == (303, "/costs?by=path")
    [cookie] = [c for c in answer.headers.get_list("set-cookie") if c.startswith(COOKIE)]
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=28800"):
        assert part in cookie
    found = client.get("/v1/whoami").json()
    assert (found["subject"], found["role"], found["tenant"]) == ("ann@example.org", "admin", "t1")
    assert client.get("/v1/totals").status_code == 200
    secret = client.cookies[COOKIE]
    assert client.post("/logout", headers={"sec-fetch-site": "same-origin"}).status_code == 303
    client.cookies.set(COOKIE, secret)
    assert client.get("/v1/whoami").status_code == 401
    assert [e.action for e in gate.audit.entries("t1")] == ["signIn"]
    for file in gate.store.path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_a_session_ends(client, clock):
    signed_in(client)
    clock.passes(hours=7, minutes=59)
    assert client.get("/v1/whoami").status_code == 200
    clock.passes(minutes=1)
    assert client.get("/v1/whoami").status_code == 401


def test_what_is_asked_of_the_provider(client, provider):
    query = parse_qs(urlsplit(begin(client).headers["location"]).query)
    assert query["scope"] == ["openid profile email"]
    assert query["redirect_uri"] == ["https://costs.example.org/login/callback"]
    assert len(query["state"][0]) >= 43
    assert len(query["nonce"][0]) >= 43
    assert query["code_challenge_method"] == ["S256"]


def test_a_sign_in_that_another_browser_began_is_refused(client, make_client, gate):
    place = come_back(begin(client))
    victim = make_client(gate)
    assert victim.get(place).status_code == 401
    victim.cookies.set(LOGIN_COOKIE, "made-up")
    assert victim.get(place).status_code == 401
    assert COOKIE not in victim.cookies


def test_a_sign_in_comes_back_once_and_in_time(client, clock):
    began = begin(client)
    state = client.cookies[LOGIN_COOKIE]
    place = come_back(began)
    assert client.get(place).status_code == 303
    client.cookies.set(LOGIN_COOKIE, state)
    assert client.get(place).status_code == 401
    late = come_back(begin(client))
    clock.passes(minutes=10)
    assert client.get(late).status_code == 401


def test_a_wrong_nonce_is_refused(client, provider):
    provider.faults["nonce"] = "of another sign-in"
    assert signed_in(client).status_code == 401


def test_a_wrong_code_or_verifier_is_refused(client, provider):
    place = come_back(begin(client))
    [code] = provider.codes
    provider.codes[code]["code_challenge"] = "another"
    assert client.get(place).status_code == 401
    state = parse_qs(urlsplit(begin(client).headers["location"]).query)["state"][0]
    assert client.get("/login/callback", params={"state": state, "code": "x"}).status_code == 401


def test_a_provider_that_says_no_is_told(client):
    state = parse_qs(urlsplit(begin(client).headers["location"]).query)["state"][0]
    answer = client.get("/login/callback", params={"state": state, "error": "access_denied"})
    assert answer.status_code == 401
    assert "access_denied" in answer.json()["detail"]


def test_who_has_no_grant_does_not_enter(client, provider):
    provider.person = provider.person | {"groups": []}
    answer = signed_in(client)
    assert answer.status_code == 403
    assert COOKIE not in client.cookies


def test_a_provider_that_is_away_is_503(client, provider):
    provider.faults["discovery"] = True
    assert client.get("/login").status_code == 503


def test_without_a_provider_there_is_no_sign_in(make_client, make_gate):
    client = make_client(make_gate(Access(required=True)))
    assert client.get("/login").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "https://costs.example.org"}, 201),
        ({"origin": "https://costs.example.org"}, 201),
        ({}, 201),
    ],
    ids=str,
)
def test_a_page_of_another_site_changes_nothing(client, headers, status):
    signed_in(client)
    answer = client.post("/v1/tokens", json={"name": "mine"}, headers=headers)
    assert answer.status_code == status
    assert client.get("/v1/tokens", headers=headers).status_code == 200


def test_sign_ins_under_way_are_bounded(client, gate, monkeypatch):
    monkeypatch.setattr("flowcost.access.sessions.MOST_LOGINS", 5)
    for _ in range(20):
        begin(client)
    assert gate.store.rows("SELECT count(*) FROM logins") == [(5,)]
    assert signed_in(client).status_code == 303


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/costs?by=path", "/costs?by=path"),
        ("//evil.example.org", "/"),
        ("/\\evil.example.org", "/"),
        ("/x\\y", "/"),
        ("https://evil.example.org", "/"),
        ("/a\r\nset-cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_a_sign_in_leads_to_this_server_only(text, path):
    assert own_path(text) == path
