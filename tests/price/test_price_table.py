"""The JSON price table: accepted as others write it, refused where it would mislead."""

import json
from datetime import date
from decimal import Decimal

import pytest

from flowcost import money
from flowcost.errors import RateError
from flowcost.model import Path
from flowcost.price import (
    list_book,
    load_price_table,
    price_literal,
    price_table_book,
    with_price_table,
)

GIB = 2**30
GOOD = {
    "per_gib": {"inter_az": 0.01, "inter_region": 0.02, "internet_egress": 0.08},
    "source": "contract 17",
    "as_of": "2026-06-01",
    "license": "internal",
}


def table_file(folder, **changes):
    path = folder / "prices.json"
    path.write_text(json.dumps({**GOOD, **changes}), encoding="utf-8")
    return path


def test_the_published_example_is_accepted_and_a_class_left_out_costs_nothing(tmp_path):
    table, warnings = load_price_table(table_file(tmp_path))
    assert warnings == ()
    assert table.per_gib[Path.INTERNET_EGRESS] == Decimal("0.08")
    assert (table.as_of, table.license, table.age(date(2026, 6, 11))) == (
        date(2026, 6, 1),
        "internal",
        10,
    )
    profile = with_price_table(table)
    amounts = [
        price_literal(profile, path, 100 * GIB, 0, "aws")
        for path in (Path.SAME_ZONE, Path.INTERNET_EGRESS, Path.NAT_GATEWAY)
    ]
    assert amounts == [0, money.from_decimal(Decimal(8)), None]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"per_gib": {}}, "per_gib: must be an object with at least one class"),
        ({"per_gib": None}, "per_gib: must be an object with at least one class"),
        (
            {"per_gib": {"inter-az": 0.01}},
            "per_gib.inter-az: unknown class; known: same_zone, inter_az, inter_region, internet",
        ),
        ({"per_gib": {"inter_az": -0.01}}, "per_gib.inter_az: price -0.01 is not a finite non-neg"),
        ({"per_gib": {"inter_az": float("nan")}}, "per_gib.inter_az: price NaN is not a finite"),
        (
            {"per_gib": {"inter_az": float("inf")}},
            "per_gib.inter_az: price Infinity is not a finite",
        ),
        (
            {"per_gib": {"inter_az": 1e-11}},
            "per_gib.inter_az: price 1E-11 has more than 10 decimals",
        ),
        (
            {"per_gib": {"inter_az": 10**9 + 1}},
            "per_gib.inter_az: price 1000000001 is over 1000000000",
        ),
        ({"per_gib": {"inter_az": "0.01"}}, "per_gib.inter_az: '0.01' is not a number"),
        ({"per_gib": {"inter_az": True}}, "per_gib.inter_az: True is not a number"),
        ({"source": " "}, "source: must say where the prices come from"),
        ({"as_of": "June 2026"}, "as_of: 'June 2026' is not a day like 2026-11-20"),
        ({"as_of": "2026-02-30"}, "as_of: '2026-02-30' is not a day of the calendar"),
        ({"as_of": None}, "as_of: 'None' is not a day"),
        ({"license": 7}, "license: must be a text"),
        ({"per_gb": {}}, "per_gb: unknown field; known: per_gib, source, as_of, license"),
    ],
)
def test_a_fault_is_named_by_file_and_field(tmp_path, changes, expected):
    path = table_file(tmp_path, **changes)
    with pytest.raises(RateError) as refused:
        load_price_table(path)
    assert f"{path}, {expected}" in refused.value.message


def test_all_faults_are_listed_at_once(tmp_path):
    path = table_file(tmp_path, as_of="", source="", per_gib={"x": 1, "y": 2})
    with pytest.raises(RateError) as refused:
        load_price_table(path)
    assert len(refused.value.message.splitlines()) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"as_of": 1, "as_of": 2}'])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "prices.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RateError, match=r"prices\.json"):
        load_price_table(path)
    with pytest.raises(RateError, match="cannot be read as JSON"):
        load_price_table(tmp_path / "missing.json")


def test_what_a_table_leaves_out_is_a_warning(tmp_path):
    _, warnings = load_price_table(table_file(tmp_path, per_gib={"same_zone": 0.01}))
    assert [(found.code, found.sample) for found in warnings] == [
        ("price-table-class-missing", "inter_az"),
        ("price-table-class-missing", "inter_region"),
        ("price-table-class-missing", "internet_egress"),
        ("price-table-same-zone", ""),
    ]


def test_a_table_lies_over_the_list_book_for_its_classes_only(tmp_path):
    table, _ = load_price_table(table_file(tmp_path))
    book = price_table_book(table, "contract", list_book())

    def price(usage_type, operation="", to_region=""):
        rates = book.lookup(
            provider="aws",
            usage_type=usage_type,
            operation=operation,
            region="us-east-1",
            to_region=to_region,
            on=date(2026, 11, 20),
        )
        return [str(rate.price) for rate in rates]

    assert price("DataTransfer-Out-Bytes", "RunInstances") == ["0.08"]
    assert price("DataTransfer-Regional-Bytes", "InterZone-In") == ["0.01"]
    assert price("USE1-USE2-AWS-Out-Bytes", to_region="us-east-2") == ["0.02"]
    assert price("NatGateway-Bytes", "NatGateway") == ["0.045"]
