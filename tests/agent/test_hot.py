"""Flows with a place of their own: the same bytes, found faster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcost.address import pack
from flowcost.agent.drained import COUNTERS, KEY4, Table
from flowcost.agent.hot import PLACES, WORTH, busiest, place_of

from .test_capture import settle, total
from .wire import B


def key(number):
    return KEY4.pack(7, pack("10.0.0.1")[12:], number.to_bytes(4), 0, 443, 6, 0, 0)


def table(*packets):
    values = b"".join(COUNTERS.pack(100, sent, 50, received, 1, 0) for sent, received in packets)
    return Table(b"".join(key(row) for row in range(len(packets))), values)


def test_the_busiest_flows_come_first_and_quiet_ones_get_no_place():
    found = busiest(table((WORTH, 0), (0, WORTH - 1), (WORTH, WORTH), (1, WORTH)))
    assert found == [key(2), key(3), key(0)]
    assert busiest(Table()) == []


def test_no_more_than_there_are_places_are_chosen():
    assert len(busiest(table(*[(WORTH, 0)] * (PLACES + 9)))) == PLACES


@given(st.binary(min_size=24, max_size=24))
def test_a_place_is_within_the_array(packed):
    assert 0 <= place_of(packed) < PLACES


def test_places_are_spread():
    taken = {place_of(key(number)) for number in range(PLACES)}
    assert len(taken) > PLACES // 2


@pytest.mark.lab
def test_a_flow_that_goes_on_is_counted_in_its_place_to_the_byte(wire, capture):
    with wire.serve("b", "tcp_server", B, "80"):
        wire.run("a", "requests", B, "80", "200")
        learnt = settle(wire, capture, 4)[1]
        assert busiest(learnt.flows4)
        capture.drain()  # from here on they have their places
        wire.truth()
        wire.run("a", "requests", B, "80", "200")
        generation = capture._generation
        generation.flip()
        in_place, searched = generation.expected(), generation.read()[0]
        truth, drained = settle(wire, capture, 4)
    assert total(drained) == truth
    packets = sum(row[1] + row[3] for row in COUNTERS.iter_unpack(in_place.values))
    assert packets > WORTH
    assert packets > 10 * sum(row[1] + row[3] for row in COUNTERS.iter_unpack(searched.values))
    # What was read is forgotten, in either place.
    assert capture.drain() is None
    assert len(generation.expected()) == 0
