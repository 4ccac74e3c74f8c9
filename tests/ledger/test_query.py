"""Queries: exact sums, whole at every grouping."""

import itertools
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec import structs
from tests.conftest import NEXT_DAY, shop_charges

from flowcost import money
from flowcost.errors import UsageError
from flowcost.ledger import Ledger, keys
from flowcost.ledger.explain import explain
from flowcost.ledger.filter import In
from flowcost.ledger.query import OTHER, Selection, conversations, costs, trend
from flowcost.ledger.state import state
from flowcost.ledger.totals import totals
from flowcost.money import GIB


def dollars(amount):
    return money.from_decimal(Decimal(amount))


def rows(table):
    return {row[:-3]: row[-3:] for row in table.rows}


TRICKLE = 7 * money.price_numerator(Decimal("0.01"), GIB)
TOTAL = dollars("0.31") + TRICKLE


def test_costs_by_path_are_flow_bytes_list_cost_and_what_has_no_rate(shop):
    assert rows(costs(shop)) == {
        ("nat_gateway",): (2 * GIB, dollars("0.27"), 0),
        ("cross_az",): (3 * GIB + 7, dollars("0.04") + TRICKLE, 0),
        ("same_zone",): (100 * GIB, 0, 0),
        ("unknown",): (3 * GIB, 0, 3 * GIB),
    }


def test_rows_are_ordered_by_cost_then_bytes(shop):
    assert [row[0] for row in costs(shop).rows] == [
        "nat_gateway",
        "cross_az",
        "same_zone",
        "unknown",
    ]


def test_one_observation_counts_its_bytes_once_and_each_meter_its_own_quantity(shop):
    nat = Selection(where="path=nat_gateway")
    assert rows(costs(shop, nat)) == {("nat_gateway",): (2 * GIB, dollars("0.27"), 0)}
    assert rows(costs(shop, nat, by=["usage_type"])) == {
        ("DataTransfer-Out-Bytes",): (2 * GIB, dollars("0.18"), 0),
        ("NatGateway-Bytes",): (2 * GIB, dollars("0.09"), 0),
    }
    filtered = Selection(where="usage_type=DataTransfer-Out-Bytes")
    assert rows(costs(shop, filtered)) == {("nat_gateway",): (2 * GIB, dollars("0.18"), 0)}


def test_implied_legs_are_on_the_account_bill_and_not_in_what_was_observed(shop):
    crossing = "path=cross_az and day=2026-11-02"
    assert Selection().basis == "account_bill"
    assert rows(costs(shop, Selection(where=crossing))) == {
        ("cross_az",): (3 * GIB, dollars("0.04"), 0)
    }
    observed = Selection(where=crossing, legs="observed")
    assert observed.basis == "per_leg"
    assert rows(costs(shop, observed)) == {("cross_az",): (3 * GIB, dollars("0.03"), 0)}


@pytest.mark.parametrize("attribute_by", keys.ATTRIBUTE_BY)
def test_every_grouping_adds_up_to_the_same_whole(shop, attribute_by):
    selection = Selection(attribute_by=attribute_by)
    whole = totals(shop, selection)
    assert (whole.bytes, whole.list_cost) == (108 * GIB + 7, TOTAL)
    for name, key in keys.keys(attribute_by).items():
        side, _, attribute = name.rpartition(".")
        if side in ("remote", "source", "destination", "other") and attribute != "owner":
            continue  # the same expressions as at the local end
        if attribute_by != "local" and name not in ("owner", "name", "kind", "other.owner"):
            continue
        table = costs(shop, selection, by=[name])
        summed = [sum(row[index] for row in table.rows) for index in (1, 2, 3)]
        assert summed[1:] == [TOTAL, 3 * GIB], name
        if not key.counts_quantities:
            assert summed[0] == whole.bytes, name


def test_what_a_limit_leaves_out_is_one_row(shop):
    table = costs(shop, limit=1)
    assert table.rows[0][0] == "nat_gateway"
    assert table.rows[1] == (OTHER, 106 * GIB + 7, dollars("0.04") + TRICKLE, 3 * GIB)
    assert OTHER not in {row[0] for row in costs(shop, limit=4).rows}


def paying(shop, attribute_by):
    selection = Selection(where="path=cross_az and day=2026-11-02", attribute_by=attribute_by)
    return {key: cost for key, (_, cost, _) in rows(costs(shop, selection, by=["owner"])).items()}


def test_attribution_moves_money_between_ends_and_never_makes_or_loses_any(shop):
    assert paying(shop, "local") == {
        ("storefront",): dollars("0.02"),
        ("payments",): dollars("0.01"),
        ("222222222222",): dollars("0.01"),
    }
    assert paying(shop, "initiator") == {("storefront",): dollars("0.04")}
    assert paying(shop, "source") == {("storefront",): dollars("0.04")}
    assert paying(shop, "dialed_service") == {
        ("payments",): dollars("0.02"),
        ("222222222222",): dollars("0.02"),
    }


def test_the_dialed_service_names_the_serving_end(shop):
    selection = Selection(where="dialed_service=shop/checkout", attribute_by="dialed_service")
    assert rows(costs(shop, selection, by=["name", "service.name", "k8s.namespace.name"])) == {
        ("shop/checkout", "checkout", "shop"): (GIB, dollars("0.01"), 0)
    }


def test_private_side_is_the_end_inside(shop):
    selection = Selection(where="path=nat_gateway", attribute_by="private_side")
    assert rows(costs(shop, selection, by=["name", "other.name"])) == {
        ("shop/cart", "internet"): (2 * GIB, dollars("0.27"), 0)
    }


def test_who_opened_an_unknown_connection_is_unattributed_and_visible(shop):
    table = costs(shop, Selection(where="path=unknown", attribute_by="initiator"), by=["owner"])
    assert table.rows == (("(unattributed)", 3 * GIB, 0, 3 * GIB),)


def test_an_end_without_identity_is_its_address(shop):
    unknown = Selection(where="path=unknown")
    table = costs(shop, unknown, by=["local.name", "remote.name"])
    assert table.rows[0][:2] == ("10.9.9.9", "2001:0db8:0000:0000:0000:0000:0000:0007")
    found = Selection(where="local.address = 10.9.0.0/16 and remote.address = 2001:db8::/32")
    assert totals(shop, found).bytes == 3 * GIB
    assert totals(shop, Selection(where="local.address != 10.9.9.9")).bytes == 105 * GIB + 7


def test_a_workload_of_a_kind_is_grouped_under_its_kind(shop):
    table = costs(shop, by=["k8s.deployment.name", "local.k8s_statefulset_name"])
    assert [column.name for column in table.columns[:2]] == [
        "k8s.deployment.name",
        "local.k8s.statefulset.name",
    ]
    assert {row[:2] for row in table.rows} == {
        ("cart", "(unattributed)"),
        ("(unattributed)", "checkout"),
        ("(unattributed)", "(unattributed)"),
    }


def test_a_conversation_has_both_directions_and_all_its_legs(shop):
    table = conversations(shop, limit=2)
    assert [row[:2] for row in table.rows] == [
        ("internet <-> shop/cart", "nat_gateway"),
        ("shop/cart <-> shop/checkout", "cross_az"),
        (OTHER, OTHER),
    ]
    assert table.rows[1][2:] == (2 * GIB + 7, dollars("0.02") + TRICKLE, 0)


def test_an_interval_is_half_open_in_hours(shop):
    start = datetime.fromisoformat("2026-11-02T10:00:00+00:00")
    assert totals(shop, Selection(start=start, end=start + timedelta(hours=14))).days == 1
    assert totals(shop, Selection(start=start + timedelta(hours=1))).bytes == 7
    assert totals(shop, Selection(end=start)).bytes == 0


def test_totals_say_how_far_they_can_be_trusted(shop):
    whole = totals(shop)
    assert whole.attributed_bytes == 105 * GIB + 7
    assert whole.attributed_cost == TOTAL
    assert whole.unknown_bytes == whole.unpriced_bytes == 3 * GIB
    assert whole.data_since.isoformat() == "2026-11-02T10:00:00+00:00"
    assert whole.data_until.isoformat() == "2026-11-03T01:00:00+00:00"
    assert whole.rates_checked == (date(2026, 11, 1), date(2026, 11, 1))


def test_an_empty_ledger_is_zero_not_an_error(make_ledger):
    empty = make_ledger([])
    assert costs(empty).rows == ()
    whole = totals(empty)
    assert (whole.bytes, whole.data_since, whole.rates_checked) == (0, None, None)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("hour", [datetime(2026, 11, 2, 10), datetime(2026, 11, 3, 0)]),  # noqa: DTZ001
        ("day", [date(2026, 11, 2), date(2026, 11, 3)]),
        ("month", ["2026-11"]),
    ],
)
def test_a_trend_ascends_in_time(shop, step, expected):
    table = trend(shop, step=step)
    assert [row[0] for row in table.rows] == expected
    assert sum(row[2] for row in table.rows) == TOTAL


def test_a_rate_and_a_rule_are_group_keys(shop):
    table = costs(shop, Selection(where="path=nat_gateway"), by=["rule", "rate"])
    assert table.rows[0][:2] == (
        "test-nat_gateway",
        "0.09 USD/GiB (aws-list us-east-1 2024-02-01)",
    )


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        ({"by": ["pth"]}, "unknown group key 'pth'", "did you mean path?"),
        ({"by": ["path", "path"]}, "given twice", ""),
        ({"by": ["path"], "sort": "owner"}, "cannot sort by 'owner'", "path, bytes"),
    ],
)
def test_a_wrong_key_names_the_way_out(shop, call, message, hint):
    with pytest.raises(UsageError) as caught:
        costs(shop, **call)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("field", ["attribute_by", "legs"])
def test_an_unknown_choice_is_refused(shop, field):
    with pytest.raises(UsageError, match="one of"):
        costs(shop, Selection(**{field: "nobody"}))


def test_every_pair_of_keys_can_stand_together(shop):
    names = ["path", "hour", "owner", "other.owner", "conversation", "rate", "remote.address"]
    for pair in itertools.permutations(names, 2):
        assert sum(row[3] for row in costs(shop, by=pair).rows) == TOTAL


def test_what_is_within_bounds_every_question(shop):
    within = In("local.k8s.workload.name", ("checkout",))
    bounded = Selection(tenant="t1", within=within)
    assert totals(shop, bounded).bytes == GIB
    assert totals(shop, structs.replace(bounded, where="path = unknown")).days == 0
    # What is asked cannot widen what may be seen, however it is written.
    for where in ("path = cross_az or path = unknown", "not path = cross_az or path = cross_az"):
        assert totals(shop, structs.replace(bounded, where=where)).bytes == GIB
    assert {e.local["k8s.workload.name"] for e in explain(shop, bounded, top=100)} == {"checkout"}


def test_a_lost_tenant_opens_nothing(shop):
    with pytest.raises(ValueError, match="no tenant"):
        Selection(tenant="")
    shared = Ledger(shop.root, shared=True)
    with pytest.raises(ValueError, match="one tenant"):
        totals(shared, Selection())
    assert totals(shared, Selection(tenant="t2")).days == 0
    assert totals(shared, Selection(tenant="t1")).days == 2


def test_the_state_of_a_ledger_changes_with_its_hours_only(shop, make_ledger):
    ledger = make_ledger(shop_charges())
    before = state(ledger, tenant="t1")
    assert state(ledger, tenant="t1") == before
    assert state(ledger, tenant="t2") != before
    early = state(ledger, end=NEXT_DAY, tenant="t1")
    partition = ledger.manifests()[-1].partition
    ledger.drop(partition)
    assert state(ledger, tenant="t1") != before
    assert state(ledger, end=NEXT_DAY, tenant="t1") == early


def test_pages_hold_every_row_once(shop):
    whole = costs(shop, by=("path", "operation"))
    pages = [costs(shop, by=("path", "operation"), limit=2, offset=n) for n in range(0, 10, 2)]
    assert [row for page in pages for row in page.rows] == list(whole.rows)
