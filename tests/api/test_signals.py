"""Budgets and incidents: of one's own teams only, moved by editors, and in the audit log."""

import pytest
from starlette.testclient import TestClient

from tests.api.behind import alerting
from tests.api.conftest import app_of, asker


@pytest.fixture
def own(shop, own_door, tmp_path):
    with alerting(shop, tmp_path) as found:
        app = app_of(shop, own_door.gate, budgets=found, incidents=found)
        yield asker(TestClient(app), own_door)


def test_budgets_say_what_is_spent_this_month(api):
    found = {f"{b['kind']}:{b['name']}": b for b in api("/v1/budgets").json()["budgets"]}
    assert found["team:payments"]["exceeded"] is True
    assert found["team:payments"]["spent"] == "0.01"
    assert found["team:storefront"] == {
        "kind": "team",
        "name": "storefront",
        "month": "2026-11-01",
        "limit": "500",
        "spent": "0.29000000006519258022308349609375",
        "exceeded": False,
        "crossed": [],
        "unpriced_bytes": 0,
    }
    before = api("/v1/budgets", month="2026-10").json()["budgets"]
    assert {b["spent"] for b in before} == {"0"}
    for wrong in ("2026-13", "2026-11\n", "\n", "2026-1", "x"):
        assert api("/v1/budgets", month=wrong).json()["parameters"].keys() == {"month"}


def test_who_is_scoped_sees_their_own_budgets_and_incidents(api):
    targets = {b["name"] for b in api("/v1/budgets", "payments").json()["budgets"]}
    assert targets == {"payments"}
    assert {i["target"] for i in api("/v1/incidents").json()["incidents"]} == {
        "team:payments",
        "path:cross_az",
    }
    assert {i["target"] for i in api("/v1/incidents", "payments").json()["incidents"]} == {
        "team:payments"
    }


def test_an_editor_moves_an_incident(own, own_door):
    [mine] = [i for i in own("/v1/incidents").json()["incidents"] if i["target"] == "team:payments"]
    place = f"/v1/incidents/{mine['id']}"
    for who in ("viewer", "stranger", "nowhere"):
        answer = own(place, who, method="POST", json={"state": "acknowledged"})
        assert answer.status_code == (403 if who == "viewer" else 404), who
    moved = own(place, "editor", method="POST", json={"state": "acknowledged"}).json()
    assert (moved["state"], moved["changes"][-1]["who"]) == ("acknowledged", "ada")
    answer = own(place, "editor", method="POST", json={"state": "dismissed"})
    assert answer.json()["parameters"] == {"reason": "a dismissal says why"}
    body = {"state": "dismissed", "reason": "planned"}
    assert own(place, "editor", method="POST", json=body).json()["state"] == "dismissed"
    assert own("/v1/incidents", state="dismissed").json()["incidents"][0]["id"] == mine["id"]
    assert own("/v1/incidents", state="open").json()["incidents"][0]["id"] != mine["id"]
    assert own("/v1/incidents", state="lost").json()["parameters"].keys() == {"state"}
    assert [e.result for e in own_door.gate.audit.entries("t1")][:2] == ["200", "400"]
