import pytest

from flowcost.address import pack
from flowcost.agent.drained import COUNTERS, KEY4, KEY6, Drained, Lost, Table, decode, encode
from flowcost.agent.initiators import Initiators
from flowcost.agent.spool import Spool
from flowcost.errors import NotPermittedError, SourceError
from flowcost.model import Direction, Initiator

V4 = (7, pack("10.0.0.1")[12:], pack("10.0.0.2")[12:], 0, 443, 6, 0, 0)
V6 = (8, pack("fd00::1"), pack("fd00::2"), 41000, 80, 6, 1, 0)


def drained(sequence=1, counters=(100, 2, 50, 1, 1, 0)):
    return Drained(
        boot="b",
        epoch=5,
        sequence=sequence,
        window_start=1,
        window_end=2,
        flows4=Table(KEY4.pack(*V4), COUNTERS.pack(*counters)),
        flows6=Table(KEY6.pack(*V6), COUNTERS.pack(9, 1, 0, 0, 0, 0)),
    )


def test_a_segment_reads_back_as_it_was_written(tmp_path):
    spool = Spool(tmp_path / "spool")
    path = spool.write(drained())
    assert list(spool.pending()) == []
    spool.settle(path)
    [(settled, segment)] = spool.pending()
    assert segment == drained()
    spool.remove(settled)
    assert list(spool.pending()) == []


def test_rows_become_flows_of_both_directions_with_16_byte_addresses():
    flows = list(drained().flows())
    assert [(f.direction, f.bytes, f.packets) for f in flows] == [
        (Direction.TRANSMIT, 100, 2),
        (Direction.RECEIVE, 50, 1),
        (Direction.TRANSMIT, 9, 1),
    ]
    assert flows[0].local_address == pack("10.0.0.1")
    assert flows[0].initiator is Initiator.LOCAL
    assert flows[2].initiator is Initiator.UNKNOWN
    assert flows[2].service
    assert not flows[0].service


def test_the_initiator_of_a_long_connection_is_remembered_from_its_handshake():
    roles = Initiators()
    list(drained().flows(roles))
    later = list(drained(2, (100, 2, 50, 1, 0, 0)).flows(roles))
    assert later[0].initiator is Initiator.LOCAL


def test_a_port_that_was_dialed_serves_every_peer_and_old_facts_are_forgotten():
    roles = Initiators(limit=2)

    def ask(port, remote=0, *, address=b"a"):
        return roles.of(
            cgroup=1,
            local_port=port,
            remote=(address, 0),
            local_handshakes=0,
            remote_handshakes=remote,
        )

    assert ask(80, 1) is Initiator.REMOTE
    assert ask(80, address=b"b") is Initiator.REMOTE
    ask(81, 1)
    ask(82, 1)
    assert ask(80) is Initiator.UNKNOWN


def test_two_agents_cannot_hold_one_spool(tmp_path):
    first = Spool(tmp_path)
    with pytest.raises(NotPermittedError, match="another agent"):
        Spool(tmp_path)
    first.close()
    Spool(tmp_path).close()


def test_a_damaged_segment_names_its_file(tmp_path):
    with pytest.raises(SourceError, match=r"x\.seg"):
        decode(encode(drained())[:-9], "x.seg")
    short = Drained(
        boot="b", epoch=1, sequence=1, window_start=0, window_end=0, flows4=Table(b"1", b"2")
    )
    with pytest.raises(SourceError, match="cut short"):
        decode(encode(short), "x.seg")
    newer = Drained(version=9, boot="b", epoch=1, sequence=1, window_start=0, window_end=0)
    with pytest.raises(SourceError, match="version 9"):
        decode(encode(newer), "x.seg")


def test_a_half_written_file_is_thrown_away_at_the_next_start(tmp_path):
    (tmp_path / "x.tmp").write_bytes(b"half")
    Spool(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_damaged_segment_is_set_aside_and_stops_none_of_the_others(tmp_path):
    spool = Spool(tmp_path)
    for sequence in (1, 2, 3):
        path = spool.settle(spool.write(drained(sequence)))
        if sequence == 2:
            path.write_bytes(b"noise")
    assert [segment.sequence for _, segment in spool.pending()] == [1, 3]
    assert spool.damaged() == 1
    assert [segment.sequence for _, segment in spool.pending()] == [1, 3]
    assert [path.read_bytes() for path in spool.quarantine.iterdir()] == [b"noise"]
    spool.close()
    assert Spool(tmp_path).damaged() == 1


def test_what_was_lost_since_the_drain_before_is_a_difference():
    now, before = Lost(500, 5, 70, 1, 3), Lost(200, 2, 70, 1, 1)
    segment = Drained(
        boot="b", epoch=1, sequence=1, window_start=0, window_end=1, lost=now, lost_before=before
    )
    assert segment.lost_since() == Lost(300, 3, 0, 0, 2)
