"""An interface that an agent and a flow log both saw is booked once (law 4), whoever comes last."""

from datetime import timedelta

import pytest

from flowcost.ledger import Ledger, Partition
from flowcost.ledger.query import Selection, costs
from flowcost.pipeline.resolved import resolved
from flowcost.pipeline.run import run
from flowcost.pipeline.work import Settings
from flowcost.price import list_book
from flowcost.resolve import aws_ranges, timeline
from flowcost.sources import discover
from flowcost.sources.kernel import Options
from tests.server.posting import HOUR, both_ends
from tests.server.test_live import Site

START = int(HOUR.timestamp())
SPAN = f"{START} {START + 60} ACCEPT OK"
CART, CHECKOUT = "10.244.1.5", "10.244.2.7"
HEADER = (
    "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action"
    " log-status flow-direction pkt-srcaddr pkt-dstaddr"
)
# What the interface of node-a logs of the same bytes, and an interface that has no agent.
LINES = (
    f"eni-a {CART} {CHECKOUT} 40000 8080 6 10 1000000 {SPAN} egress {CART} {CHECKOUT}",
    f"eni-a {CHECKOUT} {CART} 8080 40000 6 10 100000 {SPAN} ingress {CHECKOUT} {CART}",
    f"eni-x 10.0.9.9 10.0.9.10 40000 443 6 10 777 {SPAN} egress 10.0.9.9 10.0.9.10",
)


def read_logs(ledger, folder, lines=LINES):
    """Run over the flow logs beside a ledger; return what the run says."""
    folder.mkdir(exist_ok=True)
    text = "\n".join(lines)
    if not (folder / "a.log").exists():
        (folder / "a.log").write_text(f"{HEADER}\n{text}\n")
    layers = [aws_ranges.layer()]
    return run(
        discover.unique(discover.local(folder))[0],
        resolved(timeline.build(layers)),
        list_book(),
        Ledger.open(ledger, create=True),
        Settings(options=Options(tenant="acme")),
        layers_of=lambda _: layers,
    )


def booked(site):
    table = costs(site.ledger, Selection(tenant="acme"), by=("observer_type", "direction"))
    return {row[:2]: row[2] for row in table.rows}


BOTH = {
    ("node_agent", "transmit"): 1_100_000,
    ("node_agent", "receive"): 1_100_000,
    ("interface", "transmit"): 777,
}


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "live")
    yield made
    made.stop()


def test_logs_after_agents_and_agents_after_logs_leave_one_ledger(site, tmp_path):
    site.post(both_ends(1, 1_000_000))
    site.live.round()
    ran = read_logs(site.folder, tmp_path / "logs")
    assert dict(ran.cross_checked) == {"interface": 1_100_000}
    assert booked(site) == BOTH
    first = site.content()
    assert len(first) == 2

    other = Site(tmp_path / "other")
    read_logs(other.folder, tmp_path / "logs")
    assert booked(other) == {
        ("interface", "transmit"): 1_000_777,
        ("interface", "receive"): 100_000,
    }
    other.post(both_ends(1, 1_000_000))
    other.live.round()
    assert booked(other) == BOTH
    assert other.content() == first
    other.stop()


def test_what_neither_changes_is_left_alone(site, tmp_path):
    site.post(both_ends(1, 1_000_000))
    site.live.round()
    read_logs(site.folder, tmp_path / "logs")
    before = site.content()
    ran = read_logs(site.folder, tmp_path / "logs")
    assert (ran.hours, ran.files_read) == (0, 0)
    site.live.round()
    assert site.live._dirty == set()
    assert site.content() == before


def test_a_partition_of_logs_that_agents_cover_whole_goes(site, tmp_path):
    folder = tmp_path / "logs"
    read_logs(site.folder, folder, LINES[:2])
    alone = Partition("acme", "", HOUR)
    assert site.ledger.manifest(alone) is not None
    site.post(both_ends(1, 1_000_000))
    site.now = HOUR + timedelta(minutes=40)
    site.live.round()
    assert site.ledger.manifest(alone) is None
    assert {kind for kind, _ in booked(site)} == {"node_agent"}


def test_logs_of_an_hour_whose_segments_are_gone_are_a_finding_and_change_nothing(tmp_path):
    site = Site(tmp_path / "live")
    site.post(both_ends(1, 1_000_000))
    site.live.round()
    before = booked(site)
    site.live.shelf.drop("acme", HOUR)
    ran = read_logs(site.folder, tmp_path / "logs")
    assert booked(site) == before
    [found] = [one for one in ran.findings if one.code == "flow-log-too-late"]
    assert (found.subject, found.count) == ("hour 2026-11-20T10:00:00Z", 3)
    site.stop()
