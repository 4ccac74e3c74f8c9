"""The report: complete without scripts, silent on the network, safe against its own data."""

import hashlib
import re
import tomllib
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files

import msgspec
import pytest
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.ledger.findings import findings
from flowcost.ledger.query import Selection
from flowcost.ledger.totals import totals
from flowcost.money import GIB
from flowcost.views.report import build
from tests.conftest import CART, HOUR, S3, charge

NOW = datetime(2026, 11, 3, 13, tzinfo=UTC)
EVERYTHING = Selection()


class Page(HTMLParser):
    """Collects tables, script and style texts, and every attribute."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.attributes, self.scripts = {}, [], []
        self.within, self.table = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.within.append(tag)
        if tag == "table":
            self.table = self.tables.setdefault(dict(attrs).get("id", "findings"), [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.table[-1].append("")

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if self.within and self.within[-1] == "script":
            self.scripts.append(data)
        elif {"td", "th"} & set(self.within) and self.table and self.table[-1]:
            self.table[-1][-1] += data


@pytest.fixture(scope="module")
def page(shop):
    return Page(build(shop, EVERYTHING, title="Shop", now=NOW))


def test_the_sentence_on_top_says_how_much_and_who(shop):
    text = build(shop, EVERYTHING, title="Shop", now=NOW)
    sentence = re.search(r'<p class="sentence">(.*?)</p>', text)[1]
    assert sentence == (
        "$0.31 for 108.00 GiB from 2026-11-02T10:00:00Z to 2026-11-03T01:00:00Z;"
        " 97.2 % of the bytes have an owner."
        " The largest part, 87.1 %, is storefront over nat_gateway to internet."
    )
    assert "12 h old" in text


def test_every_chart_stands_on_a_table_with_its_exact_figures(page):
    charts = [value for _, name, value in page.attributes if name == "data-table"]
    assert charts == ["flows-table", "trend-table"]
    assert page.tables["flows-table"][1] == [
        "storefront",
        "nat_gateway",
        "internet",
        "2.00 GiB",
        "$0.27",
        "0 B",
    ]
    exact = [value for tag, name, value in page.attributes if name == "data-exact"]
    assert "0.27" in exact
    assert str(2 * GIB) in exact


def test_unknown_and_unpriced_are_on_the_page(page):
    assert ["unknown", "3.00 GiB", "unpriced", "3.00 GiB"] in page.tables["paths-table"]
    assert ["same_zone", "100.00 GiB", "$0.00", "0 B"] in page.tables["paths-table"]


def test_the_trend_has_a_column_per_path_that_costs(page):
    heads, first, *_ = page.tables["trend-table"]
    assert heads == ["hour (UTC)", "nat_gateway", "cross_az", "all paths"]
    assert first == ["2026-11-02T10:00:00Z", "$0.27", "$0.04", "$0.31"]


def test_nothing_is_loaded_from_anywhere(page):
    loading = {"src", "srcset", "href", "action", "data", "poster"}
    named = [value for _, name, value in page.attributes if name in loading]
    assert named == ["#flows"]
    policy = next(value for _, _, value in page.attributes if "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert policy.count("'sha256-") == len(page.scripts) == 2


def test_a_name_from_the_ledger_is_text_not_markup(make_ledger):
    evil = "</script><img src=x onerror=alert(1)>"
    rows = [
        charge(
            "cross_az",
            "DataTransfer-Regional-Bytes",
            bytes=GIB,
            quantity=GIB,
            local=msgspec.structs.replace(CART, owner_team=evil),
        )
    ]
    page = Page(build(make_ledger(rows), EVERYTHING, title=evil, now=NOW))
    assert not [tag for tag, _, _ in page.attributes if tag == "img"]
    assert page.tables["flows-table"][1][0] == evil


def test_an_empty_ledger_has_a_report_that_says_so(make_ledger):
    text = build(make_ledger([]), EVERYTHING, title="Shop", now=NOW)
    assert "The ledger has no charges in this selection." in text
    assert "No charges in this selection." in text


def test_the_change_is_against_the_interval_before(shop):
    late = Selection(start=HOUR.replace(day=3, hour=0), end=HOUR.replace(day=4, hour=0))
    text = build(shop, late, title="Shop", now=NOW)
    assert "-$0.31" in text
    assert "from $0.31" in text


def test_a_finding_shows_its_evidence_and_what_it_would_save(make_ledger):
    nat = {"via": "nat-1", "resource_id": "nat-1", "quantity": 2 * GIB}
    rows = [
        charge("nat_gateway", "NatGateway-Bytes", bytes=2 * GIB, remote=S3, **nat),
        charge(
            "nat_gateway",
            "NatGateway-Bytes",
            remote=msgspec.structs.replace(S3, cloud_region="eu-west-1"),
            **nat,
        ),
    ]
    ledger = make_ledger(rows)
    (found,) = [noticed for noticed in findings(ledger) if noticed.saves]
    assert found.finding.code == "missing-endpoint"
    assert found.finding.bytes == 2 * GIB
    shown = totals(ledger, Selection(where=found.where))
    assert shown.list_cost >= found.list_cost > 0
    assert "saves $0.09" in build(ledger, EVERYTHING, title="Shop", now=NOW)


def test_every_findings_filter_selects_what_it_counts(shop):
    found = findings(shop)
    assert {noticed.finding.code for noticed in found} == {
        "implied-legs",
        "unattributed",
        "unknown-path",
    }
    for noticed in found:
        selected = totals(shop, Selection(where=noticed.where))
        assert (selected.days, selected.bytes) == (noticed.finding.count, noticed.finding.bytes)


def test_the_command_writes_one_file(shop, tmp_path):
    out = tmp_path / "r.html"
    result = CliRunner().invoke(main, ["report", "--ledger", str(shop.root), "-o", str(out)])
    assert result.exit_code == 0
    assert out.read_text().startswith("<!doctype html>")


def test_vendored_files_are_what_they_say():
    static = files("flowcost.views") / "static"
    listed = tomllib.loads((static / "VENDORED.toml").read_text())["file"]
    for entry in listed:
        content = (static / entry["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["name"]
        assert entry["licence"]
    ours = {
        "VENDORED.toml",
        "charts.js",
        "console.css",
        "console.js",
        "echarts.entry.mjs",
        "favicon.svg",
        "flowcost.css",
    }
    assert {item.name for item in static.iterdir()} == ours | {entry["name"] for entry in listed}
