"""docs/console.md says what the console does."""

import html
import re
from pathlib import Path
from urllib.parse import parse_qsl

from msgspec import structs
from tests.docs.test_costs_docs import blocks, table

from flowcost import clock
from flowcost.views.web import frame, pages
from flowcost.views.web.question import PARAMETERS, decode, encode

CONSOLE = (Path(__file__).parents[2] / "docs" / "console.md").read_text()
HELP = Path(frame.__file__).parents[1] / "templates" / "web" / "parts.html"


def test_every_page_is_documented_and_no_other():
    listed = table(CONSOLE, "page")
    assert {path: words for path, _, words in frame.PAGES}.items() <= listed.items()
    parts = {"/costs.{form}", "/complete", "/reconcile/{bill}"}  # of other pages
    assert set(listed) == {*pages.PAGES, *pages.PARTS, "/help"} - parts


def test_every_parameter_is_documented():
    assert table(CONSOLE, "parameter") == PARAMETERS


def test_an_address_has_these_parameters_in_this_order():
    every = decode(
        "by=path&filter=path=cross_az&from=2026-11-01&to=2026-11-02&attribute_by=source"
        "&legs=observed&measure=bytes&compare=off&sort=path&top=7"
    )
    names = [name for name, _ in parse_qsl(encode(every))]
    assert names == [name for name in PARAMETERS if name != "last"]
    relative = structs.replace(every, start=None, end=None, last="24h")
    assert [n for n, _ in parse_qsl(encode(relative))][:4] == ["v", "by", "filter", "last"]


def test_the_example_address_is_canonical():
    example = next(text for text in blocks(CONSOLE) if text.startswith("/?")).strip()
    assert "/?" + encode(decode(example[2:])) == example


def test_the_keys_are_those_of_the_help_page():
    help_rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', HELP.read_text())
    shown = {_plain(key): _plain(words) for key, words in help_rows}
    listed = dict(re.findall(r"^\| (`.+?`) \| (.+?) \|$", _section("Keys"), re.MULTILINE))
    assert listed == shown


def test_the_policy_is_the_one_that_is_sent():
    assert f"Content-Security-Policy: {frame.POLICY}" in CONSOLE


def test_data_is_called_old_when_the_page_says_so():
    assert f"{frame.STALE // clock.HOUR} hours old" in CONSOLE.replace("six", "6")


def _plain(text):
    return html.unescape(re.sub(r"<kbd>(.*?)</kbd>", r"`\1`", text))


def _section(title):
    return CONSOLE.partition(f"## {title}\n")[2].partition("\n## ")[0]
