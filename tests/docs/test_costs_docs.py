"""docs/costs.md and docs/filter.md say what the code does."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowcost.cli import main
from flowcost.errors import FilterError
from flowcost.ledger.ends import ADDRESSES, ATTRIBUTE_BY_DOCS, LOCAL, SIDES
from flowcost.ledger.filter import OPERATORS, parse
from flowcost.ledger.keys import METER_KEYS, keys

DOCS = Path(__file__).parents[2] / "docs"
COSTS = (DOCS / "costs.md").read_text()
FILTER = (DOCS / "filter.md").read_text()


def table(text, head):
    """Return the rows of the table whose first column is `head`: first cell -> second."""
    body = re.search(rf"\| {head} \|.*\n\| --- .*\n((?:\|.*\n)+)", text)[1]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", body, re.MULTILINE))


def blocks(text):
    return re.findall(r"```\n(.*?)```", text, re.DOTALL)


def test_every_key_of_a_charge_is_documented_and_no_other():
    plain = {key.name: key.doc for key in keys().values() if key.name not in LOCAL}
    assert table(COSTS, "key") == {name: doc for name, doc in plain.items() if "." not in name}
    for name in (f"{side}.address" for side in ADDRESSES):
        assert f"`{name}`" in COSTS


def test_every_attribute_and_prefix_of_an_end_is_documented():
    assert table(COSTS, "attribute") == {name: doc for name, (_, doc) in LOCAL.items()}
    for side in filter(None, SIDES):
        assert f"`{side}.`" in COSTS


def test_every_attribution_is_documented():
    assert table(COSTS, "value") == ATTRIBUTE_BY_DOCS


def test_the_keys_that_count_meters_are_named():
    (sentence,) = re.findall(r"The keys ([^.]*?) tell meters apart", COSTS, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == METER_KEYS


def test_every_operator_is_documented():
    listed = re.search(r"\| operator .*\n\| --- .*\n((?:\|.*\n)+)", FILTER)[1]
    shown = set(re.findall(r"`([^`]+)`", listed))
    assert set(OPERATORS) <= shown
    assert {"in (a, b)", "not in (a, b)"} <= shown


def test_the_example_filters_are_filters_and_the_wrong_one_is_wrong():
    examples, wrong = blocks(FILTER)
    for line in examples.splitlines():
        assert parse(line) is not None
    with pytest.raises(FilterError) as caught:
        parse(wrong.splitlines()[1].strip())
    assert f"flowcost: {caught.value}\n" == wrong


COMMANDS = [line for block in blocks(COSTS) for line in block.splitlines()]


@pytest.mark.parametrize("line", [c for c in COMMANDS if "--inventory" not in c])
def test_every_command_shown_runs(line, shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWCOST__LEDGER__PATH", str(shop.root))
    result = CliRunner().invoke(main, shlex.split(line)[1:])
    assert result.exit_code == 0, result.exception
