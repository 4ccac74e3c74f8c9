"""The report in a real browser: drawn, quiet, accessible, readable without scripts."""

import shutil
from datetime import UTC, datetime

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from flowcost.ledger.query import Selection
from flowcost.views.report import build

pytestmark = pytest.mark.browser

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium: install the package chromium (see .ci/system-packages)")
    with sync_playwright() as playwright:
        # CI runs as root in a container, where Chromium's own sandbox cannot start.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def report(shop, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    now = datetime(2026, 11, 3, 13, tzinfo=UTC)
    file.write_text(build(shop, Selection(), title="Shop", now=now))
    return file.as_uri()


@pytest.fixture
def opened(browser, report):
    """Return a function that opens the report and the list of what went wrong or out."""
    contexts = []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page, trouble = context.new_page(), []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url))
        page.goto(report)
        return page, [entry for entry in trouble if entry != report]

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_charts_are_drawn_without_an_error_or_a_request(opened, scheme):
    page, trouble = opened(color_scheme=scheme)
    assert trouble == []
    assert page.evaluate("document.documentElement.dataset.charts") == "2"
    labels = page.locator("[data-chart=sankey] svg text").all_text_contents()
    assert {"storefront", "nat_gateway", "internet"} <= set(labels)
    assert page.locator("[data-chart=bars] svg path").count() > 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_rule_is_broken(opened, scheme):
    page, _ = opened(color_scheme=scheme, bypass_csp=True)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_without_scripts_every_table_is_there(opened):
    page, trouble = opened(java_script_enabled=False)
    assert trouble == []
    assert page.locator("table").count() == 7
    assert page.locator(".chart:visible").count() == 0
    assert "$0.27" in page.locator("#flows-table").inner_text()


def test_a_phone_scrolls_tables_not_the_page(opened):
    page, _ = opened(viewport={"width": 380, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 380


def test_paper_is_white_and_holds_the_charts(opened):
    page, trouble = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert trouble == []
