"""Facts with their time, kept on disk."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcost.clock import parse
from flowcost.resolve.chronicle import (
    FILE,
    Chronicle,
    Fact,
    Sighting,
    begun,
    changed,
    places,
    read,
)

START = parse("2026-11-25T00:00:00Z")
EVER = START - timedelta(days=9), START + timedelta(days=900)


def at(minutes: float):
    return START + timedelta(minutes=minutes)


def seen(name: str, *facts: tuple[str, str], **said) -> Sighting:
    return Sighting(name, 0, tuple(Fact("k", key, body.encode()) for key, body in facts), **said)


def spans(folder: Path, key: str) -> list[tuple[str, float, float | None]]:
    """The dated bodies of a key, in minutes after the start."""
    return [
        (
            one.body.decode(),
            (one.valid_from - START) / timedelta(minutes=1),
            None if one.valid_to is None else (one.valid_to - START) / timedelta(minutes=1),
        )
        for one in read(folder, *EVER)
        if one.key == key
    ]


@pytest.fixture
def chronicle(tmp_path):
    made = Chronicle(tmp_path)
    yield made
    made.close()


def test_a_fact_holds_from_when_it_was_seen_to_when_it_was_not(tmp_path, chronicle):
    assert chronicle.see("pods", seen("a", ("x", "1")), at(0), at(0))
    assert not chronicle.see("pods", seen("a", ("x", "1")), at(10), at(10))
    assert chronicle.see("pods", seen("a", ("x", "2")), at(20), at(20))
    assert chronicle.lose("pods", "a", at(30), at(30))
    assert not chronicle.lose("pods", "a", at(40), at(40))
    chronicle.commit()
    assert spans(tmp_path, "x") == [("1", 0, 20), ("2", 20, 30)]


def test_what_an_object_says_of_its_edges_is_exact_but_never_in_the_future(tmp_path, chronicle):
    chronicle.see("pods", seen("a", ("x", "1"), began=at(-5)), at(0), at(-60))
    chronicle.see("pods", seen("b", ("y", "1"), began=at(99)), at(0), at(-60))
    chronicle.lose("pods", "a", at(30), at(10), at(20))
    chronicle.commit()
    assert spans(tmp_path, "x") == [("1", -5, 20)]
    assert spans(tmp_path, "y") == [("1", 0, None)]


def test_an_edge_that_nobody_saw_says_since_when_it_may_have_been(tmp_path, chronicle):
    chronicle.see("pods", seen("a", ("x", "1")), at(30), at(10))
    chronicle.lose("pods", "a", at(60), at(40))
    chronicle.commit()
    (one,) = read(tmp_path, *EVER)
    assert (one.began_after, one.valid_from) == (at(10), at(30))
    assert (one.ended_after, one.valid_to) == (at(40), at(60))


def test_a_draft_leaves_no_trace(tmp_path, chronicle):
    chronicle.see("pods", seen("a", ("", "nowhere")), at(0), at(0))
    chronicle.see("pods", seen("a", ("x", "1"), began=at(2)), at(3), at(3))
    chronicle.see("pods", seen("b", ("", "nowhere")), at(0), at(0))
    chronicle.lose("pods", "b", at(9), at(9))
    chronicle.commit()
    assert [(one.key, one.valid_from) for one in read(tmp_path, *EVER)] == [("x", at(2))]


def test_what_ended_before_it_was_seen_is_kept_once(tmp_path, chronicle):
    over = seen("a", ("x", "1"), began=at(1), ended=at(4))
    for minute in (10, 20):
        chronicle.see("pods", over, at(minute), at(0))
        chronicle.commit()
    assert spans(tmp_path, "x") == [("1", 1, 4)]


def test_only_what_held_in_the_span_is_read(tmp_path, chronicle):
    chronicle.see("pods", seen("a", ("x", "1")), at(0), at(0))
    chronicle.see("pods", seen("b", ("y", "1")), at(60), at(60))
    chronicle.lose("pods", "a", at(60), at(60))
    chronicle.commit()
    keys = [[one.key for one in read(tmp_path, at(m), at(m + 1))] for m in (-1, 0, 59, 60)]
    assert keys == [[], ["x"], ["x"], ["y"]]


def test_a_change_tells_from_when_on_it_matters(tmp_path, chronicle):
    assert changed(tmp_path, 0) == (0, None)
    chronicle.see("pods", seen("a", ("x", "1"), began=at(-500)), at(0), at(0))
    chronicle.commit()
    assert changed(tmp_path, 0) == (1, at(-500))
    chronicle.hear("pods", "7", at(5))
    chronicle.commit()
    assert changed(tmp_path, 1) == (1, None)
    chronicle.lose("pods", "a", at(30), at(30))
    chronicle.commit()
    assert changed(tmp_path, 1) == (2, at(30))
    chronicle.see("pods", seen("b", ("", "draft")), at(40), at(40))
    chronicle.commit()
    chronicle.lose("pods", "b", at(50), at(50))
    chronicle.commit()
    assert changed(tmp_path, 3) == (4, at(40))


def test_the_place_to_resume_from_is_as_durable_as_the_facts(tmp_path, chronicle):
    chronicle.see("pods", seen("a", ("x", "1")), at(0), at(0))
    chronicle.hear("pods", "7", at(1))
    assert (read(tmp_path, *EVER), places(tmp_path)) == ([], {})
    chronicle.commit()
    chronicle.hear("pods", "9", at(2))
    chronicle.commit()
    assert (places(tmp_path)["pods"].version, places(tmp_path)["pods"].heard) == ("9", at(2))
    assert begun(tmp_path, "pods") == at(1)
    assert begun(tmp_path, "nodes") is None


def test_what_ended_long_ago_is_forgotten(tmp_path, chronicle):
    chronicle.see("pods", seen("a", ("x", "1")), at(0), at(0))
    chronicle.see("pods", seen("b", ("y", "1")), at(0), at(0))
    chronicle.lose("pods", "a", at(10), at(10))
    chronicle.commit()
    assert chronicle.prune(at(10)) == 0
    assert chronicle.prune(at(11)) == 1
    assert [one.key for one in read(tmp_path, *EVER)] == ["y"]


_TRUTH = st.dictionaries(
    st.sampled_from("abc"),
    st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), min_size=1),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(_TRUTH, min_size=1, max_size=8), st.sets(st.integers(0, 8)))
def test_at_every_time_it_says_what_was_true_then(truths, restarts):
    """Ten minutes apart, so that nothing settles; with a restart before some of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chronicle = Chronicle(folder)
        for number, truth in enumerate(truths):
            if number in restarts:
                chronicle.close()
                chronicle = Chronicle(folder)
            now = at(10 * number)
            for gone in set(chronicle.objects("pods")) - truth.keys():
                chronicle.lose("pods", gone, now, now)
            for one, facts in truth.items():
                chronicle.see("pods", seen(one, *facts.items()), now, now)
            chronicle.commit()
        chronicle.close()
        for number, truth in enumerate(truths):
            now = at(10 * number + 5)
            found = [(f.object, f.key, f.body.decode()) for f in read(folder, now, now)]
            held = read(folder, now, now + timedelta(minutes=1))
            found = sorted((f.object, f.key, f.body.decode()) for f in held)
            expected = sorted((o, k, v) for o, facts in truth.items() for k, v in facts.items())
            assert found == expected


_WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from flowcost.clock import parse
from flowcost.resolve.chronicle import Chronicle, Fact, Sighting
chronicle = Chronicle(Path(sys.argv[1]))
number = int(chronicle.places["pods"].version) if chronicle.places else 0
while True:
    number += 1
    now = parse("2026-11-25") + timedelta(minutes=number)
    for part in range(20):
        fact = Fact("k", f"{number}.{part}", b"x")
        chronicle.see("pods", Sighting(fact.key, 0, (fact,)), now, now)
    if number > 3:
        for part in range(20):
            chronicle.lose("pods", f"{number - 3}.{part}", now, now)
    chronicle.hear("pods", str(number), now)
    chronicle.commit()
    print(number, flush=True)
"""


def test_killed_at_any_moment_facts_and_place_agree(tmp_path):
    chance = random.Random(7)
    said = 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, tmp_path], stdout=subprocess.PIPE, text=True
        )
        for line in writer.stdout:
            said = int(line)
            if chance.random() < 0.05:
                break
        time.sleep(chance.random() / 100)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        said = int(rest[-1]) if rest else said
        version = int(places(tmp_path)["pods"].version)
        assert version >= said
        found = read(tmp_path, *EVER)
        assert len(found) == 20 * version
        assert sum(one.valid_to is None for one in found) == 20 * min(version, 3)


def test_a_file_that_is_being_made_is_empty(tmp_path):
    sqlite3.connect(tmp_path / FILE).close()
    assert (read(tmp_path, *EVER), places(tmp_path), changed(tmp_path, 0)) == ([], {}, (0, None))
    assert begun(tmp_path, "pods") is None


def test_a_file_that_is_none_is_an_error_of_the_file(tmp_path):
    (tmp_path / FILE).write_bytes(b"noise" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        Chronicle(tmp_path)
