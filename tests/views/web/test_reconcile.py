"""The page of reconciliations: the same figures as the record, and for the whole tenant only."""

import pytest

from flowcost.access.principal import Principal
from flowcost.bill.history import records
from flowcost.views.reconciliation import reconciliation
from tests.views.test_reconciliation import reconciled
from tests.views.web.serving import console, visitor
from tests.views.web.test_pages import get


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return reconciled(tmp_path_factory.mktemp("reconciled"))


@pytest.fixture(scope="module")
def record(ledger):
    return records(ledger)[0]


def as_of(record, **options):
    return Principal(tenant=record.tenant, subject="ann", **options)


def test_the_newest_bill_is_shown_as_it_is_on_record(ledger, record):
    client = visitor(console(ledger, as_of(record)))
    page = get(client, "/reconcile")
    said = reconciliation(record, [record])
    assert said.sentence in page.text
    steps = [row[0].split("  ")[0] for row in page.tables["waterfall-table"][1:]]
    assert [step.label in shown for step, shown in zip(said.steps, steps, strict=True)]
    amounts = [row[2] for row in page.tables["waterfall-table"][1:]]
    assert amounts == [step.amount.text for step in said.steps]
    assert get(client, f"/reconcile/{record.assembly}").text == page.text


def test_the_sentence_on_top_says_how_much_of_the_bill_has_an_owner(ledger, record):
    page = get(visitor(console(ledger, as_of(record))), "/?v=1&last=all")
    assert f"of the bill of {record.month:%B %Y} has an owner" in " ".join(page.text.split())


def test_a_bill_is_not_for_who_sees_a_part(ledger, record):
    client = visitor(console(ledger, as_of(record, owners=("storefront",))))
    assert "you see a part of it" in get(client, "/reconcile", 403).text
    assert "of the bill of" not in get(client, "/?v=1&last=all").text


def test_another_tenants_bill_is_not_there(ledger, record):
    client = visitor(console(ledger, Principal(tenant="other", subject="eve")))
    assert "No bill has been held" in get(client, "/reconcile").text
    get(client, f"/reconcile/{record.assembly}", 404)


def test_without_a_bill_the_page_says_how(shop):
    assert "flowcost reconcile BILL" in get(visitor(console(shop)), "/reconcile").text
