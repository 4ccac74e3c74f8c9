"""Pages without a browser: what they say, where they lead, what they refuse."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcost.access.principal import Principal
from flowcost.money import GIB
from tests.conftest import CART, charge
from tests.views.web.serving import console, visitor


class Page(HTMLParser):
    """Collects tables, links, scripts and every attribute."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.attributes, self.links = {}, [], []
        self.inline, self.within, self.table = [], [], None
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "input", "option", "br"):
            self.within.append(tag)
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "table":
            self.table = self.tables.setdefault(given.get("id", "?"), [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.table[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if self.within and self.within[-1] in ("script", "style"):
            self.inline.append(data)
        elif {"td", "th"} & set(self.within):
            self.table[-1][-1] += data
        self.text += data


@pytest.fixture(scope="module")
def client(shop):
    with visitor(console(shop), follow_redirects=False) as running:
        yield running


def get(client, address, status=200):
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    return Page(answer.text)


def test_the_sentence_says_how_much_and_how_sure(client):
    page = get(client, "/?v=1&last=all")
    said = " ".join(re.sub(r"\s+", " ", page.text).split())
    assert (
        "$0.31 for 108.00 GiB from 2 Nov 2026 10:00 to 3 Nov 2026 01:00 UTC."
        " 100 % of the cost has an owner; 2.8 % of the bytes took an unknown path"
        " and 3.00 GiB carry no price." in said
    )
    assert "data 120 min old" in said or "data 2 h old" in said


def test_the_change_is_against_the_interval_before(client):
    page = get(client, "/?v=1&from=2026-11-03&to=2026-11-03T14Z")
    said = " ".join(page.text.split())
    assert "down $0.31" in said
    heads, *rows = page.tables["rows-table"]
    assert heads[3] == "change"
    assert ["storefront", "<$0.000001", "100 %", "\N{MINUS SIGN}$0.29", "7 B", "0 B"] in [
        row[:6] for row in rows
    ]


def test_unknown_and_unattributed_are_rows_like_any_other(client):
    page = get(client, "/?v=1&by=owner.team,path&last=all")
    rows = [row[:3] for row in page.tables["rows-table"]]
    assert ["(unattributed)", "unknown", "unpriced"] in rows


def test_a_rest_is_a_row(client):
    rows = get(client, "/?v=1&by=path&last=all&top=1").tables["rows-table"]
    assert [row[0] for row in rows[1:]] == ["nat_gateway", "(other)"]


def test_a_step_without_data_says_so(client):
    rows = get(client, "/?v=1&last=all").tables["trend-table"]
    assert rows[0] == ["hour (UTC)", "nat_gateway", "cross_az", "all paths"]
    assert rows[1] == ["2 Nov 10:00", "$0.27", "$0.04", "$0.31"]
    assert rows[2][1:] == ["no data"] * 3
    assert len(rows) == 1 + 15


def test_each_flow_names_its_rates(client):
    rows = get(client, "/?v=1&last=all").tables["flows-table"]
    first = rows[1]
    assert first[:4] == ["storefront", "nat_gateway", "internet", "$0.27"]
    assert first[7] == "0.09 + 0.045 USD/GiB"


def test_bytes_rank_by_bytes(client):
    rows = get(client, "/?v=1&by=path&last=all&measure=bytes").tables["rows-table"]
    assert rows[1][0] == "same_zone"
    assert rows[1][2] == "92.6 %"


def test_the_way_down_ends_at_an_explained_charge(client):
    """Total, team, namespace, workload, conversation, charges, charge."""
    address, seen = "/?v=1&last=all", []
    for _ in range(5):
        page = get(client, address)
        table = page.tables.get("rows-table") or page.tables["charges-table"]
        seen.append(table[1][0])
        text = client.get(address).text
        address = re.search(r'<a href="([^"]+)" class="drill"', text)[1].replace("&amp;", "&")
        address = address.replace("&#34;", '"')
    assert seen == [
        "storefront",
        "shop",
        "cart",
        "internet <-> shop/cart",
        "2 Nov 2026 10:00",
    ]
    page = get(client, address)
    said = " ".join(page.text.split())
    assert "2147483648 bytes * 0.09 USD / 1073741824 bytes (1 GiB) = 0.18" in said
    assert "test-nat_gateway" in said
    assert "checked 2026-11-01" in said
    assert "https://aws.amazon.com/ec2/pricing/on-demand/" in page.links
    crumbs = re.search(r'<nav class="crumbs".*?</nav>', client.get(address).text, re.DOTALL)[0]
    words = re.findall(r"<small>(\w+)</small>", crumbs)
    assert words == ["team", "namespace", "workload", "conversation"]


def test_a_charge_that_is_gone_says_where_to_look(client):
    page = get(client, "/charges/0123456789abcdef?v=1&from=2026-11-02T10Z&to=2026-11-02T11Z", 404)
    assert "late data rewrites its hour" in page.text


def test_a_form_is_sent_to_its_one_address(client):
    answer = client.get("/?filter=path%3Dcross_az&last=24h&by=owner.team")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?v=1&filter=path+=+cross_az&last=24h"
    assert client.get(answer.headers["location"]).status_code == 200


def test_every_link_of_a_page_is_its_own_canonical_address(client):
    todo, done = ["/?v=1&last=all"], set()
    while todo and len(done) < 40:
        address = todo.pop(0)
        if address in done:
            continue
        done.add(address)
        answer = client.get(address)
        assert answer.status_code == 200, address
        found = {link.split("#")[0] for link in Page(answer.text).links}
        todo += sorted(link for link in found - done if link == "/" or link.startswith("/?"))


def test_a_wrong_filter_points_at_its_column_and_asks_nothing(client):
    page = get(client, "/?v=1&filter=ownr+=+x", 400)
    assert ("div", "data-position", "0") in page.attributes
    assert "filter: " in page.text
    assert "at column 1" in page.text
    assert ("input", "value", "ownr = x") in page.attributes
    assert not page.tables.get("rows-table")


@pytest.mark.parametrize("page", ["/", "/charges", "/conversations"])
def test_an_empty_ledger_says_how_to_fill_it(page, make_ledger):
    client = visitor(console(make_ledger([])))
    assert "No data yet" in get(client, page).text


@pytest.mark.parametrize("page", ["/", "/charges", "/conversations"])
def test_a_selection_without_charges_says_what_there_is(page, client):
    text = get(client, f"{page}?v=1&filter=path+=+vpc_peering").text
    assert "No charges in this selection" in text
    assert "2 Nov 2026 10:00" in text


def test_what_cannot_be_asked_is_a_page_with_a_way_out(client):
    page = get(client, "/?v=7", 400)
    assert "version 7" in page.text
    assert "/" in page.links


def test_old_data_is_said_to_be_old(shop):
    later = datetime(2026, 11, 25, tzinfo=UTC)
    text = get(visitor(console(shop, now=later)), "/?v=1&last=all").text
    assert "The newest hour is 21 days old." in text


def test_a_tenant_sees_nothing_of_another(shop):
    other = Principal(tenant="t2", subject="eve@example.org")
    client = visitor(console(shop, other))
    for address in ("/", "/?v=1&last=all", "/charges?v=1&last=all", "/conversations"):
        page = get(client, address)
        assert "No data yet" in page.text
        assert "storefront" not in page.text
    assert client.get("/costs.csv?v=1&last=all").text.count("\n") == 1


def test_names_from_the_ledger_are_text_on_every_page(make_ledger):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    identity = msgspec.structs.replace(
        CART, owner_team=evil, k8s_namespace_name=evil, k8s_workload_name=evil, dns_name=evil
    )
    regional = "DataTransfer-Regional-Bytes"
    rows = [charge("cross_az", regional, bytes=GIB, quantity=GIB, local=identity, source=evil)]
    client = visitor(console(make_ledger(rows)))
    addresses = ["/?v=1&by=owner.team,conversation", "/conversations", "/charges"]
    text = client.get("/charges").text
    addresses.append(re.search(r'href="(/charges/[^"]+)"', text)[1].replace("&amp;", "&"))
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        page = Page(answer.text)
        assert "alert(1)" in answer.text
        assert not [tag for tag, _, _ in page.attributes if tag == "img"]
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        assert page.inline == []
    said = client.get("/complete?text=owner.team+%3D+&cursor=13").text
    assert "alert(1)" in said
    assert "<script" not in said


def test_no_page_needs_more_than_our_own_files(client):
    answer = client.get("/?v=1&last=all")
    page = Page(answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.inline == []
    assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]
    loaded = [v for t, n, v in page.attributes if (t, n) in (("script", "src"), ("link", "href"))]
    for address in loaded:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        again = client.get(address, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304


def test_only_what_is_served_is_served(client):
    for name in ("VENDORED.toml", "..%2fservice.py", "nothing.js"):
        assert client.get(f"/static/{name}").status_code == 404


def test_colours_are_a_choice_that_lasts(client):
    answer = client.post("/theme", data={"theme": "dark", "back": "/?v=1&last=all"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?v=1&last=all")
    assert "theme=dark" in answer.headers["set-cookie"]
    assert '<html lang="en" data-theme="dark">' in client.get("/").text
    client.cookies.clear()


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/\\evil.example", ""])
def test_going_back_never_leads_away(client, back):
    answer = client.post("/theme", data={"theme": "dark", "back": back})
    assert answer.headers["location"] == "/"


def test_completion_knows_keys_and_values(client):
    found = client.get("/complete?v=1&last=all&text=owner.te&cursor=8").text
    assert 'data-text="owner.team"' in found
    values = client.get("/complete?v=1&last=all&text=owner.team+%3D+&cursor=13").text
    assert "payments" in values
    assert re.findall(r'data-text="([^"]+)"', values)[0] == "storefront"


def test_swapping_ends_twice_is_the_same_question(client):
    address = (
        "/?v=1&by=path,owner.team&filter=local.owner.team+=+payments+and+path+=+cross_az&last=all"
    )
    swap = r'<a class="plain" href="([^"]+)"'
    there = re.search(swap, client.get(address).text)[1].replace("&amp;", "&")
    assert there == (
        "/?v=1&by=path,other.owner.team&filter=remote.owner.team+=+payments+and+path+=+cross_az&last=all"
    )
    assert re.search(swap, client.get(there).text)[1].replace("&amp;", "&") == address


def test_an_order_by_a_key_that_went_away_orders_nothing(client):
    rows = get(client, "/?v=1&by=path&last=all&sort=owner.team").tables["rows-table"]
    assert rows[1][0] == "nat_gateway"


def test_conversations_are_sorted_by_their_own_keys_and_leave_the_question_alone(client):
    page = get(client, "/conversations?v=1&by=path&last=all&sort=conversation")
    names = [row[0] for row in page.tables["rows-table"][1:]]
    assert names == sorted(names)
    assert "/?v=1&by=path&last=all&sort=conversation" in page.links
    assert "/costs.csv?v=1&by=conversation,path" in "".join(page.links)


WORDS = st.sampled_from(
    ["path", "=", "cross_az", "and", "or", "not", "(", ")", "in", ",", "owner.team", "~", "*", '"',
     "remote.address", "10.0.0.0/8", "hour", ">=", "2026-11-02T10", "\x00", "\ud800", "é", "%", "'"]
)  # fmt: skip
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=30),
        "by": st.lists(st.sampled_from(["path", "hour", "remote.address", "x"]), max_size=4).map(
            ",".join
        ),
        "last": st.sampled_from(["24h", "9999d", "0h", "all", "month", "x"]),
        "from": st.sampled_from(["2026-11-02", "2010-01-01", "0001-01-01", "2026-13-01", "\x00"]),
        "to": st.sampled_from(["2026-11-03", "2099-12-31T23Z", "9999-12-31T23:59", "soon"]),
        "top": st.sampled_from(["1", "1000", "0", "-1", "٣", "1e3"]),
        "sort": st.sampled_from(["path", "-bytes", "hour", "--", ""]),
        "measure": st.sampled_from(["bytes", "cost", "x"]),
    },
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    page=st.sampled_from(["/", "/conversations", "/charges", "/coverage", "/costs.json"]),
    asked=ASKED,
)
def test_whatever_is_asked_is_answered_or_refused(client, page, asked):
    answer = client.get(page, params=asked_of(asked))
    if answer.status_code == 303:
        answer = client.get(answer.headers["location"])
    assert answer.status_code in (200, 400), (page, asked)


def asked_of(asked):
    """Return parameters as bytes a browser could send: lone surrogates cannot travel."""
    return {name: text.encode("utf-8", "replace").decode() for name, text in asked.items()}
