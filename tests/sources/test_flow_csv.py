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
