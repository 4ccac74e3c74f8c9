"""Tokens over the API: shown once, rotated with an overlap, revoked at once, of one tenant."""

from datetime import timedelta

import pytest

from flowcost import clock
from tests.api.conftest import NOW


def use(api, text, path="/v1/totals"):
    return api(path, text).status_code


def test_a_token_is_shown_once_and_kept_as_a_digest(own_api, own_door):
    made = own_api("/v1/tokens", "admin", method="POST", json={"name": "grafana"})
    assert made.status_code == 201
    text = made.json()["token"]
    assert use(own_api, text) == 200
    assert own_api("/v1/whoami", text).json()["subject"] == "grafana"
    secret = text.rpartition("_")[2]
    assert secret not in own_api("/v1/tokens", "admin").text
    for file in own_door.gate.store.path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()
    assert own_door.gate.store.path.stat().st_mode & 0o077 == 0


def test_a_cluster_token_posts_and_nothing_else(own_api):
    body = {"name": "prod agents", "cluster": "prod-2"}
    assert own_api("/v1/tokens", "admin", method="POST", json=body).status_code == 400
    body["name"] = "prod-agents"
    made = own_api("/v1/tokens", "admin", method="POST", json=body).json()
    assert made["shown"]["cluster"] == "prod-2"
    assert made["shown"]["role"] == ""
    assert use(own_api, made["token"]) == 403
    assert own_api("/v1/whoami", made["token"]).json()["cluster"] == "prod-2"
    for extra in ({"role": "admin"}, {"namespaces": ["shop"]}, {"owners": ["x"]}):
        answer = own_api("/v1/tokens", "admin", method="POST", json=body | extra)
        assert answer.json()["parameters"].keys() == {"cluster"}


def test_a_rotated_token_holds_for_the_overlap(own_api, own_door):
    made = own_api("/v1/tokens", "admin", method="POST", json={"name": "ci"}).json()
    old, id_ = made["token"], made["shown"]["id"]
    turned = own_api(
        f"/v1/tokens/{id_}/rotate", "admin", method="POST", json={"overlap_hours": 2}
    ).json()
    new = turned["token"]
    assert (use(own_api, old), use(own_api, new)) == (200, 200)
    gate = own_door.gate
    gate.now = lambda: NOW + timedelta(hours=1, minutes=59)
    assert use(own_api, old) == 200
    gate.now = lambda: NOW + timedelta(hours=2)
    assert (use(own_api, old), use(own_api, new)) == (401, 200)
    listed = {t["id"]: t for t in own_api("/v1/tokens", "admin").json()["tokens"]}
    assert listed[id_]["replaced_by"] == turned["shown"]["id"]
    assert clock.parse(listed[id_]["expires_at"]) == NOW + timedelta(hours=2)


def test_a_revoked_token_is_refused_from_then_on(own_api):
    made = own_api("/v1/tokens", "admin", method="POST", json={"name": "ci"}).json()
    place = f"/v1/tokens/{made['shown']['id']}"
    assert own_api(place, "admin", method="DELETE").status_code == 204
    assert use(own_api, made["token"]) == 401
    assert own_api(place, "admin", method="DELETE").status_code == 404
    turned = own_api(f"{place}/rotate", "admin", method="POST", json={})
    assert turned.status_code == 404


def test_a_token_expires(own_api, own_door):
    body = {"name": "ci", "expires_in_hours": 1}
    text = own_api("/v1/tokens", "admin", method="POST", json=body).json()["token"]
    assert use(own_api, text) == 200
    own_door.gate.now = lambda: NOW + timedelta(hours=1)
    assert use(own_api, text) == 401


def test_tokens_of_another_tenant_do_not_exist(own_api):
    made = own_api("/v1/tokens", "admin", method="POST", json={"name": "ci"}).json()
    place = f"/v1/tokens/{made['shown']['id']}"
    assert made["shown"]["id"] not in own_api("/v1/tokens", "stranger").text
    assert own_api(place, "stranger", method="DELETE").status_code == 404
    assert own_api(f"{place}/rotate", "stranger", method="POST", json={}).status_code == 404
    assert use(own_api, made["token"]) == 200


def test_who_is_scoped_cannot_make_or_take_a_wider_token(own_api, own_door):
    inside = {"name": "mine", "namespaces": ["no-such-namespace"]}
    assert own_api("/v1/tokens", "nowhere", method="POST", json=inside).status_code == 201
    for wider in ({}, {"namespaces": ["shop"]}, {"owners": ["payments"]}, {"cluster": "prod"}):
        body = {"name": "wide"} | wider
        assert own_api("/v1/tokens", "nowhere", method="POST", json=body).status_code == 403
    admin = next(t for t in own_door.gate.tokens.all("t1") if t.name == "admin")
    for path, method in (
        (f"/v1/tokens/{admin.id}/rotate", "POST"),
        (f"/v1/tokens/{admin.id}", "DELETE"),
    ):
        answer = own_api(path, "nowhere", method=method, json={} if method == "POST" else None)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, {"name"}),
        (
            {"name": "", "role": "root", "namespaces": "shop", "extra": 1},
            {"name", "role", "namespaces", "extra"},
        ),
        ({"name": "x", "expires_in_hours": -1}, {"expires_in_hours"}),
        ({"name": "x", "expires_in_hours": "1"}, {"expires_in_hours"}),
        ({"name": "x", "owners": [""]}, {"owners"}),
    ],
)
def test_what_is_wrong_in_a_body_is_named_at_once(own_api, body, names):
    answer = own_api("/v1/tokens", "admin", method="POST", json=body)
    assert answer.status_code == 400
    assert answer.json()["parameters"].keys() == names


def test_a_body_is_json_and_short(own_api):
    for content in (b"", b"{", b"[]", b"null", b'{"name": "\xff"}', b'{"name":' * 5000):
        answer = own_api("/v1/tokens", "admin", method="POST", content=content)
        assert answer.json()["parameters"].keys() == {"body"}, content[:20]
    answer = own_api("/v1/tokens", "admin", method="POST", content=b" " * 70_000)
    assert answer.status_code == 413


def test_what_changes_and_what_is_refused_is_in_the_audit_log(own_api):
    made = own_api("/v1/tokens", "admin", method="POST", json={"name": "ci"}).json()
    own_api(f"/v1/tokens/{made['shown']['id']}", "admin", method="DELETE")
    own_api("/v1/tokens", "viewer", method="POST", json={"name": "mine"})
    own_api("/v1/costs", "viewer")
    entries = own_api("/v1/audit", "admin").json()["entries"]
    assert [(e["who"], e["action"], e["result"]) for e in entries] == [
        ("ada", "createToken", "forbidden"),
        ("ada", "revokeToken", "204"),
        ("ada", "createToken", "201"),
    ]
    assert entries[1]["target"] == f"/v1/tokens/{made['shown']['id']}"
    assert made["token"].rpartition("_")[2] not in str(entries)
    first = own_api("/v1/audit", "admin", limit=2).json()
    rest = own_api("/v1/audit", "admin", before=first["next"]).json()
    assert [*first["entries"], *rest["entries"]] == entries
    assert own_api("/v1/audit", "stranger").json()["entries"] == []


def test_the_audit_log_cannot_be_altered(own_api, own_door):
    own_api("/v1/tokens", "admin", method="POST", json={"name": "ci"})
    for sql in ("DELETE FROM audit", "UPDATE audit SET who = 'nobody'"):
        with (
            pytest.raises(Exception, match="only appended to"),
            own_door.gate.store.writing() as con,
        ):
            con.execute(sql)


def alter(store, sql):
    with store.writing() as con:
        con.execute(sql)


def test_failing_does_not_fill_the_disk(own_api, own_door):
    for _ in range(200):
        own_api("/v1/costs", "flowcost_000000000000_wrong")
    assert len(own_door.gate.store.rows("SELECT 1 FROM audit")) == 60
