"""Budgets are read strictly: what could never, or always, be exceeded is refused and quoted."""

from decimal import Decimal

import msgspec
import pytest

from flowcost import money
from flowcost.access.principal import Principal
from flowcost.errors import UsageError
from flowcost.insights.budgets import Budget, ordered, short_form, visible


def test_the_short_form_reads_kinds_names_and_exact_dollars():
    found = short_form(" team:payments=0.15, service:checkout=120 ,,namespace:kube-system=3,")
    assert [(b.kind, b.name, b.monthly_usd) for b in found] == [
        ("namespace", "kube-system", Decimal(3)),
        ("service", "checkout", Decimal(120)),
        ("team", "payments", Decimal("0.15")),
    ]
    assert found[2].limit * 100 == 15 * money.ONE
    assert found[2].target == "team:payments"


def test_a_name_may_have_colons():
    (found,) = short_form("team:eu:payments=1")
    assert found.name == "eu:payments"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("payments=500", "not kind:name=usd"),
        ("team:payments", "not kind:name=usd"),
        ("team:payments=-5", "above 0"),
        ("team:payments=0", "above 0"),
        ("team:payments=NaN", "above 0"),
        ("team:payments=Infinity", "above 0"),
        ("team:payments=1e12", "above 0"),
        ("team:payments=five", "not a number"),
        ("team:payments=", "not a number"),
        ("team:payments=0.00000000001", "decimals"),
        ("team:=5", "no name"),
        ("planet:earth=5", "unknown kind"),
        ("path:inter_az=5", "unknown path"),
    ],
)
def test_a_bad_rule_is_quoted_with_its_fault(rule, why):
    with pytest.raises(UsageError) as caught:
        short_form(f"team:good=1,{rule}")
    assert why in caught.value.message
    assert rule.split("=")[0] in caught.value.message
    assert "good" not in caught.value.message


def test_all_bad_rules_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        short_form("a=1,b=2")
    assert "'a=1'" in caught.value.message
    assert "'b=2'" in caught.value.message


def test_one_target_twice_is_refused_and_twice_in_two_tenants_is_not():
    with pytest.raises(UsageError, match=r"'team:payments': given 2 times"):
        short_form("team:payments=1,team:payments=2")
    one = Budget(kind="team", name="payments", monthly_usd=Decimal(1))
    ordered([one, msgspec.structs.replace(one, tenant="other")])


@pytest.mark.parametrize(
    "wrong", [{"thresholds": ()}, {"thresholds": (50, 50)}, {"thresholds": (0,)},
              {"thresholds": (101,)}, {"attribute_by": "nobody"}, {"tenant": ""}]
)  # fmt: skip
def test_bad_settings_of_a_table_are_refused(wrong):
    table = {"kind": "team", "name": "payments", "monthly_usd": Decimal(1), **wrong}
    with pytest.raises(ValueError, match="'team:payments=1': "):
        Budget(**table)
    with pytest.raises(msgspec.ValidationError, match="'team:payments=1': "):
        msgspec.convert(table, Budget)


def test_a_table_is_read_without_a_float():
    table = {"kind": "team", "name": "payments", "monthly_usd": "0.1", "thresholds": [50, 100]}
    found = msgspec.convert(table, Budget)
    assert found.limit * 10 == money.ONE
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**table, "limit": 3}, Budget)


def test_who_is_scoped_sees_their_own_budgets_only():
    anybody = Principal(tenant="t1", subject="a")
    payments = Principal(tenant="t1", subject="b", owners=("payments",), namespaces=("shop",))
    assert all(visible(t, anybody) for t in ("team:x", "path:cross_az", "service:checkout"))
    seen = ["team:payments", "namespace:shop"]
    hidden = ["team:search", "namespace:search", "path:cross_az", "service:checkout", "team:shop"]
    assert [t for t in seen + hidden if visible(t, payments)] == seen
