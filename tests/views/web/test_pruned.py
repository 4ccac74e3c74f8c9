"""A ledger that has lost its oldest hours: the same sums, drawn as what is left."""

from datetime import UTC, datetime

import pytest

from flowcost.ledger.retention import prune
from tests.conftest import shop_charges, write
from tests.views.web.serving import console, visitor
from tests.views.web.test_pages import get

TODAY = datetime(2026, 11, 3, tzinfo=UTC)


@pytest.fixture
def pruned(tmp_path):
    ledger = write(tmp_path, shop_charges())
    prune(ledger, hours_before=TODAY)
    return visitor(console(ledger))


def test_the_total_is_as_before_and_time_goes_by_days(pruned, shop):
    page = get(pruned, "/?v=1&last=all")
    assert "$0.31" in page.text
    assert page.tables["trend-table"][0][0] == "day (UTC)"
    assert [row[0] for row in page.tables["trend-table"][1:]] == ["2 Nov", "3 Nov"]
    whole = get(visitor(console(shop)), "/?v=1&last=all")
    assert page.tables["rows-table"] == whole.tables["rows-table"]
    assert page.tables["flows-table"] == whole.tables["flows-table"]


def test_what_needs_hours_says_that_they_are_gone(pruned):
    page = get(pruned, "/charges?v=1&last=all")
    assert "Hours before 2026-11-03T00:00:00Z live on as days only" in page.text
    assert 'id="copy-sql"' not in pruned.get("/?v=1&last=all").text


def test_lost_hours_are_no_gaps(pruned):
    assert "Hours without any data" not in get(pruned, "/coverage?v=1&last=all").text
