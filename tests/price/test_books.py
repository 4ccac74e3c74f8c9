"""Operator books: exact faults, and layers that answer in order."""

import csv
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost.errors import RateError
from flowcost.model import Rate
from flowcost.price import NoRate, book_of, list_book, load_csv
from flowcost.price.parse import COLUMNS, Row
from flowcost.price.validate import problems_of

GB = 2**30
GOOD = {
    "provider": "aws",
    "usage_type": "NatGateway-Bytes",
    "operation": "NatGateway",
    "region": "us-east-1",
    "to_region": "",
    "tier_from": "0",
    "tier_to": "",
    "effective_from": "2026-01-01",
    "effective_to": "",
    "price": "0.03",
    "unit": "GB",
    "unit_bytes": str(GB),
    "currency": "USD",
    "sku": "",
    "source_url": "https://example.com/contract",
    "checked_on": "2026-10-01",
}


def book_file(folder, *rows, name="book.csv"):
    lines = [",".join(COLUMNS)]
    lines += [",".join((GOOD | row)[column] for column in COLUMNS) for row in rows]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row(**changes):
    values = GOOD | {"price": Decimal(1), "unit_bytes": GB, "checked_on": date(2026, 10, 1)}
    return Row(Rate(**(values | changes)), "book.csv", 2)


def nat(book, on=date(2026, 11, 20)):
    return book.lookup(
        provider="aws",
        usage_type="NatGateway-Bytes",
        operation="NatGateway",
        region="us-east-1",
        on=on,
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [{"price": "nan"}],
            "row 2, price: 'nan' is not a price like 0.045, of at most ten decimals",
        ),
        ([{"price": "inf"}], "row 2, price: 'inf' is not a price"),
        ([{"price": "-0.01"}], "row 2, price: '-0.01' is not a price"),
        ([{"price": "1e-3"}], "row 2, price: '1e-3' is not a price"),
        ([{"price": "0.00000000001"}], "row 2, price: '0.00000000001' is not a price"),
        ([{"price": ""}], "row 2, price: '' is not a price"),
        (
            [{"unit_bytes": "1000"}],
            "row 2, unit_bytes: 1000 is not one of 1, 1000000000, 1073741824",
        ),
        ([{"unit_bytes": "1"}], "row 2, unit_bytes: 1 does not fit unit GB"),
        ([{"unit": "Hrs"}], "row 2, unit: NatGateway-Bytes is counted in GB, not Hrs"),
        ([{"currency": "usd"}], "row 2, currency: 'usd' is not an ISO 4217 code"),
        ([{"source_url": ""}], "row 2, source_url: '' is not a web address"),
        (
            [{"checked_on": "2026-02-30"}],
            "row 2, checked_on: '2026-02-30' is not a day of the calendar",
        ),
        (
            [{"effective_from": "1 Jan"}],
            "row 2, effective_from: '1 Jan' is not a day like 2026-11-20",
        ),
        (
            [{"effective_to": "2025-01-01"}],
            "row 2, effective_to: 2025-01-01 is not after effective_from 2026-01-01",
        ),
        ([{"tier_from": "-1"}], "row 2, tier_from: '-1' is not a whole number"),
        ([{"tier_to": "0"}], "row 2, tier_to: 0 is not after tier_from 0"),
        ([{"provider": "aw"}], "row 2, provider: unknown provider 'aw'; known: aws"),
        ([{"usage_type": "NatGateway-Byte"}], "row 2, usage_type: unknown meter 'NatGateway-Byte'"),
        (
            [{"usage_type": "EUW2-NatGateway-Bytes"}],
            "row 2, region: EUW2-NatGateway-Bytes is billed in eu-west-2, not in us-east-1",
        ),
        (
            [{"usage_type": "USE1-NatGateway-Bytes"}],
            "row 2, usage_type: USE1-NatGateway-Bytes is spelled NatGateway-Bytes on the bill",
        ),
        (
            [{"usage_type": "EU-AWS-Out-Bytes", "to_region": "eu-west-1"}],
            "row 2, usage_type: EU-AWS-Out-Bytes is spelled USE1-EU-AWS-Out-Bytes on the bill",
        ),
        (
            [{"region": "global"}],
            "row 2, region: NatGateway-Bytes is not billed in global",
        ),
        (
            [{"usage_type": "Global-DataTransfer-Out-Bytes"}],
            "row 2, region: Global-DataTransfer-Out-Bytes is not billed in us-east-1",
        ),
        ([{"usage_type": "VpcEndpoint-Bytes"}], "row 2, usage_type: unknown meter 'VpcEndpoint-B"),
        ([{"region": "us-east-9"}], "row 2, region: unknown region 'us-east-9'"),
        (
            [{"to_region": "eu-west-1"}],
            "row 2, to_region: NatGateway-Bytes has second region none, not 'eu-west-1'",
        ),
        ([{"tier_from": "10"}], "row 2, tier_from: gap: no tier below 10"),
        ([{"tier_to": "10"}], "row 2, tier_to: gap: no tier above 10"),
        ([{"tier_to": "10"}, {"tier_from": "20"}], "row 3, tier_from: gap: no tier from 10 to 20"),
        ([{"tier_to": "20"}, {"tier_from": "10"}], "row 3, tier_from: overlap with row 2 of"),
        ([{}, {}], "row 3, tier_from: overlap with row 2 of"),
        (
            [{}, {"effective_from": "2026-06-01"}],
            "row 3, effective_from: overlap: an earlier row of this meter holds until 9999-12-31",
        ),
        (
            [{"effective_to": "2026-03-01"}, {"effective_from": "2026-06-01"}],
            "row 3, effective_from: gap: no rate from 2026-03-01 to 2026-06-01",
        ),
        (
            [{"tier_to": "10"}, {"tier_from": "10", "currency": "EUR"}],
            "row 3, currency: differs from row 2 of",
        ),
    ],
)
def test_a_bad_book_is_refused_by_file_row_and_field(tmp_path, rows, expected):
    path = book_file(tmp_path, *rows)
    with pytest.raises(RateError) as refused:
        load_csv(path)
    assert f"{path} {expected}" in refused.value.message


def test_all_faults_are_listed_at_once(tmp_path):
    with pytest.raises(RateError) as refused:
        load_csv(book_file(tmp_path, {"price": "x", "unit_bytes": "y"}, {"currency": ""}))
    assert len(refused.value.message.splitlines()) == 3
    with pytest.raises(RateError, match="and 5 more"):
        load_csv(book_file(tmp_path, *[{"price": "x"}] * 25))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "row 1, header: must be provider,usage_type,"),
        ("provider,price\naws,1\n", "row 1, header: must be provider,usage_type,"),
        (",".join(COLUMNS) + "\naws,x\n", "row 2, row: 2 cells, not 16"),
        (",".join(COLUMNS) + "\n", "holds no rate"),
        (",".join(COLUMNS) + '\n"aws', "unexpected end of data"),
    ],
)
def test_a_file_that_is_no_book_is_refused(tmp_path, text, expected):
    path = tmp_path / "book.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RateError, match=r"book\.csv") as refused:
        load_csv(path)
    assert expected in refused.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(RateError, match=r"missing\.csv, file: cannot be read"):
        load_csv(tmp_path / "missing.csv")
    with pytest.raises(RateError, match="holds no rate"):
        load_csv(tmp_path)
    (tmp_path / "book.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RateError, match="cannot be read"):
        load_csv(tmp_path / "book.csv")


def test_an_operator_book_overrides_per_meter_and_day_and_leaves_the_rest(tmp_path):
    path = book_file(tmp_path, {"effective_to": "2026-07-01"}, name="contract.csv")
    book = load_csv(path, beneath=list_book())
    assert [str(rate.price) for rate in nat(book, date(2026, 6, 30))] == ["0.03"]
    assert [str(rate.price) for rate in nat(book, date(2026, 7, 1))] == ["0.045"]
    assert [str(rate.price) for rate in nat(book, date(2025, 12, 31))] == ["0.045"]
    assert [layer.name for layer in book.layers()] == ["contract", "list"]
    alone = load_csv(path)
    assert isinstance(nat(alone, date(2026, 7, 1)), NoRate)


def test_an_upper_row_for_any_operation_wins_over_a_list_row_for_one(tmp_path):
    book = load_csv(book_file(tmp_path, {"operation": ""}), beneath=list_book())
    assert [str(rate.price) for rate in nat(book)] == ["0.03"]


def test_within_a_book_a_row_for_the_operation_wins_over_a_row_for_any(tmp_path):
    path = book_file(tmp_path, {"operation": "", "price": "0.01"}, {"price": "0.02"})
    assert [str(rate.price) for rate in nat(load_csv(path))] == ["0.02"]


def test_a_book_in_another_currency_cannot_lie_over_the_list(tmp_path):
    path = book_file(tmp_path, {"currency": "EUR"})
    assert [rate.currency for _, rate in load_csv(path).rates()] == ["EUR"]
    with pytest.raises(RateError, match="row 2, currency: EUR, but other rates: USD"):
        load_csv(path, beneath=list_book())
    mixed = book_file(
        tmp_path,
        {"currency": "EUR"},
        {"region": "us-west-2", "usage_type": "USW2-NatGateway-Bytes"},
    )
    with pytest.raises(RateError, match="row 3, currency: USD, but other rates: EUR"):
        load_csv(mixed)


def test_a_folder_of_files_is_one_book(tmp_path):
    book_file(tmp_path, {}, name="a.csv")
    book_file(
        tmp_path, {"usage_type": "NatGateway-Hours", "unit": "Hrs", "unit_bytes": "1"}, name="b.csv"
    )
    assert len(list(load_csv(tmp_path).rates())) == 2
    book_file(tmp_path, {}, name="c.csv")
    with pytest.raises(RateError, match=r"c\.csv row 2, tier_from: overlap with row 2 of a\.csv"):
        load_csv(tmp_path)


def test_the_packaged_book_written_out_and_read_back_answers_the_same(tmp_path):
    path = tmp_path / "copy.csv"
    rates = [rate for _, rate in list_book().rates()]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for rate in rates:
            cells = (getattr(rate, column) for column in COLUMNS)
            writer.writerow("" if cell is None else str(cell) for cell in cells)
    assert [rate for _, rate in load_csv(path).rates()] == rates


@given(
    st.lists(st.integers(1, 10**12), max_size=5, unique=True),
    st.lists(st.integers(1, 3000), max_size=4, unique=True),
    st.randoms(use_true_random=False),
    st.integers(0, 4000),
)
def test_any_whole_cut_of_volume_and_time_is_a_book_and_any_hole_in_it_is_refused(
    bounds, days, random, asked
):
    start = date(2020, 1, 1)
    tiers = list(pairwise([0, *sorted(bounds), None]))
    periods = list(pairwise([0, *sorted(days), None]))
    rates = [
        row(
            tier_from=low,
            tier_to=high,
            effective_from=start + timedelta(begin),
            effective_to=None if end is None else start + timedelta(end),
        )
        for low, high in tiers
        for begin, end in periods
    ]
    random.shuffle(rates)
    assert problems_of(rates) == []
    book = book_of((each.rate for each in rates), "cut")
    found = nat(book, start + timedelta(asked))
    assert [(rate.tier_from, rate.tier_to) for rate in found] == tiers
    assert problems_of([*rates, rates[0]])
    lost = rates.pop()
    whole_ends = len(tiers) == 1 and lost.rate.effective_from == start
    whole_ends |= len(tiers) == 1 and lost.rate.effective_to is None
    assert bool(problems_of(rates)) != whole_ends
