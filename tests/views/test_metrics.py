"""What `/metrics` of the server says, to whom, and that it adds up."""

import shutil
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from flowcost import clock, money
from flowcost.errors import BusyError, SourceError
from flowcost.ledger import Partition
from flowcost.ledger.query import Selection
from flowcost.ledger.totals import totals
from flowcost.money import GIB
from flowcost.views import ledger_metrics, series
from flowcost.views.instruments import CountedInbox
from flowcost.views.service import Receipt
from tests.api.conftest import NOW
from tests.conftest import HOUR, charge, shop_charges, write
from tests.views.serving import Stack, application


class Scraped:
    """A page as its reader sees it."""

    def __init__(self, text):
        self.text = text
        self.families = {f.name: f for f in text_string_to_metric_families(text)}

    def samples(self, name):
        family = self.families.get(name) or self.families[name.removesuffix("_total")]
        return {tuple(sorted(s.labels.items())): s.value for s in family.samples if s.name == name}

    def one(self, name, /, **labels):
        (found,) = [
            value
            for where, value in self.samples(name).items()
            if labels.items() <= dict(where).items()
        ]
        return found

    def total(self, name):
        return sum(self.samples(name).values())


@pytest.fixture
def make_client(tmp_path):
    stacks = []

    def client(ledger):
        stack = Stack(ledger, tmp_path / str(len(stacks)))
        stacks.append(stack)
        return asker(stack)

    yield client
    for stack in stacks:
        stack.close()


def asker(stack):
    """Return a client that knows the people of the stack."""
    stack.alerting.round()
    client = TestClient(application(stack.service), raise_server_exceptions=False)
    client.service, client.door = stack.service, stack.door
    return client


def scrape(client, who="viewer", **headers):
    answer = client.get("/metrics", headers={**client.door.headers(who), **headers})
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text)


@pytest.fixture(scope="module")
def page(shop, tmp_path_factory):
    """Return the shop's page after one request and one segment."""
    stack = Stack(shop, tmp_path_factory.mktemp("page"))
    client = asker(stack)
    client.get("/things/1")
    stack.service.instruments.posted("t1", "prod", "accepted", 1)
    yield scrape(client)
    stack.close()


def test_what_is_served_is_what_is_documented(page):
    declared = {one.name: one for one in series.ALL}
    assert len(declared) == len(series.ALL)
    served = set()
    for family in page.families.values():
        name = family.name if family.name in declared else f"{family.name}_total"
        one = declared[name]
        served.add(name)
        assert (family.type, family.documentation) == (one.type, one.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(one.labels), sample
    assert served == set(declared)
    assert all(name.startswith("flowcost_") for name in declared)


def test_promtool_finds_nothing_to_criticise(page):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine")
    found = subprocess.run(
        [promtool, "check", "metrics"],
        input=page.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("window", "noun"),
    [(window, noun) for window in series.WINDOWS for noun in series.NOUNS[window]],
)
def test_every_way_of_cutting_it_adds_up_to_the_ledger(shop, page, window, noun):
    start = {"day": NOW + clock.HOUR - clock.DAY, "month": datetime(2026, 11, 1, tzinfo=UTC)}
    whole = totals(shop, Selection(tenant="t1", start=start[window]))
    size, cost, unpriced = (page.total(one.name) for one in series.ledger_series(window, noun))
    assert size == whole.bytes
    assert cost == pytest.approx(whole.list_cost / money.ONE, rel=1e-12)
    assert unpriced == whole.unpriced_bytes


def test_the_rest_beyond_the_largest_is_one(shop, make_client, monkeypatch):
    monkeypatch.setattr(ledger_metrics, "TOP", 2)
    page = scrape(make_client(shop))
    found = page.samples("flowcost_ledger_month_bytes")
    assert {dict(labels)["billing_path"] for labels in found} == {
        "nat_gateway",
        "cross_az",
        "(other)",
    }
    assert sum(found.values()) == totals(shop, Selection(tenant="t1")).bytes


def test_shares_ages_and_states(page):
    whole = 108 * GIB + 7  # of which 3 GiB have neither path nor owner
    assert page.one("flowcost_ledger_unknown_bytes_ratio") == pytest.approx(3 * GIB / whole)
    assert page.one("flowcost_ledger_unattributed_bytes_ratio") == pytest.approx(3 * GIB / whole)
    checked = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert page.one("flowcost_ledger_rate_checked_timestamp_seconds", book="aws-list") == checked
    assert page.one("flowcost_ledger_data_since_timestamp_seconds") == HOUR.timestamp()
    assert page.one("flowcost_ledger_partitions", cluster="prod", state="closed") == 1
    assert page.one("flowcost_ledger_partitions", cluster="prod", state="open") == 1
    assert page.one("flowcost_inbox_waiting_segments") == 3
    assert page.one("flowcost_inbox_waiting_bytes") == 999
    assert page.one("flowcost_live_troubles") == 1
    assert page.one("flowcost_cluster_pods", cluster="prod") == 7
    assert page.one("flowcost_cluster_watch", cluster="prod", state="watching") == 1
    assert page.one("flowcost_cluster_watch", cluster="prod", state="broken") == 0
    # Never is no number.
    assert len(page.samples("flowcost_cluster_last_segment_timestamp_seconds")) == 1
    assert page.one("flowcost_server_process_resident_memory_bytes") > 1 << 20


def test_budgets_and_incidents(page):
    where = {"kind": "team", "name": "storefront"}
    spent = page.one("flowcost_budget_spent_usd", **where)
    assert spent == pytest.approx(0.29, abs=1e-6)  # NAT, egress and three transmitted legs
    assert page.one("flowcost_budget_limit_usd", **where) == 0.1
    assert page.one("flowcost_budget_exceeded", **where) == 1
    assert page.one("flowcost_budget_exceeded", kind="path") == 0
    assert page.one("flowcost_incidents", state="open") == 1
    assert page.one("flowcost_incidents", state="resolved") == 0


def test_late_data_may_lower_a_total_so_it_is_a_gauge(tmp_path, make_client):
    ledger = write(tmp_path / "ledger", shop_charges())
    client = make_client(ledger)
    before = scrape(client)
    ledger.drop(Partition("t1", "prod", HOUR))
    later = scrape(make_client(ledger))
    name = "flowcost_ledger_month_list_cost_usd"
    assert later.total(name) < before.total(name)
    assert all(
        one.type == series.GAUGE for one in series.ALL if one.name.startswith("flowcost_ledger")
    )


def test_a_ledger_is_read_again_only_when_its_hours_changed(tmp_path, monkeypatch):
    ledger = write(tmp_path / "ledger", shop_charges())
    asked = []
    real = ledger_metrics.costs
    monkeypatch.setattr(
        ledger_metrics, "costs", lambda *a, **k: (asked.append(k["by"]), real(*a, **k))[1]
    )
    time = [NOW]
    found = ledger_metrics.LedgerMetrics(ledger, lambda: time[0])
    mine = Selection(tenant="t1")

    def readings():
        asked.clear()
        found.families(mine, None)
        return len(asked) // 3  # each window at once, and a day's conversations

    assert readings() == 1
    time[0] += timedelta(minutes=5)
    assert readings() == 0  # nothing changed
    write(tmp_path / "ledger", [charge("same_zone", hour=NOW, bytes=5, quantity=5)])
    assert readings() == 1
    assert readings() == 0
    time[0] += timedelta(hours=1)
    assert readings() == 1  # the window moved
    found.families(Selection(tenant="t2"), None)
    assert readings() == 0  # each asker has a reading of its own


def test_rights(shop, make_client):
    client = make_client(shop)
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=client.door.headers("agents")).status_code == 403
    theirs = scrape(client, "stranger")
    assert "t1" not in theirs.text
    assert "prod" not in theirs.text
    assert theirs.total("flowcost_ledger_month_bytes") == 0
    assert {dict(k)["name"] for k in theirs.samples("flowcost_budget_limit_usd")} == {"shop"}
    scoped = scrape(client, "payments")
    assert scoped.samples("flowcost_budget_limit_usd") == {}
    assert scoped.total("flowcost_incidents") == 0
    whole = scrape(client).total("flowcost_ledger_month_bytes")
    assert 0 < scoped.total("flowcost_ledger_month_bytes") < whole


def test_requests_are_counted_by_declared_route(shop, make_client):
    client = make_client(shop)
    for number in range(20):
        client.get(f"/things/{number}")
        client.get(f"/nowhere/{number}")
    client.delete("/things/1")
    client.request("BREW", "/things/1")
    client.get("/static/a.css")
    page = scrape(client)
    name = "flowcost_http_requests_total"
    assert page.one(name, method="GET", route="/things/{id}", status="200") == 20
    assert page.one(name, method="GET", route="(none)", status="404") == 20
    assert page.one(name, method="DELETE", route="/things/{id}") == 1
    assert page.one(name, method="other", status="405") == 1
    assert page.one(name, route="/static/{file}") == 1
    count = "flowcost_http_request_duration_seconds_count"
    family = page.families["flowcost_http_request_duration_seconds"]
    counts = defaultdict(int)
    for sample in family.samples:
        if sample.name == count:
            counts[sample.labels["route"]] += sample.value
    assert counts["/things/{id}"] == 22


def test_segments_are_counted_by_what_became_of_them(shop, make_client):
    outcomes = [Receipt(1, 1, True), Receipt(1, 1, False), SourceError("no"), BusyError("full")]

    class Inbox:
        def put(self, tenant, cluster, body):
            found = outcomes.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

    client = make_client(shop)
    inbox = CountedInbox(Inbox(), client.service.instruments)
    inbox.put("t1", "prod", b"12345")
    inbox.put("t1", "prod", b"12345")
    for error in (SourceError, BusyError):
        with pytest.raises(error):
            inbox.put("t1", "prod", b"12345")
    client.service.instruments.posted("t2", "theirs", "accepted", 9)
    page = scrape(client)
    found = {dict(k)["outcome"]: v for k, v in page.samples("flowcost_segments_total").items()}
    assert found == {"accepted": 1, "repeated": 1, "refused": 1, "busy": 1}
    assert page.total("flowcost_segment_bytes_total") == 5


def test_the_formats_prometheus_asks_for(shop, make_client):
    client = make_client(shop)
    asked = {**client.door.headers("viewer"), "accept": "application/openmetrics-text"}
    answer = client.get("/metrics", headers=asked)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert len(list(openmetrics(answer.text))) == len(series.ALL)
    assert answer.headers["content-encoding"] == "gzip"
    plain = client.get("/metrics", headers={**asked, "accept": "", "accept-encoding": "identity"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "content-encoding" not in plain.headers
