"""The page of a reconciliation in a real browser: quiet, accessible, whole without scripts."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.views.test_reconciliation import reconciled
from tests.views.test_report_browser import browser  # noqa: F401 - a fixture

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    reconciled(folder)
    return (folder / "page.html").as_uri()


@pytest.fixture
def opened(browser, page_file):  # noqa: F811
    """Return a function that opens the page and the list of what went wrong or out."""
    contexts = []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page, trouble = context.new_page(), []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url))
        page.goto(page_file)
        return page, [entry for entry in trouble if entry != page_file]

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_rule_is_broken(opened, scheme):
    page, trouble = opened(color_scheme=scheme, bypass_csp=True)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert trouble == []


def test_without_scripts_everything_is_there_and_the_bars_are_drawn(opened):
    page, trouble = opened(java_script_enabled=False)
    assert trouble == []
    assert page.locator("table").count() == 5
    bars = page.locator(".waterfall rect")
    assert bars.count() == page.locator("#waterfall-table tbody tr").count()
    boxes = [bars.nth(index).bounding_box() for index in range(bars.count())]
    assert boxes[0]["width"] > 100
    # The first residual hangs where the owned part ends.
    owned, first = boxes[3], boxes[4]
    assert abs(owned["x"] + owned["width"] - first["x"]) < 2


def test_a_phone_scrolls_tables_not_the_page(opened):
    page, _ = opened(viewport={"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_paper_is_white_and_whole(opened):
    page, _ = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
