"""Bytes belong to the UTC hour in which they moved, to the last one."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcost.address import pack
from flowcost.sources.knowledge import Knowledge
from tests.sources.logs import NOON, read, rows, write_parquet, write_text

HOUR = 3600


def parts_of(size: int, start: int, end: int) -> dict[int, int]:
    """Split by counting: each second gets its floor-of-running-sum share."""
    seconds = max(end - start, 1)
    shares: Counter[int] = Counter()
    for second in range(seconds):
        shares[(start + second) // HOUR * HOUR] += (
            size * (second + 1) // seconds - size * second // seconds
        )
    return {hour: share for hour, share in shares.items() if share}


def test_a_record_across_the_hour_is_split_by_overlap(tmp_path):
    records = rows(
        {"flow-direction": "egress", "start": NOON + 3590, "end": NOON + 3620, "bytes": 100,
         "packets": 3},
    )  # fmt: skip
    flows, _ = read(write_text(tmp_path / "a.log", records))
    assert [(f["start"] - NOON, f["bytes"], f["packets"]) for f in flows] == [
        (0, 33, 1), (HOUR, 67, 2),
    ]  # fmt: skip


def test_a_record_that_ends_on_the_hour_stays_whole(tmp_path):
    records = rows({"flow-direction": "egress", "start": NOON + 3540, "end": NOON + 3600})
    flows, _ = read(write_text(tmp_path / "a.log", records))
    assert [(f["start"], f["bytes"]) for f in flows] == [(NOON, 1000)]


def test_a_record_of_no_duration_has_its_bytes(tmp_path):
    records = rows({"flow-direction": "egress", "start": NOON + 7, "end": NOON + 7})
    flows, _ = read(write_text(tmp_path / "a.log", records))
    assert [(f["start"], f["bytes"]) for f in flows] == [(NOON, 1000)]


@pytest.mark.parametrize("write", [write_text, write_parquet])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    records=st.lists(
        st.tuples(st.integers(0, 4 * HOUR), st.integers(0, 3 * HOUR), st.integers(0, 1 << 46)),
        min_size=1,
        max_size=8,
    )
)
def test_any_records_split_like_counting_every_second(tmp_path, write, records):
    given = rows(
        *(
            {"flow-direction": "egress", "start": NOON + at, "end": NOON + at + long,
             "bytes": size, "packets": size % 97}
            for at, long, size in records
        )
    )  # fmt: skip
    expected: Counter[int] = Counter()
    for at, long, size in records:
        expected.update(parts_of(size, NOON + at, NOON + at + long))
    flows, report = read(write(tmp_path / ("a.log" if write is write_text else "a.parquet"), given))
    found: Counter[int] = Counter()
    for flow in flows:
        found[flow["start"]] += flow["bytes"]
        assert flow["start"] % HOUR == 0
    assert +found == +expected
    assert report.rows == len(records)


def test_reading_one_file_or_two_gives_the_same_bytes_per_hour(tmp_path):
    many = rows(
        *(
            {"flow-direction": "egress", "start": NOON + 3590 + n, "end": NOON + 3610 + n,
             "bytes": 1001 + n}
            for n in range(9)
        )
    )  # fmt: skip

    def per_hour(*groups):
        total: Counter[int] = Counter()
        for n, group in enumerate(groups):
            for flow in read(write_text(tmp_path / f"{n}.log", group))[0]:
                total[flow["start"]] += flow["bytes"]
        return total

    assert per_hour(many) == per_hour(many[:4], many[4:])


@pytest.mark.parametrize("write", [write_text, write_parquet])
def test_rows_of_an_address_that_changed_hands_are_kept_apart_from_then_on(tmp_path, write):
    change = NOON + 1200
    known = Knowledge(changes=frozenset({(pack("10.0.2.6"), change)}))
    records = rows(
        *(
            {"flow-direction": "egress", "start": NOON + at, "end": NOON + at + 60, "bytes": size}
            for at, size in ((60, 1), (1140, 2), (1200, 4), (3590, 100))
        ),
        {"flow-direction": "egress", "start": NOON + 1300, "end": NOON + 1360, "bytes": 8,
         "dstaddr": "10.0.2.7"},
    )  # fmt: skip
    flows, _ = read(
        write(tmp_path / ("a.log" if write is write_text else "a.parquet"), records), known
    )
    found = {(f["remote"], f["start"] - NOON): f["bytes"] for f in flows}
    assert found == {
        ("10.0.2.6", 0): 3,
        ("10.0.2.6", 1200): 4 + 16,
        ("10.0.2.6", HOUR): 84,
        ("10.0.2.7", 0): 8,
    }
