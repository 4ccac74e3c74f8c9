"""The console in a real browser: what scripts add, and that nothing is lost without them."""

import json
import re
import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.views.web.test_more_pages import ALL

pytestmark = pytest.mark.browser

EVERY = ["/?v=1&last=all", "/conversations?v=1&last=all", "/charges?v=1&last=all", "/help", *ALL]
CHARGE = "/charges?v=1&filter=path+=+nat_gateway&last=all"


@pytest.fixture
def opened(browser, served):
    """Return a function that opens an address, and what went wrong in the page since."""
    contexts = []

    def open_page(address, **options):
        context = browser.new_context(
            **{"permissions": ["clipboard-read", "clipboard-write"], **options}
        )
        contexts.append(context)
        page, trouble = context.new_page(), []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(served) else trouble.append(request.url),
        )
        page.goto(served + address)
        if options.get("java_script_enabled", True):
            settled(page, 0)
        return page, trouble

    yield open_page
    for context in contexts:
        context.close()


def settled(page, times):
    """Wait until the page was swapped that many times."""
    # The policy forbids evaluating text, which is how Playwright would poll a condition.
    page.locator(f'html[data-ready="{times + 1}"]').wait_for(state="attached")


def address(page, served):
    return page.url.removeprefix(served)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_charts_are_drawn_and_nothing_is_refused(opened, scheme):
    page, trouble = opened("/?v=1&last=all", color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.charts") == "2"
    labels = page.locator("[data-chart=sankey] svg text").all_text_contents()
    assert {"storefront", "nat_gateway", "internet"} <= set(labels)
    assert trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("where", EVERY)
def test_no_accessibility_rule_is_broken(opened, where, scheme):
    page, trouble = opened(where, color_scheme=scheme, bypass_csp=True)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert trouble == []


@pytest.mark.parametrize("where", EVERY)
def test_a_phone_scrolls_tables_not_the_page(opened, where):
    page, _ = opened(where, viewport={"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_an_explained_charge_is_accessible(opened):
    page, trouble = opened(CHARGE, bypass_csp=True)
    page.locator("a.drill").first.click()
    settled(page, 1)
    assert page.locator("h2").all_text_contents()[:2] == ["Verdict", "Rate"]
    assert page.evaluate("document.activeElement.id") == "main"
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert trouble == []


def test_without_scripts_everything_is_there_to_read_and_follow(opened):
    page, trouble = opened("/?v=1&last=all", java_script_enabled=False)
    assert page.locator("[data-chart]:visible").count() == 0
    assert page.locator("#flows-table").is_visible()
    page.locator("#rows a.drill").first.click()
    page.locator("#filter").fill("path=cross_az")
    page.get_by_role("button", name="Ask").click()
    assert "filter=path+=+cross_az" in page.url
    assert page.locator("#rows-table").is_visible()
    assert trouble == []


def test_a_filter_is_asked_completed_and_pointed_at(opened, served):
    page, trouble = opened("/?v=1&last=all")
    page.keyboard.press("/")
    page.keyboard.type("owner.te")
    page.locator('li[data-text="owner.team"][aria-selected=true]').wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("=")
    page.keyboard.press("Control+Space")
    page.get_by_role("option", name="payments").wait_for()
    page.keyboard.type("pay")
    page.get_by_role("option", name="storefront").wait_for(state="detached")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    settled(page, 1)
    assert address(page, served) == "/?v=1&filter=owner.team+=+payments&last=all"
    assert trouble == []
    page.locator("#filter").fill("owner.team = payments and pth = x")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    settled(page, 2)
    assert "unknown key 'pth' at column 27" in page.get_by_role("alert").inner_text()
    assert page.evaluate("document.getElementById('filter').selectionStart") == 26


def test_what_is_typed_while_an_answer_is_under_way_counts(opened):
    page, _ = opened("/?v=1&last=all")
    page.keyboard.press("/")
    page.keyboard.type("ow")
    page.locator('li[data-text="owner.team"][aria-selected=true]').wait_for()
    held = []
    page.route("**/complete?*", lambda route: held.append(route))  # noqa: PLW0108 - it must be a function
    page.keyboard.type("ner.te")
    assert "owner.team" in page.locator("#suggestions code").all_inner_texts()
    assert "owner" not in page.locator("#suggestions code").all_inner_texts()
    page.keyboard.press("Enter")
    assert page.locator("#filter").input_value() == "owner.team "
    page.keyboard.press("Escape")
    for route in held:
        route.continue_()
    page.wait_for_load_state("networkidle")
    assert page.locator("#suggestions").is_hidden()


def test_keys_lead_from_the_total_to_the_explained_charge_and_back(opened):
    page, trouble = opened("/?v=1&last=all")
    for step in range(1, 6):
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        settled(page, step)
    assert "bytes * 0.09 USD" in page.locator("p.sum").inner_text()
    crumbs = page.get_by_label("The way down").inner_text().split("\n")
    assert crumbs[0] == "Total"
    for step in range(6, 11):
        page.keyboard.press("u")
        settled(page, step)
    assert page.get_by_label("The way down").count() == 0
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    assert page.evaluate("document.activeElement.id") == "by"
    assert trouble == []


def test_a_slow_answer_shows_that_it_is_on_its_way(opened, served):
    page, trouble = opened("/?v=1&last=all")
    waiting = []

    def hold(route):
        waiting.append(route)

    page.route("**/conversations*", hold)
    page.get_by_role("link", name="Conversations").click()
    page.locator("#progress.htmx-request").wait_for(state="attached")
    while not waiting:
        page.wait_for_timeout(20)
    waiting[0].continue_()
    settled(page, 1)
    page.locator("#progress:not(.htmx-request)").wait_for(state="attached")
    assert page.title() == "Conversations · Flowcost"
    assert trouble == []


def test_a_server_that_is_gone_is_said_to_be(opened):
    page, _ = opened("/?v=1&last=all")
    page.route("**/conversations*", lambda route: route.abort())
    page.get_by_role("link", name="Conversations").click()
    page.get_by_text("the server does not answer; try again").wait_for()
    assert page.locator("#rows-table").is_visible()


def test_back_shows_what_was_there(opened, served):
    page, trouble = opened("/?v=1&last=all")
    page.get_by_role("link", name="bytes", exact=True).first.click()
    settled(page, 1)
    assert "measure=bytes" in page.url
    page.go_back()
    settled(page, 2)
    assert address(page, served) == "/?v=1&last=all"
    assert page.locator("#trend-title").inner_text() == "Cost per hour"
    assert trouble == []


def test_a_click_on_the_sankey_narrows(opened):
    page, trouble = opened("/?v=1&last=all")
    page.locator("[data-chart=sankey] svg text", has_text="nat_gateway").click()
    settled(page, 1)
    assert "filter=path+=+nat_gateway" in page.url
    assert trouble == []


def test_hovering_a_flow_names_its_rate_and_rule(opened):
    page, _ = opened("/?v=1&filter=path+=+nat_gateway&last=all")
    box = page.locator("[data-chart=sankey]").bounding_box()
    page.locator("[data-chart=sankey]").scroll_into_view_if_needed()
    page.locator("[data-chart=sankey]").hover(
        position={"x": box["width"] * 0.3, "y": box["height"] / 2}
    )
    shown = page.locator("[data-chart=sankey] > div").last.inner_text()
    assert "storefront → nat_gateway → internet: $0.27" in shown
    assert "0.09 USD/GiB" in shown
    assert "rule test-nat_gateway" in shown


def test_a_drag_over_the_histogram_cuts_the_time(opened):
    page, trouble = opened("/?v=1&last=all")
    chart = page.locator("[data-chart=histogram]")
    box = chart.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.55, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.97, middle, steps=4)
    assert page.locator(".brush").is_visible()
    page.mouse.up()
    settled(page, 1)
    found = re.search(r"from=(\S+?)&to=(\S+)", page.url)
    assert found[2] == "2026-11-03T01Z"
    assert "2026-11-02T17Z" <= found[1] <= "2026-11-02T21Z"
    assert trouble == []


def test_group_keys_change_places_by_dragging_and_by_link(opened):
    page, trouble = opened("/?v=1&by=owner,path&last=all")
    page.get_by_role("link", name="move path earlier").click()
    settled(page, 1)
    assert "by=path,owner" in page.url
    page.locator(".chips li").nth(1).drag_to(page.locator(".chips li").nth(0))
    settled(page, 2)
    assert "by=owner,path" in page.url
    assert trouble == []


def test_colours_follow_the_choice_at_once_and_after(opened):
    page, trouble = opened("/?v=1&last=all", color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.locator("[data-theme-toggle]").click()
    assert page.evaluate(paper) == "rgb(13, 17, 23)"
    page.reload()
    assert page.evaluate(paper) == "rgb(13, 17, 23)"
    assert page.locator("[data-chart=sankey] svg").is_visible()
    assert trouble == []


def test_a_share_link_is_copied_and_shows_the_same(opened, served):
    page, trouble = opened("/?v=1&by=path")
    page.get_by_role("link", name="Share link").click()
    page.get_by_role("link", name="Link copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{served}/?v=1&by=path&from=2026-10-27T01Z&to=2026-11-03T01Z"
    rows = page.locator("#rows-table").inner_text()
    other, _ = opened(link.removeprefix(served))
    assert other.locator("#rows-table").inner_text() == rows
    assert trouble == []


def test_the_command_line_is_copied_as_it_stands(opened):
    page, _ = opened("/?v=1&by=path&last=all")
    page.get_by_role("button", name="Copy", exact=True).first.click()
    page.get_by_role("button", name="Copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("flowcost costs --by path --from 2026-11-02T10:00:00Z")


@pytest.mark.parametrize("form", ["CSV", "JSON"])
def test_rows_are_copied_as_the_file_has_them(opened, served, form):
    page, trouble = opened("/?v=1&by=path&last=all")
    page.get_by_role("button", name=f"Copy {form}").click()
    page.get_by_text("rows copied").wait_for()
    href = page.get_by_role("link", name=form, exact=True).get_attribute("href")
    with urllib.request.urlopen(served + href, timeout=10) as answer:
        assert page.evaluate("navigator.clipboard.readText()") == answer.read().decode()
    assert trouble == []


def test_a_file_is_downloaded(opened):
    page, _ = opened("/?v=1&by=path&last=all")
    with page.expect_download() as started:
        page.get_by_role("link", name="JSON").click()
    rows = json.loads(started.value.path().read_text())
    assert started.value.suggested_filename == "flowcost-path.json"
    assert rows[0]["path"] == "nat_gateway"


def test_paper_is_white_and_holds_the_charts(opened):
    page, trouble = opened("/?v=1&last=all", color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".ask").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert trouble == []
