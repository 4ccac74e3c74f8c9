"""What is kept of readings that take long, and for how long."""

import threading
from datetime import UTC, datetime, timedelta

from flowcost.views.readings import Readings

SECOND = timedelta(seconds=1)


class Read:
    """Something to read that takes time and counts how often it was read."""

    def __init__(self, least=timedelta(0)):
        self.now, self.takes = datetime(2026, 11, 20, 10, tzinfo=UTC), timedelta(0)
        self.state, self.times = "a", 0
        self.readings = Readings(lambda: self.now, least)

    def ask(self, asker="ann"):
        return self.readings.of(asker, lambda _: self.state, self.read)

    def read(self, now):
        self.times += 1
        self.now += self.takes
        return f"{self.state} at {now:%S}"


def test_what_has_not_changed_is_not_read_again():
    read = Read()
    assert [read.ask(), read.ask()] == ["a at 00", "a at 00"]
    read.state = "b"
    assert read.ask() == "b at 00"
    assert read.times == 2


def test_what_took_long_rests_nine_times_as_long():
    read = Read()
    read.takes = 2 * SECOND
    read.ask()
    read.state = "b"
    read.now += 17 * SECOND
    assert read.ask() == "a at 00"
    read.now += SECOND
    assert read.ask() == "b at 20"


def test_nobody_is_told_what_another_was():
    read = Read(least=10 * SECOND)
    assert read.ask("ann") == "a at 00"
    read.state = "b"
    assert read.ask("bob") == "b at 00"
    assert read.ask("ann") == "a at 00"


def test_the_latest_askers_are_kept():
    read = Read()
    for number in range(40):
        read.ask(number)
    assert read.times == 40
    read.ask(39)
    assert read.times == 40
    read.ask(0)
    assert read.times == 41


def test_who_asks_while_it_is_read_waits_for_the_same():
    read, found = Read(), []
    begun, go = threading.Event(), threading.Event()

    def slow(now):
        begun.set()
        assert go.wait(10)
        return read.read(now)

    def ask():
        found.append(read.readings.of("ann", lambda _: read.state, slow))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert (read.times, found) == (1, ["a at 00"] * 3)


def test_a_reading_that_failed_is_not_kept():
    read = Read()

    def broken(_):
        raise OSError("no disk")

    for _ in range(2):
        try:
            read.readings.of("ann", lambda _: "a", broken)
        except OSError:
            continue
        raise AssertionError("it must fail")
    assert read.ask() == "a at 00"
