"""Damaged files: never a crash, and never a row that is silently taken for something else.

`make fuzz` runs the same checks over a million inputs, most of them guided by coverage.
"""

import random
from collections import Counter

import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcost.errors import SourceError
from flowcost.sources import numbered, parquet
from flowcost.sources.report import Fate
from tests.sources import compare
from tests.sources.logs import ROW, describe, rows, write_parquet
from tests.sources.mutate import KNOWN, Bytes, line
from tests.sources.reference import expected, rows_of
from tests.sources.reference_words import COLUMNS

NAMES = list(ROW)


@pytest.fixture(scope="module")
def kernel():
    kernel = compare.kernel()
    yield kernel
    kernel.close()


def whole(kernel, path):
    """Read any file: it must come back with every row under a fate, and flows that add up."""
    file = describe(path.as_posix(), path, size=path.stat().st_size, version="1")
    partial = kernel.partial(file)
    report = partial.report
    assert report.rows == sum(tally.rows for tally in report.fates.values())
    booked = sum(partial.table["bytes"].to_pylist())
    assert booked == sum(t.bytes for fate, t in report.fates.items() if fate == "booked")
    return partial


@pytest.mark.parametrize("seed", range(8))
def test_files_damaged_anyhow_are_read_as_by_the_reference(kernel, tmp_path, seed):
    draw = random.Random(seed)
    batch = compare.Batch(draw)
    for _ in range(60):
        batch.add(draw, 8)
    batch.check(kernel, tmp_path)


def test_the_reference_finds_every_kind_of_row_among_the_drawn_and_the_damaged():
    draw = random.Random(1)
    fates, sizes = Counter(), Counter()
    for _ in range(400):
        lines = [line(draw, NAMES) for _ in range(8)]
        found = expected(list(rows_of(lines, NAMES)), NAMES, KNOWN)
        fates, sizes = fates + found.fates, sizes + found.bytes
    assert set(fates) == set(Fate) - {Fate.NO_BYTES, Fate.NO_PACKET_ENDS}
    place = 1 + COLUMNS.index("observer_type")
    assert {key[place] for key in sizes} == {"interface", "gateway"}
    assert len({hour for hour, *_ in sizes}) > 4


def test_a_row_that_is_taken_for_something_else_is_a_difference(kernel, tmp_path, monkeypatch):
    draw = random.Random(3)
    batch = compare.Batch(draw)
    for _ in range(20):
        batch.add(draw, 8)
    whole = compare.expected

    def less(rows, names, known):
        return whole(rows[:-1], names, known)

    monkeypatch.setattr(compare, "expected", less)
    with pytest.raises(compare.DifferenceError, match="fates"):
        batch.check(kernel, tmp_path)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(layout=st.binary(max_size=60), inputs=st.lists(st.binary(max_size=300), max_size=8))
def test_whatever_is_drawn_is_read_as_by_the_reference(kernel, tmp_path, layout, inputs):
    batch = compare.Batch(Bytes(layout))
    for data in inputs:
        batch.feed(Bytes(data), 6)
    batch.check(kernel, tmp_path)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), max_size=5))
def test_any_lines_below_a_header_are_read_as_by_the_reference(kernel, tmp_path, lines):
    batch = compare.Batch(random.Random(5))
    batch.feed_text([one.rstrip("\r ") or "x" for one in lines])
    batch.check(kernel, tmp_path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=400), suffix=st.sampled_from([".log", ".json", ".parquet", ".gz"]))
def test_any_bytes_are_a_file(kernel, tmp_path, data, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    whole(kernel, path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 5000), value=st.integers(0, 255), cut=st.integers(0, 200))
def test_a_parquet_file_with_any_byte_changed_is_refused_or_accounted_for(
    kernel, tmp_path, place, value, cut
):
    path = write_parquet(tmp_path / "a.parquet", rows({"flow-direction": "egress"}) * 20)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(bytes(data[: len(data) - cut if cut < 3 else len(data)]))
    whole(kernel, path)


def test_a_page_that_refers_beyond_its_texts_is_refused(tmp_path):
    # Found by fuzzing: Arrow takes such numbers as they are, and they were read as other words.
    names = ("interface-id", "vpc-id", "subnet-id", "instance-id")
    three = [dict.fromkeys(names, word) for word in "abc"]  # so that a fourth can be referred to
    path = write_parquet(tmp_path / "a.parquet", rows(*three) * 7)
    whole_file = path.read_bytes()
    refused = 0
    for place in range(4, 700):
        path.write_bytes(whole_file[:place] + b"\xff" + whole_file[place + 1 :])
        file = describe(path.as_posix(), path, size=len(whole_file), version="1")
        try:
            pieces = [numbered.piece([(0, each)]) for each in parquet.rows(file, 1 << 20)]
        except (SourceError, UnicodeDecodeError) as error:
            refused += "a text that is not there" in str(error)
            continue
        for piece in pieces:
            for name, words in piece.words.items():
                assert pc.max(piece.table[name]).as_py() < len(words), (place, name)
    assert refused > 0


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=12)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(st.sampled_from([*NAMES, "tgw-id", "quantum"]), min_size=1, max_size=9),
    words=st.lists(st.lists(_TEXT, max_size=10), max_size=6),
)
def test_any_header_over_any_words_is_read_or_refused(kernel, tmp_path, names, words):
    path = tmp_path / "a.log"
    text = "\n".join([" ".join(names), *(" ".join(row) for row in words)])
    path.write_text(text, encoding="utf-8", newline="")
    whole(kernel, path)


def test_counting_twice_gives_the_same(kernel, tmp_path):
    draw = random.Random(2)
    lines = [line(draw, NAMES) for _ in range(500)]
    totals = []
    for order in (lines, lines[::-1]):
        path = tmp_path / "a.log"
        path.write_text(" ".join(NAMES) + "\n" + "\n".join(order) + "\n", encoding="utf-8")
        partial = whole(kernel, path)
        keys = ["window_start", "direction", "local_address", "remote_address", "bytes"]
        totals.append(
            Counter(tuple(row.values()) for row in partial.table.select(keys).to_pylist())
        )
    assert totals[0] == totals[1]
