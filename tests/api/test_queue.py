"""How much is under way at once: bounded for all, and for each so that nobody is locked out."""

import threading

import anyio
import pytest

from flowcost.errors import BusyError, TooManyError
from flowcost.views.api.queue import Queue, Room
from tests.api.conftest import app_of
from tests.api.test_segments import Book, one, posted_in_parts


def test_one_asker_cannot_fill_the_room():
    room = Room(8)
    room.enter("a", 6)
    with pytest.raises(TooManyError):
        room.enter("a")
    room.enter("b", 2)
    with pytest.raises(BusyError) as found:
        room.enter("c")
    assert not isinstance(found.value, TooManyError)
    room.leave("a", 6)
    room.leave("b", 2)
    assert room.taken.total() == len(room.taken) == 0
    room.enter("c", 6)


def test_what_does_not_fit_is_told_to_come_back_and_leaves_nothing_behind():
    done, told = [], []
    hold = threading.Event()

    def work(who):
        hold.wait(10)
        done.append(who)

    async def ask(queue, who):
        try:
            await queue.run(who, work, who)
        except BusyError as error:
            told.append((who, type(error)))

    async def everybody():
        queue = Queue(2, 6)
        async with anyio.create_task_group() as tasks:
            for who in ("a",) * 10 + ("b",) * 3:
                tasks.start_soon(ask, queue, who)
            await anyio.sleep(0.1)
            hold.set()
        return queue

    queue = anyio.run(everybody)
    assert (done.count("a"), done.count("b")) == (6, 2)
    assert told == [("a", TooManyError)] * 4 + [("b", BusyError)]
    assert queue.room.taken.total() == 0


def test_a_cluster_that_posts_too_much_is_429(shop, door, monkeypatch):
    monkeypatch.setattr("flowcost.views.api.queue.HELD_BYTES", 64)
    app = app_of(shop, door.gate, inbox=Book())
    assert len(one()) > 64
    assert posted_in_parts(app, [one()], door.headers("agents")) == 429
    monkeypatch.setattr("flowcost.views.api.queue.HELD_BYTES", 1 << 20)
    app = app_of(shop, door.gate, inbox=Book())
    for _ in range(50):  # what is counted is given back
        assert posted_in_parts(app, [one()], door.headers("agents")) == 200
