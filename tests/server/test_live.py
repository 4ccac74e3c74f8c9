"""From posts to the ledger: a function of the set of segments, whatever happens on the way."""

import random
import shutil
from datetime import timedelta

import pytest
from msgspec import structs

from flowcost import segment
from flowcost.errors import UsageError
from flowcost.ledger import Ledger, Partition
from flowcost.ledger.query import Selection, costs
from flowcost.model import Direction
from flowcost.pipeline.agent_shelf import AgentShelf
from flowcost.pipeline.hour import Engine, attribute_hour
from flowcost.price import list_book
from flowcost.resolve import aws_ranges
from flowcost.segment import SeenPod
from flowcost.server.inbox import Inbox
from flowcost.server.knowledge import Knowledge
from flowcost.server.live import Live
from flowcost.sources.segments import Received
from tests.server.posting import HOUR, both_ends, flow, posted

LATER = HOUR + timedelta(hours=1)


class Site:
    """One server's insides, that can be stopped and started over the same folder."""

    def __init__(self, folder):
        self.folder = folder
        self.now = HOUR + timedelta(minutes=30)
        self.start()

    def start(self):
        self.ledger = Ledger.open(self.folder, create=True)
        self.inbox = Inbox(self.folder / ".serve", now=lambda: self.now)
        self.live = Live(
            self.ledger,
            self.inbox,
            Knowledge(self.folder),
            list_book(),
            now=lambda: self.now,
        )

    def stop(self):
        self.inbox.close()

    def again(self):
        self.stop()
        self.start()

    def post(self, segments, tenant="acme"):
        for one in segments:
            self.inbox.put(tenant, "prod", segment.encode(one))

    def content(self):
        """Return every manifest as it stands on disk: names are hashes of the data."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.glob("tenant=*/**/manifest.json"))
        }


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "live")
    yield made
    made.stop()


def traffic():
    """Return the segments of two hours: two nodes, growing sums, an odd straggler."""
    made = []
    for number in range(24):
        hour = HOUR if number < 14 else LATER
        made += both_ends(number, 10_000 * (number + 1), at=number * 60, hour=hour)
    return made


def batch(folder, segments, tenant="acme"):
    """Attribute the segments in one go, in the order given; return the ledger's manifests."""
    ledger, shelf = Ledger.open(folder, create=True), AgentShelf(folder)
    received = [Received(tenant, "prod", one, segment.encode(one)) for one in segments]
    with Engine().connect() as con:
        for hour in sorted({one.hour for one in received}):
            index = shelf.fold(con, tenant, hour, [one for one in received if one.hour == hour])
            attribute_hour(con, ledger, index, [aws_ranges.layer()], list_book())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("tenant=*/**/manifest.json"))
    }


def test_what_is_posted_is_in_the_ledger_after_a_round_with_both_legs(site):
    site.post(both_ends(1, 1_000_000))
    site.live.round()
    table = costs(
        site.ledger,
        Selection(tenant="acme"),
        by=("path", "direction", "local.k8s.workload.name", "remote.k8s.workload.name"),
    )
    found = {row[:4]: row[4] for row in table.rows}
    assert found == {
        ("cross_az", "transmit", "cart", "checkout"): 1_000_000,
        ("cross_az", "receive", "checkout", "cart"): 1_000_000,
        ("cross_az", "transmit", "checkout", "cart"): 100_000,
        ("cross_az", "receive", "cart", "checkout"): 100_000,
    }
    state = site.live.state("acme")
    assert state.waiting == 0
    assert state.posted_until == HOUR + timedelta(seconds=5)
    assert state.troubles == ()
    assert site.live.state("other").posted_until is None


@pytest.mark.parametrize("seed", range(4))
def test_order_batching_repeats_and_restarts_change_nothing(tmp_path, seed):
    segments = traffic()
    expected = batch(tmp_path / "batch", segments)
    chance = random.Random(seed)
    posts = segments + chance.choices(segments, k=len(segments) // 2)
    chance.shuffle(posts)
    site = Site(tmp_path / "live")
    while posts:
        size = chance.randint(1, 9)
        site.post(posts[:size])
        del posts[:size]
        what = chance.random()
        if what < 0.6:
            site.live.round()
        elif what < 0.8:
            site.again()
    site.live.round()
    assert site.content() == expected
    site.stop()


def test_a_crash_between_an_hours_part_and_the_inbox_books_nothing_twice(site, tmp_path):
    segments = traffic()
    site.post(segments)
    forget = site.inbox.forget
    site.inbox.forget = lambda _: None
    site.live.round()
    site.inbox.forget = forget
    site.again()
    assert site.inbox.waiting_count == len(segments)
    site.live.round()
    assert site.inbox.waiting_count == 0
    assert site.content() == batch(tmp_path / "batch", segments)


def test_a_crash_before_the_ledger_is_made_good_by_the_next_start(site, tmp_path):
    segments = traffic()
    site.post(segments)
    site.live._attribute = lambda _: (_ for _ in ()).throw(OSError("the machine died"))
    site.live.round()
    assert site.content() == {}
    assert site.live.state("acme").troubles
    assert site.live.state("acme").waiting == len(segments)
    site.again()
    site.live.round()
    assert site.content() == batch(tmp_path / "batch", segments)


def test_a_lost_partition_is_made_again_from_what_was_posted(site, tmp_path):
    segments = traffic()
    site.post(segments)
    site.live.round()
    whole = site.content()
    shutil.rmtree(site.folder / Partition("acme", "prod", HOUR).folder)
    assert site.content() != whole
    site.live.round()
    assert site.content() == whole


def test_late_data_rewrites_its_own_hour_only(site, tmp_path):
    site.post(traffic())
    site.live.round()
    before = site.content()
    site.now = HOUR + timedelta(days=2)
    late = both_ends(900, 77, at=1800)
    site.post(late)
    site.live.round()
    after = site.content()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"{Partition('acme', 'prod', HOUR).folder}/manifest.json"}
    assert after == batch(tmp_path / "batch", traffic() + late)


def test_a_tenants_flows_stay_its_own(site, tmp_path):
    site.post(both_ends(1, 1000), tenant="acme")
    site.post(both_ends(1, 50), tenant="other")
    site.live.round()
    for tenant, size in (("acme", 1000), ("other", 50)):
        table = costs(
            site.ledger, Selection(tenant=tenant, where="direction=transmit"), by=("direction",)
        )
        assert table.rows[0][1] == size + size // 10


def test_one_hours_trouble_is_told_and_stops_no_other(site):
    site.post(traffic())
    site.live.round()
    index = site.live.shelf.folder("acme", HOUR) / "index.json"
    kept = index.read_bytes()
    index.write_bytes(b"{")
    site.post(both_ends(500, 10, at=100) + both_ends(501, 10, at=100, hour=LATER))
    site.live.round()
    state = site.live.state("acme")
    assert any("not the index of an hour" in text for text in state.troubles)
    assert site.inbox.waiting_count == 2
    index.write_bytes(kept)
    site.live.round()
    assert site.live.state("acme").troubles == ()
    assert site.inbox.waiting_count == 0


def test_many_rounds_leave_few_files(site):
    for number in range(40):
        site.post(both_ends(number, 1000, at=number * 5))
        site.live.round()
    index = site.live.shelf.index("acme", HOUR)
    assert index.segments == 80
    assert len(index.of("sums")) <= 10
    assert len(index.of("flows")) <= 2 + 15
    assert sum(part.rows for part in index.of("flows")) == 160


def test_rows_as_posted_expire_and_the_hour_stays_what_it_was(site, tmp_path):
    first, second = traffic(), both_ends(700, 5, at=2000)
    site.post(first)
    site.live.round()
    before = site.content()
    site.now = HOUR + timedelta(days=4)
    later = [posted("node-a", 1, [], epoch=9, hour=HOUR + timedelta(days=3, hours=23))]
    site.post(later)
    site.live.round()
    assert site.live.shelf.index("acme", HOUR).expired
    assert not list(site.live.shelf.folder("acme", HOUR).glob("flows-*"))
    assert {name: site.content()[name] for name in before} == before
    site.post(second)
    site.live.round()
    expected = batch(tmp_path / "batch", first + second)
    assert {name: site.content()[name] for name in expected} == expected


def test_a_servers_clock_that_jumps_ahead_deletes_nothing(site):
    site.post(traffic())
    site.live.round()
    before = site.content()
    site.now = HOUR + timedelta(days=4000)
    site.live.round()
    assert site.content() == before
    assert site.live.shelf.hours("acme") == [HOUR, LATER]
    assert not site.live.shelf.index("acme", HOUR).expired


def test_a_flow_of_bytes_without_addresses_is_kept_as_unknown(site):
    lost = flow("cart", "checkout", Direction.TRANSMIT, 999)
    lost = lost._replace(local_address=bytes(16), remote_address=bytes(16))
    site.post([posted("node-a", 1, [lost])])
    site.live.round()
    table = costs(site.ledger, Selection(tenant="acme"), by=("path", "local.k8s.workload.name"))
    assert [(row[0], row[1], row[2]) for row in table.rows] == [("unknown", "cart", 999)]


def test_an_address_that_changes_hands_inside_the_hour_is_told_apart_exactly(site):
    """The far node's agent says who had the address when; sums over the hour could not."""
    cart = SeenPod(uid="uid-second", namespace="shop", name="second-0", workload_name="second")
    first = flow("checkout", "cart", Direction.TRANSMIT, 300)
    second = flow("cart", "checkout", Direction.TRANSMIT, 40)._replace(local_uid="uid-second")
    site.post(
        [
            posted("node-b", 1, [first], at=0),
            posted("node-a", 1, [flow("cart", "checkout", Direction.TRANSMIT, 1)], at=0),
            posted("node-b", 2, [first], at=1500),
            posted("node-a", 2, [second], at=1500, pods=(cart,)),
            posted("node-b", 3, [first], at=1600),
        ]
    )
    site.live.round()
    table = costs(
        site.ledger,
        Selection(tenant="acme", where="local.k8s.workload.name=checkout"),
        by=("remote.k8s.workload.name",),
    )
    assert {row[0]: row[1] for row in table.rows} == {"cart": 300, "second": 600}


def test_minutes_add_up_to_their_hour_to_the_last_digit(site):
    site.post(traffic())
    site.live.round()
    keys = ("path", "local.k8s.workload.name")
    asked = Selection(tenant="acme", start=HOUR, end=LATER)
    by_hour = {row[:2]: row[2:] for row in costs(site.ledger, asked, by=keys).rows}
    minutes = site.live.minutes(asked, keys).rows
    assert {row[0] for row in minutes} == {f"2026-11-20T10:{n:02}:00Z" for n in range(14)}
    added = {}
    for _, *key, size, cost, unpriced in minutes:
        before = added.get(tuple(key), (0, 0, 0))
        added[tuple(key)] = tuple(map(sum, zip(before, (size, cost, unpriced), strict=True)))
    assert added == by_hour
    five = structs.replace(
        asked, start=HOUR + timedelta(minutes=3), end=HOUR + timedelta(minutes=8)
    )
    assert len({row[0] for row in site.live.minutes(five, keys).rows}) == 5
    assert site.live.minutes(structs.replace(asked, tenant="other"), keys).rows == ()


@pytest.mark.parametrize("hours", [None, 0, 7])
def test_minutes_of_no_interval_or_too_long_a_one_are_refused(site, hours):
    end = None if hours is None else HOUR + timedelta(hours=hours)
    with pytest.raises(UsageError):
        site.live.minutes(Selection(tenant="acme", start=HOUR, end=end), ("path",))


def test_a_round_ends_however_much_is_posted_meanwhile(site):
    numbers = iter(range(1, 1000))
    fold = site.live.shelf.fold

    def busy(*arguments):
        site.post(both_ends(next(numbers), 10))
        return fold(*arguments)

    site.live.shelf.fold = busy
    site.post(both_ends(0, 10))
    site.live.round()
    assert site.content()
    assert site.live.state("acme").posted_until is not None
    assert site.live.state("acme").waiting == 2


def test_troubles_of_the_machine_are_told_to_its_own_tenant(site):
    site.inbox.trouble = "/var/lib/x: no space"
    assert site.live.state("default").troubles == ("/var/lib/x: no space",)
    [told] = site.live.state("acme").troubles
    assert "/var" not in told
