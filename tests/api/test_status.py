"""How the server fares, with a reason for everything that is not well."""

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from tests.api.behind import NOW, Clusters, Live
from tests.api.conftest import app_of, asker


@pytest.fixture
def health(shop, door):
    def found(live, clusters, who="viewer"):
        app = app_of(shop, door.gate, live=live, clusters=clusters)
        return asker(TestClient(app), door)("/v1/health", who).json()

    return found


def test_all_is_well(health):
    found = health(Live(posted_until=NOW), Clusters())
    assert (found["status"], found["reasons"]) == ("ok", [])
    assert found["posted_until"] == "2026-11-03T02:00:00Z"


def test_a_clock_that_is_wrong_is_told(health):
    found = health(Live(posted_until=NOW + timedelta(days=20)), Clusters())
    assert found["reasons"] == [
        "what agents post reaches to 2026-11-23T02:00:00Z and is ahead of this server's clock"
    ]


def test_every_trouble_has_its_reason(health):
    live = Live(posted_until=NOW - timedelta(hours=1), waiting=7, troubles=("hour 3 is damaged",))
    clusters = Clusters(watch="broken", watch_error="403")
    clusters.one = type(clusters.one)(
        cluster="prod",
        nodes=3,
        last_segment=NOW - timedelta(hours=2),
        watch="broken",
        watch_error="403",
    )
    found = health(live, clusters)
    assert found["status"] == "degraded"
    assert found["reasons"] == [
        "hour 3 is damaged",
        "7 segments wait for the ledger, which reaches to 2026-11-03T01:00:00Z",
        "cluster prod: silent since 2026-11-03T00:00:00Z",
        "cluster prod: its API server is not watched: 403",
    ]
    assert health(live, clusters, "stranger")["reasons"] == []


def test_clusters_are_those_of_the_tenant(api):
    assert [c["cluster"] for c in api("/v1/clusters").json()["clusters"]] == ["prod"]
    assert api("/v1/clusters", "stranger").json()["clusters"] == []


def test_whoami_says_what_may_be_done(api):
    found = api("/v1/whoami", "payments").json()
    assert (found["role"], found["permissions"]) == ("viewer", ["metrics.read"])
    assert (found["tenant"], found["owners"]) == ("t1", ["payments"])
    assert api("/v1/whoami", "agents").json()["permissions"] == []
