"""Hand-made flows: a bad value is the operator's error, named by file, row and field."""

import pytest

from flowcost.errors import SourceError
from flowcost.sources import flow_csv

HEADER = "window_start,window_end,direction,local_address,remote_address,bytes"
ROW = "2026-10-05T12:00:00Z,2026-10-05T12:01:00Z,transmit,10.0.0.1,10.0.0.2,5"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xc8\xd7", "not a CSV file"),
        (f"{HEADER}\n{ROW},7\n".encode(), "row 2: more fields"),
        (f"{HEADER}\n{ROW.replace(',5', ',-5')}\n".encode(), "row 2: bytes"),
        (f"{HEADER}\n{ROW.replace('10.0.0.2', 'x')}\n".encode(), "row 2: remote_address"),
        (f"{HEADER},hue\n{ROW},7\n".encode(), "unknown column hue"),
        (b"bytes\n5\n", "missing column window_start"),
        (b"", "missing column window_start"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, data, what):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=what) as refused:
        flow_csv.read(path)
    assert str(path) in str(refused.value)


def test_a_good_row_is_a_flow(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n{ROW}\n")
    assert flow_csv.read(path)["bytes"].to_pylist() == [5]


def test_a_sampled_row_is_scaled_once(tmp_path):
    path = tmp_path / "a.csv"
    rows = [ROW.replace(",5", end) for end in (",1500,2,64", ",1500,2,", ",1500,2,1")]
    path.write_text("\n".join((f"{HEADER},packets,sampling_rate", *rows, "")))
    found = flow_csv.read(path)
    assert found["bytes"].to_pylist() == [96_000, 1500, 1500]
    assert found["packets"].to_pylist() == [128, 2, 2]
    assert found["sampled"].to_pylist() == [64, 1, 1]
    assert "sampling_rate" not in found.column_names


@pytest.mark.parametrize(
    ("rate", "sampled", "what"),
    [
        ("0", "1", "0 is out of range"),
        ("-64", "1", "-64 is out of range"),
        ("half", "1", "half"),
        ("64", "64", "a rate was applied already"),
        ("2000000000", "1", "bytes is out of range"),
    ],
)
def test_a_rate_that_cannot_be_is_named(tmp_path, rate, sampled, what):
    path = tmp_path / "a.csv"
    row = ROW.replace(",5", f",{1 << 40},{rate},{sampled}")
    path.write_text(f"{HEADER},sampling_rate,sampled\n{row}\n")
    with pytest.raises(SourceError, match=rf"row 2: sampling_rate: .*{what}"):
        flow_csv.read(path)
