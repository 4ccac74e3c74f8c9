"""`/v1/cost/summary` against its worked example and the edge cases of its origin."""

import json
import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from starlette.testclient import TestClient

from flowcost import clock, serving
from flowcost.cli import main
from flowcost.config import Cost, load
from flowcost.errors import FlowcostError
from flowcost.insights import cost_summary
from flowcost.insights.cost_summary import Amount, Prices, Settings, capped, class_of
from flowcost.ledger import Ledger
from flowcost.ledger.rollup import roll_up
from flowcost.ledger.transmissions import Sent
from flowcost.model import EndKind, Identity
from flowcost.money import GIB
from flowcost.resolve.rules import parse_owners, parse_zones
from flowcost.resolve.timeline import build
from flowcost.server.knowledge import Knowledge
from tests.api.behind import NOW
from tests.api.conftest import app_of, asker
from tests.conftest import CART, CHECKOUT, HOUR, REPLICA, charge

PRICES = Prices(
    per_gib={
        "same_zone": Decimal(0),
        "inter_az": Decimal("0.01"),
        "inter_region": Decimal("0.02"),
        "internet_egress": Decimal("0.09"),
    },
    source="test table",
    as_of=date(2026, 6, 1),
    license="internal",
)
DECLARED = """
[[network]]
cidr = "10.0.1.0/24"
cloud.availability_zone = "us-east-1a"
service.name = "checkout"
owner.team = "payments"
[[network]]
cidr = "10.0.2.0/24"
cloud.availability_zone = "us-east-1b"
service.name = "inventory"
owner.team = "warehouse"
[[network]]
cidr = "10.9.0.0/16"
cloud.availability_zone = "eu-west-1a"
"""
FLOWS = (
    ("eni-a", "10.0.1.5", "10.0.2.9", 10 * GIB),
    ("eni-b", "10.0.1.5", "10.0.2.9", 10 * GIB),  # seen by both ends, sent once
    ("eni-a", "10.0.1.5", "10.9.0.7", 5 * GIB),
    ("eni-a", "10.0.1.5", "203.0.113.50", 2 * GIB),
    ("eni-b", "10.0.2.9", "10.0.2.10", 100 * GIB),
)
AT = 1793613600  # 2026-11-02T10:00:00Z


def run(folder, declared=DECLARED, flows=FLOWS, tenant="t1"):
    """Take flow logs into a ledger by the real pipeline."""
    names = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets"
    lines = [f"{names} bytes start end action log-status"]
    lines += [
        f"2 111111111111 {eni} {src} {dst} 40000 443 6 10 {size} {AT} {AT + 60} ACCEPT OK"
        for eni, src, dst, size in flows
    ]
    logs = folder / f"logs-{tenant}"
    logs.mkdir()
    Path(logs, "a.log").write_text("\n".join(lines) + "\n")
    Path(folder, "declared.toml").write_text(declared)
    words = ["run", "--flow-logs", str(logs), "--inventory", str(folder / "declared.toml"),
             "--ledger", str(folder / "ledger"), "--tenant", tenant]  # fmt: skip
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return Ledger(folder / "ledger")


@pytest.fixture
def ask(door, budgets):
    def summary(ledger, who="viewer", cost=Settings(prices=PRICES)):  # noqa: B008 - it is frozen
        app = app_of(ledger, door.gate, cost=cost, budgets=budgets)
        answer = asker(TestClient(app), door)("/v1/cost/summary", who)
        assert answer.status_code == 200, answer.text
        found = json.loads(answer.text, parse_float=Decimal)
        assert found["cost_running"] is True
        return found["summary"]

    return summary


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    run(folder, flows=(("eni-z", "10.0.1.5", "10.0.2.9", 99 * GIB),), tenant="t9")
    return run(folder)


def test_the_worked_example_to_the_cent(ask, example):
    found = ask(example)
    assert found["by_class"] == {
        "inter_az": {"bytes": 10 * GIB, "usd": Decimal("0.1")},
        "inter_region": {"bytes": 5 * GIB, "usd": Decimal("0.1")},
        "internet_egress": {"bytes": 2 * GIB, "usd": Decimal("0.18")},
        "same_zone": {"bytes": 100 * GIB, "usd": 0},
    }
    assert found["by_service"] == {
        "checkout": {"bytes": 17 * GIB, "usd": Decimal("0.38")},
        "inventory": {"bytes": 100 * GIB, "usd": 0},
    }
    assert found["by_team"]["payments"] == {"bytes": 17 * GIB, "usd": Decimal("0.38")}
    assert (found["total_bytes"], found["total_usd"]) == (117 * GIB, Decimal("0.38"))
    assert found["chatty_pairs"][0] == {
        "service": "checkout",
        "src_zone": "us-east-1a",
        "dst_zone": "us-east-1b",
        "class": "inter_az",
        "bytes": 10 * GIB,
        "usd": Decimal("0.1"),
        "chatty": True,
    }
    assert [pair["class"] for pair in found["chatty_pairs"]] == ["inter_az", "inter_region"]
    hour = {"hour": "2026-11-02T10:00:00Z", "bytes": 117 * GIB, "usd": Decimal("0.38")}
    assert found["trend"] == [hour]
    assert found["data_since"] == "2026-11-02T10:00:00Z"
    assert (found["priced"], found["zones_mapped"], found["basis"]) == (True, True, "per_leg")
    assert (found["pricing_source"], found["pricing_as_of"]) == ("test table", "2026-06-01")
    assert (found["pricing_license"], found["pricing_age_days"]) == ("internal", 155)


def test_another_tenant_has_nothing_since_never(ask, example):
    found = ask(example, "stranger")
    assert (found["by_class"], found["by_service"], found["by_team"]) == ({}, {}, {})
    assert (found["chatty_pairs"], found["trend"], found["budgets"]) == ([], [], [])
    assert (found["total_bytes"], found["total_usd"], found["data_since"]) == (0, 0, None)


def test_a_scope_bounds_every_part(ask, shop):
    found = ask(shop, "payments")
    assert found["total_bytes"] == GIB + 7
    assert {each["name"] for each in found["budgets"]} == {"payments"}
    nothing = ask(shop, "nowhere")
    assert (nothing["total_bytes"], nothing["trend"], nothing["data_since"]) == (0, [], None)


def test_without_prices_it_is_volume_only(ask, example):
    found = ask(example, cost=Settings(prices=None))
    assert (found["priced"], found["total_usd"], found["total_bytes"]) == (False, 0, 117 * GIB)
    assert all(each["usd"] == 0 for each in found["by_class"].values())
    assert not {"pricing_source", "pricing_as_of", "pricing_license"} & found.keys()


def test_without_prices_no_budget_is_exceeded(ask, shop):
    exceeded = {each["name"] for each in ask(shop)["budgets"] if each["exceeded"]}
    assert exceeded
    for each in ask(shop, cost=Settings(prices=None))["budgets"]:
        assert (each["spent_usd"], each["exceeded"]) == (0, False)
        assert each["monthly_usd"] > 0


def test_without_zones_everything_is_unknown_and_unpriced(ask, tmp_path):
    declared = '[[network]]\ncidr = "10.0.1.0/24"\nservice.name = "checkout"\n'
    flows = (("eni-a", "10.0.1.5", "10.0.2.9", 1 << 20), ("eni-a", "10.0.1.5", "8.8.8.8", 5))
    found = ask(run(tmp_path, declared, flows))
    assert found["by_class"] == {"unknown": {"bytes": (1 << 20) + 5, "usd": 0}}
    assert found["zones_mapped"] is False
    assert found["priced"] is True


def test_it_can_be_off(shop, door):
    app = app_of(shop, door.gate, cost=None)
    answer = asker(TestClient(app), door)("/v1/cost/summary")
    assert (answer.status_code, answer.json()) == (200, {"cost_running": False})


def sent(size, local=CART, remote=CHECKOUT, **fields):
    fields = {"path": "cross_az", "usage_type": "DataTransfer-Regional-Bytes"} | fields
    return charge(**fields, local=local, remote=remote, bytes=size, quantity=size)


MIB = 1 << 20


def test_a_pair_is_chatty_from_a_gibibyte_on(ask, make_ledger):
    ledger = make_ledger([
        sent(600 * MIB),
        sent(600 * MIB, hour=NOW - timedelta(hours=30)),
        sent(MIB, CHECKOUT, CART),
        sent(5 * GIB, CART, replace(CART, k8s_workload_name="x"), path="same_zone"),
    ])  # fmt: skip
    pairs = ask(ledger)["chatty_pairs"]
    assert [(p["src_zone"], p["dst_zone"], p["bytes"], p["chatty"]) for p in pairs] == [
        ("use1-az1", "use1-az2", 1200 * MIB, True),
        ("use1-az2", "use1-az1", MIB, False),
    ]
    exactly = ask(make_ledger([sent(GIB)], "exactly"))["chatty_pairs"]
    below = ask(make_ledger([sent(GIB - 1)], "below"))["chatty_pairs"]
    assert [exactly[0]["chatty"], below[0]["chatty"]] == [True, False]


def test_trend_and_pairs_go_by_age(ask, make_ledger):
    old, edge = NOW - timedelta(hours=168), NOW - timedelta(hours=167)
    ledger = make_ledger([sent(3, hour=old), sent(5, hour=edge), sent(7, hour=NOW)])
    found = ask(ledger)
    assert [each["bytes"] for each in found["trend"]] == [5, 7]
    assert found["chatty_pairs"][0]["bytes"] == 12
    assert found["total_bytes"] == 15
    lifetime = ask(ledger, cost=Settings(prices=PRICES, lifetime=True))
    assert (lifetime["chatty_pairs"][0]["bytes"], lifetime["chatty_window"]) == (15, "lifetime")


def test_what_two_sensors_saw_was_sent_once(ask, make_ledger):
    seen = [sent(10), sent(10, CHECKOUT, CART, direction="receive", leg="receive")]
    one_sided = [
        # An end without a sensor: its leg is implied, its bytes are on the other end's charge.
        sent(4, REPLICA, CART, direction="receive", leg="receive"),
        sent(0, CART, REPLICA, provenance="implied"),
    ]
    found = ask(make_ledger([*seen, *one_sided]))
    assert found["by_class"]["inter_az"]["bytes"] == 14


def test_a_rolled_up_day_is_what_its_hours_were(ask, make_ledger):
    """One end's sensor saw the first hour, the other's the second."""
    ledger = make_ledger([
        sent(10),
        sent(10, CHECKOUT, CART, direction="receive", leg="receive", hour=HOUR + clock.HOUR),
    ])  # fmt: skip
    before = ask(ledger)
    assert before["total_bytes"] == 20
    assert roll_up(ledger, closed_before=NOW + timedelta(days=2))
    assert ask(ledger) == before


def test_what_comes_from_the_internet_is_the_receiver_s_and_free(ask, make_ledger):
    internet = Identity(kind=EndKind.INTERNET)
    ledger = make_ledger([
        sent(9, CHECKOUT, internet, path="internet_ingress", usage_type="", direction="receive"),
        sent(4, CHECKOUT, internet, path="internet_egress"),
    ])  # fmt: skip
    found = ask(ledger)
    assert found["by_class"]["internet_ingress"] == {"bytes": 9, "usd": 0}
    assert found["by_team"] == {"payments": {"bytes": 13, "usd": found["total_usd"]}}


def test_paths_without_a_class_are_unknown_and_never_the_nearest(ask, make_ledger):
    paths = ("nat_gateway", "vpc_peering", "transit_gateway", "vpc_endpoint",
             "cloud_service_public", "external_private", "cloud_infra")  # fmt: skip
    found = ask(make_ledger([sent(1, path=path) for path in paths]))
    assert found["by_class"] == {"unknown": {"bytes": 7, "usd": 0}}


A, B = {"src_zone": "a", "src_region": "r"}, {"dst_zone": "b", "dst_region": "r"}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({**A, "dst_zone": "a", "dst_region": "other"}, "same_zone"),
        ({**A, **B}, "inter_az"),
        ({**A, **B, "dst_region": "s"}, "inter_region"),
        ({**A, **B, "dst_region": ""}, "unknown"),
        ({**A, "dst_internet": True}, "internet_egress"),
        (A, "unknown"),
        (B, "unknown"),
        ({"dst_internet": True}, "unknown"),
        ({**A, **B, "path": "nat_gateway"}, "unknown"),
        ({"path": "cross_region"}, "inter_region"),
    ],
    ids=str,
)
def test_the_order_of_classes(fields, kind):
    assert class_of(Sent(**{"path": "unknown", "bytes": 1} | fields)) == kind


def test_more_keys_than_are_named_are_one_row_and_nothing_is_lost(ask, make_ledger, monkeypatch):
    monkeypatch.setattr(cost_summary, "MOST_KEYS", 4)
    services = [replace(CHECKOUT, service_name=f"s{n}", owner_team=f"t{n}") for n in range(9)]
    found = ask(make_ledger([sent(n + 1, one, CART) for n, one in enumerate(services)]))
    for rows in (found["by_service"], found["by_team"]):
        assert len(rows) == 5
        assert sum(each["bytes"] for each in rows.values()) == 45 == found["total_bytes"]
        assert rows["(other)"]["bytes"] == 1 + 2 + 3 + 4 + 5
    other = found["chatty_pairs"][0]
    assert (other["service"], other["src_zone"], other["class"]) == ("(other)", "*", "mixed")
    assert len(found["chatty_pairs"]) == 5


def test_the_cap_is_1024_and_one():
    rows = capped({f"k{n}": Amount(1, 1) for n in range(5000)})
    assert len(rows) == 1025
    assert sum((each for each in rows.values()), Amount()) == Amount(5000, 5000)


def test_a_million_small_flows_cost_what_one_large_one_does():
    small = sum(PRICES.numerator("inter_az", 1024) for _ in range(1_000_000))
    assert small == PRICES.numerator("inter_az", 1024 * 1_000_000)


class TestConfiguration:
    """What the operator chooses, by file and by environment."""

    def test_the_packaged_prices_are_the_default(self):
        found = serving._cost(Cost())
        assert found.prices.per_gib == PRICES.per_gib
        assert (found.prices.as_of, bool(found.prices.source)) == (date(2026, 6, 1), True)
        assert serving._cost(Cost(priced=False)).prices is None
        assert serving._cost(Cost(enabled=False)) is None
        assert serving._cost(Cost(chatty_window="lifetime")).lifetime

    def test_an_override_without_a_class_prices_it_at_nothing(self, tmp_path):
        table = {"inter_az": 0.01, "inter_region": 0.02, "internet_egress": 0.08}
        document = {
            "per_gib": table,
            "source": "ours",
            "as_of": "2026-06-01",
            "license": "internal",
        }
        path = tmp_path / "prices.json"
        path.write_text(json.dumps(document))
        found = serving._cost(Cost(prices_file=path))
        assert found.prices.numerator("same_zone", GIB) == 0
        assert found.prices.per_gib["internet_egress"] == Decimal("0.08")

    @pytest.mark.parametrize(
        ("name", "text", "quoted"),
        [
            ("INVENTORY__ZONES", "not-a-rule", "not-a-rule"),
            ("INVENTORY__ZONES", "10.0.0.0/8", "10.0.0.0/8"),
            ("INVENTORY__ZONES", "10.0.0.0/8=", "10.0.0.0/8="),
            ("INVENTORY__ZONES", "10.0.0.1/8=a", "10.0.0.1/8=a"),
            ("INVENTORY__SERVICES", "10.0.0.0/8=:team", "10.0.0.0/8=:team"),
            ("SIGNALS__BUDGETS", "payments=500", "payments=500"),
            ("SIGNALS__BUDGETS", "team:payments=-5", "team:payments=-5"),
            ("COST__PRICES_FILE", "/no/such/file.json", "/no/such/file.json"),
            ("COST__CHATTY_WINDOW", "8d", "8d"),
        ],
    )
    def test_what_is_malformed_fails_the_start_and_is_quoted(self, tmp_path, name, text, quoted):
        environment = {f"FLOWCOST__{name}": text, "FLOWCOST__LEDGER__PATH": str(tmp_path / "l")}
        with (
            pytest.raises(FlowcostError, match=re.escape(quoted)),
            serving.parts(load(None, environment)),
        ):
            pass

    def test_rules_of_the_environment_reach_attribution(self, tmp_path):
        environment = {
            "FLOWCOST__INVENTORY__ZONES": "10.0.0.0/16=us-east-1a, 10.0.1.0/24=us-east-1b",
            "FLOWCOST__INVENTORY__SERVICES": "10.0.0.0/8=shop:retail",
        }
        config = load(None, environment)
        rules = (parse_zones(config.inventory.zones), parse_owners(config.inventory.services))
        known = Knowledge(tmp_path, rules=rules).inventory("t1")
        found = {
            (one.cloud_availability_zone, one.cloud_region, one.service_name, one.owner_team)
            for one in build(known.layers).identities.values()
            if one.service_name
        }
        assert found == {
            ("us-east-1a", "us-east-1", "shop", "retail"),
            ("us-east-1b", "us-east-1", "shop", "retail"),
            ("", "", "shop", "retail"),
        }
