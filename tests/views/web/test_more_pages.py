"""The other pages: cost summary, coverage, rates, findings, budgets, clusters, and their states."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from flowcost.access.principal import Principal, Role
from flowcost.insights.budgets import BudgetState
from flowcost.insights.cost_summary import Settings
from flowcost.insights.incidents import Change, Incident
from flowcost.money import GIB, ONE
from flowcost.views.service import ClusterState, LiveState
from flowcost.views.web.cost import gib
from tests.api.test_cost_summary import PRICES, run
from tests.conftest import CART, CHECKOUT, INTERNET, REPLICA, S3, charge
from tests.views.web.serving import ADMIN, VIEWER, Nothing, console, visitor
from tests.views.web.test_pages import Page, get

REGIONAL = "DataTransfer-Regional-Bytes"
ALL = ["/cost", "/coverage", "/rates", "/findings", "/budgets", "/clusters", "/reconcile"]


@pytest.fixture(scope="module")
def client(shop):
    with visitor(console(shop), follow_redirects=False) as running:
        yield running


@pytest.mark.parametrize("page", ALL)
def test_every_page_answers_with_its_heading_and_current_link(client, page):
    answer = client.get(page)
    assert answer.status_code == 200
    found = Page(answer.text)
    assert ("a", "aria-current", "page") in found.attributes
    assert found.inline == []


@pytest.mark.parametrize("page", ALL)
def test_every_page_has_a_state_without_data(make_ledger, page):
    answer = visitor(console(make_ledger([]))).get(page)
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Return the ledger of the worked example: checkout pays $0.38."""
    return run(tmp_path_factory.mktemp("example"))


def summary_of(ledger, prices=PRICES, **parts):
    client = visitor(console(ledger, cost=Settings(prices=prices), **parts))
    return get(client, "/cost")


def test_the_cost_summary_shows_the_worked_example(example):
    page = summary_of(example, budgets=Budgets())
    rows = [row[:4] for row in page.tables["teams-table"]]
    assert rows[:2] == [
        ["team", "list cost", "share", "bytes"],
        ["payments", "$0.38", "100 %", "17.0 GiB"],
    ]
    assert ["warehouse", "$0.00", "0 %", "100 GiB"] in rows
    assert "as of 2026-06-01" in page.text
    assert "test table, 155 days old, internal" in page.text
    assert "117 GiB" in page.text
    pairs = [row[1:6] for row in page.tables["pairs-table"]]
    assert ["us-east-1a → us-east-1b", "inter_az", "chatty", "10.0 GiB", "$0.10"] in pairs
    states = [row[1] for row in page.tables["budgets-budgets-table"][1:]]
    assert states == ["80 % reached", "exceeded", "within"]
    assert page.tables["week-table"][1] == ["2 Nov 10:00", "$0.38", "117 GiB"]
    assert "data since 2 Nov 2026 10:00 UTC" in page.text


@pytest.mark.parametrize(
    ("begins", "shows"),
    [
        ("/?v=1&filter=owner.team+=+payments&last=all&attribute_by=source", "payments"),
        ("/?v=1&filter=service.name+=+inventory&last=all&attribute_by=source", "warehouse"),
        ("/?v=1&filter=path+=+cross_az&last=all&attribute_by=source", "payments"),
        ("/conversations?v=1&filter=service.name+=+checkout+and+source.cloud", "checkout"),
    ],
)
def test_every_sum_leads_to_its_charges(example, begins, shows):
    client = visitor(console(example, cost=Settings(prices=PRICES)))
    links = get(client, "/cost").links
    (link, *_) = [link for link in links if link.startswith(begins)]
    assert shows in get(client, link).text


def test_what_is_no_selection_leads_nowhere(make_ledger):
    page = summary_of(make_ledger([charge("nat_gateway", "NatGateway-Bytes", bytes=9, quantity=9)]))
    assert [row[0] for row in page.tables["classes-table"][1:]] == ["unknown"]
    assert not any("path" in link for link in page.links)


def test_the_unattributed_is_a_team(make_ledger):
    ledger = make_ledger([charge("same_zone", bytes=GIB, quantity=GIB, local=REPLICA)])
    assert summary_of(ledger).tables["teams-table"][1][0] == "(unattributed)"


def test_a_small_pair_is_listed_and_is_not_chatty(make_ledger):
    small = {"operation": "InterZone-Out", "bytes": 1 << 20, "quantity": 1 << 20}
    ledger = make_ledger([charge("cross_az", REGIONAL, **small, local=CHECKOUT, remote=CART)])
    rows = summary_of(ledger).tables["pairs-table"]
    assert [row[1:5] for row in rows[1:]] == [["use1-az2 → use1-az1", "inter_az", "ok", "0.00 GiB"]]


def test_without_prices_no_dollar_is_claimed(example):
    page = summary_of(example, prices=None)
    assert "Volume only." in page.text
    assert "volume-only" in page.text
    assert [cell for row in page.tables["teams-table"][1:] for cell in row[1:2]] == ["—", "—"]
    assert "$" not in page.text


def test_without_zones_the_page_says_so(make_ledger):
    away = {"local": INTERNET, "remote": INTERNET}
    ledger = make_ledger([charge("unknown", price=False, bytes=1, quantity=1, **away)])
    assert "Zones are not mapped." in summary_of(ledger).text


def test_without_a_summary_the_page_says_how_to_wire_it(client):
    assert "Cost engine not wired" in get(client, "/cost").text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.00 GiB"), (GIB // 2, "0.50 GiB"), (GIB, "1.0 GiB"), (10 * GIB, "10.0 GiB"),
     (100 * GIB, "100 GiB"), (1234 * GIB, "1,234 GiB"), (GIB * 3 // 2, "1.5 GiB")],
)  # fmt: skip
def test_gibibytes_have_as_many_decimals_as_they_need(size, text):
    assert gib(size) == text


def test_coverage_names_rules_ends_and_missing_hours(client):
    page = get(client, "/coverage?v=1&last=all")
    assert page.tables["unknown-table"][1][0] == "test-unknown"
    assert ["10.9.9.9", "unknown"] in [row[:2] for row in page.tables["unattributed-table"]]
    assert "2 of 15" in page.text
    assert "Hours without any data:" in page.text
    assert "2 Nov 2026 11:00 to 3 Nov 2026 (13 h)" in page.text


def test_every_rate_shows_source_date_and_what_it_made(client):
    page = get(client, "/rates?v=1&last=all")
    rows = {(row[0], row[1]): row for row in page.tables["rates-table"][1:]}
    nat = rows["NatGateway-Bytes", ""]
    assert nat[3:10] == [
        "0.045 USD/GiB", "2024-02-01", "aws-list", "2026-11-01, 2 d", "2.00 GiB", "$0.09", "29 %"
    ]  # fmt: skip
    assert rows["(unpriced)", ""][7:9] == ["3.00 GiB", "unpriced"]
    assert "https://aws.amazon.com/ec2/pricing/on-demand/" in page.links


def test_a_price_that_is_old_is_said_to_be(shop):
    later = datetime(2027, 6, 1, tzinfo=UTC)
    text = get(visitor(console(shop, now=later)), "/rates").text
    assert "The oldest price was read 212 days ago." in text


def test_a_saving_leads_to_its_evidence(make_ledger):
    nat = {"via": "nat-1", "resource_id": "nat-1", "quantity": 2 * GIB, "bytes": 2 * GIB}
    ledger = make_ledger([charge("nat_gateway", "NatGateway-Bytes", remote=S3, **nat)])
    client = visitor(console(ledger))
    page = get(client, "/findings")
    assert "saves $0.09" in page.text
    (evidence,) = {link for link in page.links if "NatGateway" in link}
    assert "$0.09" in get(client, evidence).text


class Budgets(Nothing):
    def states(self, tenant, month=None):
        assert tenant == "t1"
        return [
            BudgetState(kind="namespace", name="shop", month=month, limit=100 * ONE,
                        spent=81 * ONE, unpriced_bytes=0, crossed=(80,)),
            BudgetState(kind="team", name='pay"ments', month=month, limit=ONE, spent=2 * ONE,
                        unpriced_bytes=GIB, crossed=(80, 100)),
            BudgetState(kind="team", name="storefront", month=month, limit=ONE, spent=0,
                        unpriced_bytes=0, crossed=()),
        ]  # fmt: skip


def test_budgets_say_what_is_left_and_lead_to_their_charges(shop):
    client = visitor(console(shop, budgets=Budgets()))
    page = get(client, "/budgets")
    rows = page.tables["budgets-this-month-table"][1:]
    assert [row[1] for row in rows] == ["80 % reached", "exceeded", "within"]
    assert rows[1][2:7] == ["$2.00", "$1.00", "200 %", "over by $1.00", "1.00 GiB"]
    assert "1 exceeded this month." in page.text
    link = next(link for link in page.links if "storefront" in link)
    assert link.startswith("/?v=1&filter=owner.team+=+storefront&from=2026-11-01&to=2026-12-01")
    assert client.get(link).status_code == 200


def test_who_is_scoped_sees_the_budgets_of_their_own(shop):
    ann = Principal(tenant="t1", subject="ann", namespaces=("shop",))
    page = get(visitor(console(shop, ann, budgets=Budgets())), "/budgets")
    assert [row[0] for row in page.tables["budgets-this-month-table"][1:]] == ["namespace: shop"]


def test_who_is_scoped_sees_only_charges_of_their_own(shop):
    pay = Principal(tenant="t1", subject="pay", owners=("payments",))
    page = get(visitor(console(shop, pay)), "/?v=1&by=conversation&last=all")
    assert [row[0] for row in page.tables["rows-table"][1:]] == ["shop/cart <-> shop/checkout"]
    assert "scoped" in page.text


INCIDENT = Incident(
    id="i1", tenant="t1", kind="cost.budget_exceeded", severity="warning",
    title="Budget of payments exceeded", summary="$0.20 of $0.15 in 2026-11",
    until=datetime(2026, 12, 1, tzinfo=UTC), target="team:payments", attributes={},
    occurred_at=datetime(2026, 11, 2, tzinfo=UTC),
    opened_at=datetime(2026, 11, 2, tzinfo=UTC), state="open", signals=1, changes=(),
)  # fmt: skip


class Incidents(Nothing):
    def __init__(self):
        self.moved = []

    def incidents(self, tenant, *, states=()):
        return [INCIDENT]

    def move(self, tenant, incident, state, *, who, reason=""):
        self.moved.append((tenant, incident, state, who, reason))
        return INCIDENT


def test_an_editor_moves_an_incident_with_a_reason(shop):
    incidents = Incidents()
    editor = Principal(tenant="t1", subject="ed", role=Role.EDITOR)
    client = visitor(console(shop, editor, incidents=incidents), follow_redirects=False)
    page = get(client, "/findings")
    assert "$0.20 of $0.15" in page.text
    answer = client.post("/incidents/i1", data={"state": "dismissed", "reason": " known "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/findings#incidents")
    assert incidents.moved == [("t1", "i1", "dismissed", "ed", "known")]


def test_an_incident_says_who_moved_it_last_if_anybody_did(shop, monkeypatch):
    opened, taken = (
        Change(at=INCIDENT.opened_at, who=who, state=state, reason=reason)
        for who, state, reason in (
            ("flowcost", "open", INCIDENT.title),
            ("ed", "acknowledged", "mine"),
        )
    )
    for changes, said in (((opened,), False), ((opened, taken), True)):
        changed = replace(INCIDENT, changes=changes)
        monkeypatch.setattr(Incidents, "incidents", lambda *_, one=changed, **__: [one])
        text = get(visitor(console(shop, incidents=Incidents())), "/findings").text
        assert text.count(INCIDENT.title) == 1
        assert ("acknowledged by ed: mine" in text) is said


def test_a_viewer_cannot_move_one_and_sees_no_form(shop):
    incidents = Incidents()
    client = visitor(console(shop, VIEWER, incidents=incidents))
    assert ("form", "action", "/incidents/i1") not in get(client, "/findings").attributes
    assert client.post("/incidents/i1", data={"state": "resolved"}).status_code == 403
    assert incidents.moved == []


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}]
)
def test_another_site_cannot_move_one(shop, headers):
    incidents = Incidents()
    client = visitor(console(shop, ADMIN, incidents=incidents))
    answer = client.post("/incidents/i1", data={"state": "resolved"}, headers=headers)
    assert answer.status_code == 403
    assert incidents.moved == []


def test_an_incident_that_is_not_there_is_not_found(shop):
    client = visitor(console(shop, ADMIN, incidents=Incidents()))
    assert client.post("/incidents/i2", data={"state": "resolved"}).status_code == 404


class Fleet(Nothing):
    def states(self, tenant, month=None):
        return [
            ClusterState(cluster="prod", nodes=3, watch="watching", pods=120,
                         last_segment=datetime(2026, 11, 3, 2, 58, tzinfo=UTC)),
            ClusterState(cluster="dev", nodes=0, last_segment=None, watch="broken",
                         watch_error="401 from the API server"),
        ]  # fmt: skip

    def state(self, tenant):
        return LiveState(
            posted_until=datetime(2026, 11, 3, 3, tzinfo=UTC), closed_until=None, waiting=4,
            waiting_bytes=2048, troubles=("the disk is full",),
        )  # fmt: skip


def test_clusters_say_who_reports_and_what_is_wrong(shop):
    page = get(visitor(console(shop, clusters=Fleet(), live=Fleet())), "/clusters")
    assert page.tables["clusters-table"][1:] == [
        ["prod", "3", "2 min ago", "watching", "120", ""],
        ["dev", "0", "never", "broken", "0", "401 from the API server"],
    ]
    assert "the disk is full" in page.text
    assert "4 segments" in page.text


def test_nobody_gets_a_page_that_offers_to_sign_in(shop):
    client = visitor(console(shop, None))
    for page in ["/", "/charges", *ALL, "/costs.csv", "/complete"]:
        answer = client.get(page)
        assert answer.status_code == 401, page
        assert "storefront" not in answer.text
    assert "a proxy in front of it says who you are" in client.get("/").text


def test_who_can_sign_in_is_led_there_and_back(shop):
    client = visitor(console(shop, None, provider="somebody"))
    page = get(client, "/?v=1&by=path", 401)
    assert "/login?next=%2F%3Fv%3D1%26by%3Dpath" in page.links


def test_what_breaks_says_nothing_of_the_inside(shop):
    client = visitor(console(shop), raise_server_exceptions=False)
    page = get(client, "/broken", 500)
    assert "its log says why" in page.text
    assert "secret" not in page.text


def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_programs(shop):
    client = visitor(console(shop))
    assert "Nothing there" in get(client, "/nowhere", 404).text
    answer = client.get("/nowhere", headers={"accept": "*/*"})
    assert answer.headers["content-type"] == "application/problem+json"


def test_agents_get_no_page(shop):
    agents = Principal(tenant="t1", subject="agents of prod", cluster="prod")
    for page in ["/", "/charges", *ALL, "/costs.csv"]:
        assert visitor(console(shop, agents)).get(page).status_code == 403, page


@pytest.mark.parametrize(
    "page", ["/", "/conversations", "/findings", "/coverage", "/rates", "/charges"]
)
def test_only_what_changes_a_page_can_be_chosen_there(client, page):
    offered = ("a", "role", "switch") in get(client, f"{page}?v=1&last=all").attributes
    assert offered is (page in ("/", "/conversations"))


def test_an_hour_at_midnight_is_an_hour(make_ledger):
    midnight = datetime(2026, 11, 3, tzinfo=UTC)
    ledger = make_ledger([charge("cross_az", REGIONAL, hour=midnight, bytes=9, quantity=9)])
    rows = get(visitor(console(ledger)), "/charges?v=1&last=all").tables["charges-table"]
    assert rows[1][0] == "3 Nov 2026 00:00"
