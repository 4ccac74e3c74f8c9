"""Kept answers: as true as asking again, and nobody else's."""

import re

from flowcost.access.principal import Principal
from flowcost.money import GIB
from flowcost.views.answers import Answers
from tests.conftest import CART, NEXT_DAY, charge, shop_charges, write
from tests.views.web.serving import console, visitor
from tests.views.web.test_pages import get

TOTAL = re.compile(r"<strong title=\"[\d.]+ USD\">(\S+)</strong>")


def test_the_least_used_answer_goes_first():
    answers, asked = Answers(most=2), []
    for question in ("a", "b", "a", "c", "a", "b"):
        answers.of(question, lambda question=question: asked.append(question))
    assert asked == ["a", "b", "c", "b"]


def test_an_hour_that_is_rewritten_is_asked_anew(tmp_path):
    ledger = write(tmp_path, shop_charges())
    client = visitor(console(ledger))
    first = TOTAL.search(client.get("/?v=1&last=all").text)[1]
    late = {"bytes": 100 * GIB, "quantity": 100 * GIB, "hour": NEXT_DAY}
    write(tmp_path, [charge("cross_az", "DataTransfer-Regional-Bytes", local=CART, **late)])
    assert TOTAL.search(client.get("/?v=1&last=all").text)[1] == "$1.31" != first


def test_the_same_question_is_answered_the_same(shop):
    client = visitor(console(shop))
    pages = [client.get("/?v=1&last=all&by=path").text for _ in range(2)]
    assert pages[0] == pages[1]


def test_an_answer_is_not_for_another_scope_or_tenant(shop):
    """One application, three askers one after the other: what is kept is kept apart."""
    whole = Principal(tenant="t1", subject="all")
    scoped = Principal(tenant="t1", subject="pay", owners=("payments",))
    other = Principal(tenant="t2", subject="eve")
    app, access = console(shop, whole, with_access=True)
    client = visitor(app)
    assert "nat_gateway" in get(client, "/?v=1&last=all").text
    access.who = scoped
    assert "nat_gateway" not in get(client, "/?v=1&last=all").text
    access.who = other
    assert "No data yet" in get(client, "/?v=1&last=all").text
    access.who = whole
    assert "nat_gateway" in get(client, "/?v=1&last=all").text
