"""Whatever breaks, the ledger ends as the truth of everything that was acknowledged.

What needs no process, disk or clock of its own stands in `test_live`: segments that come repeated
and out of order, and a partition that was deleted. `make faults` kills for longer.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from flowcost import clock, segment
from flowcost.errors import BusyError, SegmentError
from flowcost.server.settings import Inbox as Limits
from tests.server import agent_process
from tests.server.posting import HOUR, both_ends, posted
from tests.server.test_live import Site, batch, traffic
from tests.server.test_process import ENVIRONMENT, booked, eventually

KILLS = int(os.environ.get("FLOWCOST_TEST_KILLS", "6"))
ROUND_S = 2
DRAINS = 25 * KILLS  # of each node: they last longer than the killing


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Cast:
    """A server and the agents of two nodes, each a process that can be killed and started."""

    def __init__(self, folder, hour):
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        (folder / "flowcost.toml").write_text(
            f'[server]\nlisten = "{self.url.removeprefix("http://")}"\n'
            f'[ledger]\npath = "ledger"\n[live]\nevery = "{ROUND_S}s"\n'
        )
        serve = ["flowcost", "serve", "--config", str(folder / "flowcost.toml")]
        self.commands = {"server": serve}
        for node in ("node-a", "node-b"):
            spool = folder / node / "spool"
            spool.mkdir(parents=True)
            for number in range(DRAINS):
                (spool / f"{number:06}.seg").touch()
            words = [str(folder / node), self.url, node, hour.isoformat()]
            self.commands[node] = ["tests.server.agent_process", *words]
        self.running = {}

    def start(self, name):
        self.running[name] = subprocess.Popen(
            [sys.executable, "-m", *self.commands[name]],
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, name):
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    def booked(self):
        """Return what the API tells, None while a server that was killed is not back yet."""
        try:
            return booked(self.url)
        except OSError:
            return None

    def end(self):
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def cast(tmp_path):
    made = Cast(tmp_path, clock.hour_of(datetime.now(UTC) - timedelta(hours=1)))
    yield made
    made.end()


@pytest.mark.slow
def test_server_and_agents_killed_at_random_lose_nothing_and_book_nothing_twice(cast):
    chance = random.Random(5)
    for name in cast.commands:
        cast.start(name)
    victims = ["server", "node-a", "node-b", *chance.choices(list(cast.commands), k=KILLS)]
    chance.shuffle(victims := victims[:KILLS])
    for victim in victims:
        time.sleep(chance.uniform(0.3, 1.8))
        assert cast.running["node-a"].poll() is None, "the load ended before the killing"
        cast.kill(victim)
        cast.start(victim)
    for node in ("node-a", "node-b"):
        assert cast.running[node].wait(60 + 10 * KILLS) == 0
    # Without an agent's word for it the server has to have it all: everything is acknowledged.
    truth = {"transmit": 0, "receive": 0}
    for node in ("node-a", "node-b"):
        for number in range(DRAINS):
            for one in agent_process.flows(node, number):
                truth[str(one.direction)] += one.bytes
    eventually(lambda: cast.booked() == truth, 120)
    time.sleep(3 * ROUND_S)  # some rounds later it is still the truth
    assert cast.booked() == truth


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 24 MiB; it can be made larger."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "flowcost-test", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting is refused here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_acknowledges_nothing_it_cannot_keep(small_disk, tmp_path):
    site = Site(small_disk / "live")
    site.inbox.limits = Limits(free_bytes=0)
    acknowledged, number, turned_away = [], 0, 0
    while turned_away < 5:
        number += 1
        ballast = os.urandom(60_000).hex()
        for one in both_ends(number, 100 * number, at=number % 3000):
            heavy = segment.replace(one, agent_version=ballast)
            try:
                site.inbox.put("acme", "prod", segment.encode(heavy))
                acknowledged.append(heavy)
            except BusyError:
                turned_away += 1
        assert number < 2000
    site.live.round()
    site.again()
    assert len(acknowledged) == site.inbox.waiting_count + sum(
        index.segments for hour in site.live.shelf.hours("acme")
        if (index := site.live.shelf.index("acme", hour))
    )  # fmt: skip
    subprocess.run(["mount", "-o", "remount,size=256m", str(small_disk)], check=True)
    site.live.round()
    assert site.content() == batch(tmp_path / "batch", acknowledged)
    assert site.live.state("acme").troubles == ()
    site.stop()


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "live")
    yield made
    made.stop()


def test_clocks_that_jump_change_nothing_but_when(site, tmp_path):
    segments = traffic()
    jumps = [timedelta(days=days) for days in (400, 0, 30, -3, 400, -400)]
    began = site.now
    for number, one in enumerate(segments):
        site.now = began + jumps[number // 2 % len(jumps)]
        site.post([one])
        if number % 8 == 7:
            site.live.round()
            site.again()
    ahead = both_ends(3000, 9, hour=HOUR + timedelta(days=20))  # of a node whose clock is wrong too
    site.now = began
    site.post(ahead)
    site.live.round()
    assert site.content() == batch(tmp_path / "batch", segments + ahead)


def test_what_comes_back_after_a_long_silence_is_still_booked(site, tmp_path):
    segments = traffic()
    site.post(segments[:20])
    site.live.round()
    site.now = HOUR + timedelta(days=60)
    site.post(segments[20:])
    site.live.round()
    assert site.content() == batch(tmp_path / "batch", segments)


def test_an_hour_that_was_dropped_stays_refused_whatever_the_clock_says(site):
    site.post(traffic())
    newer = HOUR + timedelta(days=40)
    site.now = newer + timedelta(minutes=30)
    site.post(both_ends(500, 10, hour=newer))
    site.post(both_ends(600, 5, at=1900))
    site.live.round()
    before = site.content()
    with pytest.raises(SegmentError, match="booked from 2026-11-25"):
        site.post(both_ends(601, 5, at=1900))
    assert site.live.shelf.hours("acme")[0] == HOUR  # refused, but not dropped yet
    site.now += timedelta(minutes=20)
    site.live.round()
    assert site.live.shelf.hours("acme") == [newer]
    site.now = HOUR
    site.again()
    with pytest.raises(SegmentError, match="booked from 2026-11-20T12"):
        site.post(both_ends(601, 5, at=1900))
    site.live.round()
    assert site.content() == before


def test_an_hour_is_not_made_again_from_less_than_it_was(site, tmp_path):
    segments = traffic()
    site.post(segments)
    site.live.round()
    before = site.content()
    folder, aside = site.live.shelf.folder("acme", HOUR), tmp_path / "aside"
    folder.rename(aside)
    late = both_ends(700, 3, at=1900)
    site.post(late)
    site.live.round()
    assert site.content() == before
    [told] = site.live.state("acme").troubles
    assert "was made from 28 segments, of which" in told


def test_files_that_a_crash_left_half_written_do_not_exist(site, tmp_path):
    segments = traffic()
    site.post(segments[:20])
    site.live.round()
    folder = site.live.shelf.folder("acme", HOUR)
    index = site.live.shelf.index("acme", HOUR)
    for name in (f"sums-{index.next}.parquet", f"flows-{index.next}.parquet", ".index.json.tmp"):
        (folder / name).write_bytes(b"PAR1 cut short")
    charges = next(site.folder.glob("tenant=acme/**/charges-*.parquet"))
    (charges.parent / ".charges.1.tmp").write_bytes(b"half")
    site.stop()
    with (site.inbox.path.with_name("inbox.sqlite-wal")).open("ab") as log:
        log.write(os.urandom(5000))
    site.start()
    site.post(segments[20:])
    site.live.round()
    assert site.content() == batch(tmp_path / "batch", segments)


def test_an_inbox_that_is_lost_does_not_book_again_what_its_hours_hold(site, tmp_path):
    segments = traffic()
    site.post(segments)
    site.live.round()
    site.stop()
    for path in site.inbox.path.parent.glob("inbox.sqlite*"):
        path.unlink()
    site.start()
    assert site.inbox.begun_empty
    site.live.teach(site.inbox)
    assert not any(site.inbox.put("acme", "prod", segment.encode(one)).fresh for one in segments)
    site.post([posted("node-a", 777, [])])
    site.live.round()
    assert site.live.shelf.index("acme", HOUR).segments == 2 * 14 + 1


def test_an_api_server_that_is_away_keeps_nothing_from_being_booked(tmp_path):
    port, api = free_port(), free_port()
    (tmp_path / "flowcost.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\n[ledger]\npath = "ledger"\n'
        f'[[clusters]]\nname = "prod"\nurl = "http://127.0.0.1:{api}"\n'
    )
    command = [sys.executable, "-m", "flowcost", "serve"]
    words = ["--config", str(tmp_path / "flowcost.toml")]
    url = f"http://127.0.0.1:{port}"
    spool = tmp_path / "node-a" / "spool"
    spool.mkdir(parents=True)
    for number in range(3):
        (spool / f"{number:06}.seg").touch()
    hour = clock.hour_of(datetime.now(UTC) - timedelta(hours=1))
    agent = [sys.executable, "-m", "tests.server.agent_process", str(tmp_path / "node-a"), url]
    with subprocess.Popen([*command, *words], env=ENVIRONMENT) as server:
        try:
            done = subprocess.run([*agent, "node-a", hour.isoformat()], timeout=120, check=False)
            assert done.returncode == 0
            eventually(lambda: booked(url) == {"transmit": 6000, "receive": 600})
        finally:
            server.kill()
