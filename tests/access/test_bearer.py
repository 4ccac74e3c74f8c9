"""Signed bearer tokens: only what the issuer signed, for us, now."""

import base64
import hmac
import json

import pytest
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse, RedirectResponse

from flowcost.access.settings import Access, Issuer
from tests.access.conftest import AUDIENCE


@pytest.fixture
def ask(client):
    return lambda token: client.get("/v1/whoami", headers={"authorization": f"Bearer {token}"})


def unsigned(claims):
    parts = ({"alg": "none"}, claims)
    coded = (base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    return ".".join((*coded, ""))


def with_shared_secret(claims, secret):
    parts = ({"alg": "HS256", "kid": "one"}, claims)
    coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    mac = hmac.digest(secret, ".".join(coded).encode(), "sha256")
    return ".".join((*coded, base64.urlsafe_b64encode(mac).decode().rstrip("=")))


def test_a_good_token_is_its_subject_with_the_granted_role(ask, provider, clock):
    found = ask(provider.sign(provider.claims(clock(), AUDIENCE))).json()
    assert (found["subject"], found["tenant"], found["role"]) == ("u-1", "t1", "admin")
    several = provider.claims(clock(), ["other", AUDIENCE], groups=["payments-team", "x"])
    found = ask(provider.sign(several)).json()
    assert (found["role"], found["owners"]) == ("viewer", ["payments"])


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"iss": "https://evil.example.org"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"exp": None},
        {"exp": "tomorrow"},
    ],
    ids=str,
)
def test_a_claim_that_does_not_hold_is_401(ask, provider, clock, changes):
    answer = ask(provider.sign(provider.claims(clock(), AUDIENCE, **changes)))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]


def test_times_hold_within_the_leeway(ask, provider, clock):
    now = int(clock().timestamp())
    for changes, status in (
        ({"exp": now - 59}, 200),
        ({"exp": now - 61}, 401),
        ({"nbf": now + 59}, 200),
        ({"nbf": now + 61}, 401),
    ):
        token = provider.sign(provider.claims(clock(), AUDIENCE, **changes))
        assert ask(token).status_code == status, changes


def test_what_the_issuer_did_not_sign_is_401(ask, provider, clock):
    claims = provider.claims(clock(), AUDIENCE)
    good = provider.sign(claims)
    head, body, signature = good.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "root"}).encode()).decode()
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    wrong = [
        unsigned(claims),
        f"{head}.{forged.rstrip('=')}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{good}.x",
        provider.sign(claims, key=stranger),
        # The public key used as a shared secret, an old way in.
        with_shared_secret(claims, provider.keys[0].as_pem(private=False)),
        provider.sign(claims, header={"kid": "unknown"}),
        provider.sign(claims, header={"alg": "RS512"}),
        provider.sign(claims, header={"typ": "logout+jwt"}),
        "a.b.c",
        "%C3%A9.x.y",
        "x" * 20_000,
        "..",
    ]
    assert ask(good).status_code == 200
    for token in wrong:
        assert ask(token).status_code == 401, token[:60]


def test_new_keys_are_taken_and_made_up_ones_are_not_asked_for_again(ask, provider, clock):
    assert ask(provider.sign(provider.claims(clock(), AUDIENCE))).status_code == 200
    provider.rotate("two")
    clock.passes(seconds=31)
    assert ask(provider.sign(provider.claims(clock(), AUDIENCE))).status_code == 200
    asked = provider.asked["/jwks"]
    for number in range(20):
        token = provider.sign(provider.claims(clock(), AUDIENCE), header={"kid": f"x{number}"})
        assert ask(token).status_code == 401
    assert provider.asked["/jwks"] == asked


def test_a_key_that_was_withdrawn_holds_no_longer(ask, provider, clock):
    old = provider.keys[0]
    assert ask(provider.sign(provider.claims(clock(), AUDIENCE))).status_code == 200
    provider.rotate("two")
    provider.keys = provider.keys[:1]
    clock.passes(minutes=11)
    token = provider.sign(provider.claims(clock(), AUDIENCE), key=old)
    assert ask(token).status_code == 401
    provider.keys.append(old)


def test_an_issuer_that_is_away_locks_nobody_out_for_a_day(ask, provider, clock):
    assert ask(provider.sign(provider.claims(clock(), AUDIENCE))).status_code == 200
    provider.faults["jwks"] = JSONResponse({}, 500)
    clock.passes(hours=23)
    assert ask(provider.sign(provider.claims(clock(), AUDIENCE))).status_code == 200
    clock.passes(hours=2)
    answer = ask(provider.sign(provider.claims(clock(), AUDIENCE)))
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


@pytest.mark.parametrize(
    "fault",
    [
        {"issuer": "https://evil.example.org"},
        {"discovery": True},
        {"jwks": JSONResponse([], 200)},
        {"jwks": JSONResponse({"keys": [{"kty": "RSA"}]}, 200)},
        {"jwks": JSONResponse({"keys": "x" * 300_000}, 200)},
        {"jwks": RedirectResponse("http://127.0.0.1:1/")},
    ],
    ids=["other issuer", "no discovery", "a list", "half a key", "too large", "elsewhere"],
)
def test_an_issuer_that_misbehaves_opens_nothing(ask, provider, clock, fault):
    provider.faults |= fault
    assert ask(provider.sign(provider.claims(clock(), AUDIENCE))).status_code in (401, 503)


def test_keys_are_asked_for_by_their_own_url_where_there_is_no_discovery(
    make_gate, make_client, provider, clock, settings
):
    provider.faults["discovery"] = True
    issuer = Issuer(issuer=provider.url, audience=AUDIENCE, jwks_url=f"{provider.url}/jwks")
    client = make_client(make_gate(Access(jwt=issuer, grants=settings.grants)))
    token = provider.sign(provider.claims(clock(), AUDIENCE))
    answer = client.get("/v1/whoami", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_without_a_grant_nobody_enters(ask, provider, clock):
    for groups in ([], ["nothing"], "finopsx", [7], {"finops": 1}, ["finops", "elsewhere"]):
        token = provider.sign(provider.claims(clock(), AUDIENCE, groups=groups))
        assert ask(token).status_code == 403, groups
