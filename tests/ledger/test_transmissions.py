"""What was sent is counted once, and what is kept of it never shows: a plain count is the judge."""

import gc
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.conftest import CART, CHECKOUT, INTERNET, REPLICA, charge, put, write

from flowcost import address, clock
from flowcost.ledger import Ledger, Partition, tally
from flowcost.ledger.filter import In, Or
from flowcost.ledger.levels import DAYS, TRAFFIC, WORKLOAD_HOURS
from flowcost.ledger.query import Selection
from flowcost.ledger.retention import prune
from flowcost.ledger.rollup import roll_up
from flowcost.ledger.transmissions import Cut, Sent, transmissions
from flowcost.model import EndKind, Identity

START = datetime(2026, 11, 1, tzinfo=UTC)
HOURS = [START + timedelta(hours=number) for number in (0, 1, 23, 24, 30, 47, 48, 50, 75)]
ENDS = (
    CART,
    replace(CART, k8s_pod_name="cart-1"),  # another pod of one workload
    replace(CART, k8s_pod_name="cart-2", cloud_availability_zone="use1-az2"),
    CHECKOUT,
    replace(CHECKOUT, owner_team="", service_name="", cloud_region="eu-west-1"),
    REPLICA,
    INTERNET,
    Identity(kind=EndKind.UNKNOWN),
)
ADDRESSES = (None, address.pack("10.1.2.3"), address.pack("8.8.8.8"), address.pack("2600::1"))
CLASS = ("path", "src_zone", "src_region", "dst_zone", "dst_region", "dst_internet")
TEAMS = ("payments", "nobody")
SCOPE = Or(tuple(In(f"{end}.owner.team", TEAMS) for end in ("local", "remote")))


def asked(start):
    return (
        Cut(by=("service", "team", *CLASS)),
        Cut(by=("service", *CLASS), start=start),
        Cut(by=("hour", *CLASS), start=start),
    )


def end_of(who):
    fields = ("k8s_namespace_name", "k8s_workload_name", "service_name", "owner_team",
              "cloud_availability_zone", "cloud_region")  # fmt: skip
    return tuple(getattr(who, field) for field in fields)


def counted(rows, cut, within=None, pruned=clock.EARLIEST):
    """Count by hand: per pair of ends and hour the larger side, then summed by the cut."""
    sides = defaultdict(lambda: [0, 0])
    for row in rows:
        local, remote, out = row["local"], row["remote"], row["direction"] == "transmit"
        if row["provenance"] != "observed":
            continue
        if within and not {"payments"} & {local.owner_team, remote.owner_team}:
            continue
        hour = clock.day_of(row["hour"]) if row["hour"] < pruned else row["hour"]
        far = row["remote_address"]
        outside = remote.kind == "internet" or far in ADDRESSES[2:]
        internet = bool(row["path"] == "unknown" and out and outside)
        ends = (local, remote) if out else (remote, local)
        key = row["path"], hour.replace(tzinfo=None), *map(end_of, ends), internet
        sides[key][0 if out else 1] += row["bytes"]
    sums = defaultdict(int)
    start = (cut.start or clock.EARLIEST).replace(tzinfo=None)
    for (path, hour, src, dst, internet), (sent, received) in sides.items():
        behind = dst if path == "internet_ingress" else src
        fields = {
            "path": path, "hour": hour, "service": behind[2], "team": behind[3],
            "src_zone": src[4], "src_region": src[5], "dst_zone": dst[4], "dst_region": dst[5],
            "dst_internet": internet,
        }  # fmt: skip
        if hour >= start and max(sent, received):
            sums[tuple(fields[name] for name in cut.by)] += max(sent, received)
    return [
        Sent(**dict(zip(cut.by, key, strict=True)), bytes=size)
        for key, size in sorted(sums.items())
    ]


rows_of_an_hour = st.lists(
    st.fixed_dictionaries(
        {
            "path": st.sampled_from(["cross_az", "same_zone", "internet_ingress", "unknown"]),
            "direction": st.sampled_from(["transmit", "receive"]),
            "provenance": st.sampled_from(["observed", "observed", "observed", "implied"]),
            "local": st.sampled_from(ENDS),
            "remote": st.sampled_from(ENDS),
            "remote_address": st.sampled_from(ADDRESSES),
            "bytes": st.sampled_from([0, 1, 7, 1000, 2**53 + 1]),
        }
    ),
    max_size=8,
)
partitions = st.builds(
    lambda cluster, hour: Partition("t1", cluster, hour),
    st.sampled_from(["prod", "test"]),
    st.sampled_from(HOURS),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), partitions, rows_of_an_hour),
        st.tuples(st.just("put"), partitions, rows_of_an_hour),
        st.tuples(st.just("drop"), partitions, st.none()),
        st.tuples(st.just("roll up"), st.sampled_from(HOURS), st.none()),
        st.tuples(st.just("prune"), st.sampled_from(HOURS[:5]), st.none()),
        st.tuples(st.just("ask"), st.sampled_from([None, *HOURS]), st.none()),
    ),
    min_size=4,
    max_size=10,
)


@settings(max_examples=8, phases=[Phase.generate])  # shrinking takes minutes
@given(
    first=st.dictionaries(partitions, rows_of_an_hour, min_size=3, max_size=8),
    steps=steps,
    start=st.sampled_from([None, *HOURS]),
)
def test_every_answer_is_the_plain_count(tmp_path_factory, first, steps, start):
    """Late data, roll-ups, pruned and vanished hours, windows that move: in whatever order."""
    root = tmp_path_factory.mktemp("changing") / "ledger"
    server = Ledger(Ledger.open(root, create=True).root, shared=True)
    held = {}

    def written(partition, rows):
        held[partition] = [
            charge(**{"hour": partition.hour, "cluster": partition.cluster} | row) for row in rows
        ]
        put(server, partition, held[partition])

    for partition, rows in first.items():
        written(partition, rows)
    for what, subject, rows in [("ask", start, None), *steps, ("ask", start, None)]:
        retired = server.shelves.retired()
        match what:
            case "put" if not retired.has(subject.hour):
                written(subject, rows)
            case "drop" if not retired.has(subject.hour) and subject in held:
                server.drop(subject)
                del held[subject]
            case "roll up":
                roll_up(server, closed_before=subject)
            case "prune":
                prune(server, hours_before=subject)
            case "ask":
                everything = [row for rows in held.values() for row in rows]
                for within in (None, SCOPE):
                    asker, cuts = Selection(tenant="t1", within=within), asked(subject)
                    found = transmissions(server, asker, *cuts)
                    by_hand = [
                        counted(everything, cut, within, server.shelves.retired().kept_from)
                        for cut in cuts
                    ]
                    assert found == by_hand
                    assert found == transmissions(Ledger(root), asker, *cuts)


@pytest.fixture
def server(tmp_path):
    rows = [
        charge("cross_az", hour=hour, bytes=size, remote=who)
        for size, hour in enumerate(HOURS, 1)
        for who in (CHECKOUT, REPLICA)
    ]
    return Ledger(write(tmp_path / "ledger", rows).root, shared=True)


@pytest.fixture
def read(monkeypatch):
    """Return the hours that were read of the ledger, as they are."""
    found = []
    insert = tally.once.insert

    def noted(con, hours, within):
        found.extend(hours)
        insert(con, hours, within)

    monkeypatch.setattr(tally.once, "insert", noted)
    return found


def test_only_the_hours_that_changed_are_read_again(server, read):
    def ask(start=HOURS[3], within=None):
        read.clear()
        transmissions(server, Selection(tenant="t1", within=within), *asked(start))
        return sorted(read)

    every = [clock.iso(hour) for hour in HOURS]
    assert ask() == every
    assert ask() == []
    roll_up(server, closed_before=HOURS[-1])
    assert ask() == []  # the same hours, in other files
    put(server, Partition("t1", "prod", HOURS[5]), [charge("same_zone", hour=HOURS[5], bytes=1)])
    assert ask() == [every[5]]
    put(server, Partition("t1", "test", HOURS[1]), [charge("same_zone", hour=HOURS[1], bytes=1)])
    assert ask() == every[:3]  # a day that is kept whole is read whole
    assert ask(HOURS[6]) == []  # the window moved on
    assert ask(HOURS[3]) == []  # and nothing was thrown away before something else changed
    server.drop(Partition("t1", "prod", HOURS[-1]))
    assert ask(HOURS[6]) == []
    assert ask(HOURS[3]) == every[3:6]  # by now those days were kept whole
    assert ask(within=SCOPE) == [*every[:-1]]


def test_a_tenant_is_named(server):
    with pytest.raises(ValueError, match="no tenant"):
        transmissions(server, Selection(), *asked(None))


def test_many_threads_ask_at_once(server, read):
    plain = transmissions(Ledger(server.root), Selection(tenant="t1"), *asked(HOURS[4]))
    read.clear()
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda _: transmissions(server, Selection(tenant="t1"), *asked(HOURS[4])), range(16)
        )
        assert all(each == plain for each in found)
    assert len(read) == len(HOURS)  # one reads, the others wait for it


def test_what_is_too_much_is_forgotten(server, read, monkeypatch):
    monkeypatch.setattr(server, "tallies", tally.Tallies(server.engine, rows=3))
    for _ in range(2):
        found = transmissions(server, Selection(tenant="t1"), *asked(None))
        assert found == transmissions(Ledger(server.root), Selection(tenant="t1"), *asked(None))
    assert len(read) == 4 * len(HOURS)
    gc.collect()
    with server.engine.connect() as con:
        assert not con.execute("FROM duckdb_tables() WHERE schema_name LIKE 'tally%'").fetchall()


def test_a_day_that_was_rolled_up_is_read_from_what_was_sent(server, monkeypatch):
    found = []
    attach = tally.attach_held

    def noted(con, held):
        found.extend(one.folder.relative_to(server.root).parts[1] for one in held)
        attach(con, held)

    monkeypatch.setattr(tally, "attach_held", noted)

    def shelves(within=None):
        found.clear()
        asker = Selection(tenant="t1", within=within)
        answer = transmissions(Ledger(server.root), asker, *asked(HOURS[4]))
        return answer, set(found)

    plain, _ = shelves()
    scoped, _ = shelves(SCOPE)
    roll_up(server, closed_before=HOURS[-1])
    assert shelves() == (plain, {TRAFFIC, "cluster=prod"})  # the last hour is open
    assert shelves(SCOPE) == (scoped, {WORKLOAD_HOURS.name, "cluster=prod"})
    roll_up(server, closed_before=HOURS[-1] + clock.HOUR)
    assert shelves() == (plain, {TRAFFIC})
    before = server.shelves.traffic.held(listed=True)
    roll_up(server, closed_before=HOURS[-1] + clock.HOUR)
    assert server.shelves.traffic.held(listed=True) == before
    assert server.verify() == []
    put(server, Partition("t1", "prod", HOURS[0]), [charge("same_zone", hour=HOURS[0], bytes=1)])
    assert shelves()[1] == {TRAFFIC, "cluster=prod"}
    prune(server, hours_before=HOURS[3])
    assert shelves()[1] == {TRAFFIC, DAYS.name}
    assert len(server.shelves.traffic.held(listed=True)) == len(before) - 1
