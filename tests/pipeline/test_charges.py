"""Charges that are made row group by row group are the bytes of the same charges as a table."""

import io
import random
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcost.ledger import encode
from flowcost.ledger.order import ranks
from flowcost.pipeline.charges import Charges, Ends, Kinds, end_ranks
from flowcost.schema import CHARGES

HOUR = datetime(2026, 11, 20, 10, tzinfo=UTC)
TEXTS = [c.name for c in CHARGES if c.type == "text"]
OF_KIND = [name for name in TEXTS if name not in ("payer_account", "resource_id")]

# Kinds that share words differ in who carries the line only, or not at all.
KINDS = st.lists(
    st.tuples(
        st.sampled_from(["", "same_zone", "cross_az"]),
        st.sampled_from([None, 3, 1 << 40]),
        st.integers(-1, 1),
        st.booleans(),
        st.sampled_from([None, 0, 7, 10**18]),
    ),
    min_size=1,
    max_size=5,
)
# Parties 1 to 3, and addresses 1 to 4 of nobody, of which two are equal.
ENDS = st.sampled_from([1, 2, 3, -1, -2, -3, -4])
ROWS = st.lists(st.tuples(st.integers(0, 4), ENDS, ENDS, st.integers(0, 3)), max_size=24)


def kinds_of(given_: list[tuple]) -> Kinds:
    words = {
        name: pa.array([kind[0] if name == "path" else name for kind in given_], pa.string())
        for name in OF_KIND
    }
    words["unit"] = pa.array(["bytes"] * len(given_), pa.string())
    ids = pa.array([kind[1] for kind in given_], pa.int64())
    carriers = pa.array([kind[2] for kind in given_], pa.int32())
    return Kinds(
        words=words,
        ids={"rate_id": ids, "verdict_id": pa.array([5] * len(given_), pa.int64())},
        payer=carriers,
        resource=carriers,
        carried=pa.array([kind[3] for kind in given_], pa.bool_()),
        numerators=[kind[4] for kind in given_],
    )


def ends() -> Ends:
    ids = pa.array([0, 90, 20, 50], pa.int64())
    addresses = pa.array([b"", b"b" * 16, b"a" * 16, b"c" * 16, b"a" * 16], pa.binary())
    return Ends(
        ids=ids,
        accounts=pa.array([0, 1, 0, 1], pa.int32()),
        resources=pa.array([2, 3, 2, 3], pa.int32()),
        addresses=addresses,
        account_words=pa.array(["", "111111111111"], pa.string()),
        resource_words=pa.array(["", "nat-1", "", "i-1"], pa.string()),
        ranks=end_ranks(ids, addresses),
    )


def written(rows) -> bytes:
    sink = io.BytesIO()
    encode.encode(rows, CHARGES, sink)
    return sink.getvalue()


@settings(deadline=None)
@given(kinds=KINDS, rows=ROWS, seed=st.integers(0, 9))
def test_pieces_and_tables_are_written_alike(kinds, rows, seed):
    rows = [row for row in rows if row[0] < len(kinds)]
    columns = list(zip(*rows, strict=True)) or [()] * 4
    table = pa.table({
        "kind": pa.array(columns[0], pa.int32()), "near": pa.array(columns[1], pa.int32()),
        "far": pa.array(columns[2], pa.int32()), "bytes": pa.array(columns[3], pa.int64()),
        "packets": pa.array(columns[3], pa.int64()),
    })  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "ROW_GROUP", 4)
        charges = Charges(table, HOUR, kinds_of(kinds), ends())
        pieces = [charges.piece(start, 4) for start in range(0, max(1, len(charges)), 4)]
        whole = pa.concat_tables(pieces).unify_dictionaries().combine_chunks()
        places = list(range(len(whole)))
        random.Random(seed).shuffle(places)
        assert len({(row[0], row[1], row[2]) for row in rows}) == len(charges)
        assert sum(row[3] for row in rows) == sum(whole["quantity"].to_pylist())
        shuffled = whole.take(pa.array(places, pa.int64()))
        assert written(charges) == written(shuffled)


def test_ends_rank_by_id_and_unknown_ones_by_address():
    known = ends()
    asked = pa.array([1, 2, 3, -1, -2, -3, -4], pa.int32())
    places, size = known.rank(asked)
    one, two, three, b, a, c, again = places.to_pylist()
    assert a == again < b < c < two < three < one < size


def test_ranks_put_null_first_and_ignore_unused_words():
    column = pa.DictionaryArray.from_arrays(
        pa.array([2, None, 0, 2], pa.int32()), pa.array(["b", "unused", "a", "b"])
    )
    assert ranks(column)[0].to_pylist() == [1, 0, 2, 1]
