"""Posting against a real server on loopback that misbehaves in every way it can."""

import logging
import time

import pytest
from msgspec.structs import replace

from flowcost.agent.endpoint import Endpoint
from flowcost.agent.poster import FIRST_S, LONGEST_S, REFUSED_S, STUBBORN, Poster
from flowcost.errors import UsageError
from tests.agent import ingest as servers
from tests.agent.test_outbox import Box, flow


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


@pytest.fixture
def make(token_file):
    """Make posters of outboxes to URLs."""
    made = []

    def poster(box, url, *, jitter=1.0, **options):
        endpoint = Endpoint(url, what="Flowcost server", token_file=token_file, **options)
        made.append(Poster(box.outbox, endpoint, jitter=lambda: jitter))
        return made[-1]

    yield poster
    for one in made:
        one.close(0.0)


@pytest.fixture
def poster(box, ingest, make):
    return make(box, ingest.url)


def drain(poster, steps=200):
    """Post until nothing waits, not minding the pauses; return the pauses asked for."""
    pauses = []
    for _ in range(steps):
        pause = poster.step()
        if pause is None:
            return pauses
        pauses.append(pause)
    pytest.fail(f"still waiting after {steps} attempts: {poster.status}")


def fill(box, count):
    for number in range(count):
        box.put(flow(1 << number), at=number)
    return (1 << count) - 1


def received(ingest):
    return sum(flow.bytes for flow in ingest.ingest.flows())


def test_segments_arrive_oldest_first_and_leave_when_acknowledged(box, ingest, poster):
    sent = fill(box, 5)
    assert drain(poster) == [0.0] * 5
    assert received(ingest) == sent
    assert ingest.ingest.posts == sorted(ingest.ingest.posts)
    assert len(box.outbox) == 0
    assert poster.status.segments == 5
    assert poster.step() is None


MOODS = [500, 502, 503, 429, 401, 403, 404, 400, 301, "hang", "reset", "refuse to answer", "lie"]


@pytest.mark.parametrize("mood", MOODS)
def test_whatever_goes_wrong_the_segment_stays_and_arrives_once(box, ingest, make, mood, caplog):
    poster = make(box, ingest.url, timeout_s=0.5 if mood == "hang" else 20.0)
    sent = fill(box, 2)
    ingest.ingest.moods = [mood, mood]
    pauses = drain(poster)
    assert received(ingest) == sent
    assert ingest.ingest.repeated == (2 if mood == "reset" else 0)
    assert sum(poster.status.failures.values()) == 2
    assert [pause > 0 for pause in pauses] == [True, True, False, False]
    assert servers.TOKEN not in caplog.text


def test_pauses_double_up_to_a_minute_and_begin_anew_after_success(box, ingest, poster):
    fill(box, 2)
    ingest.ingest.moods = [503] * 9
    pauses = drain(poster)
    assert pauses[:9] == [min(LONGEST_S, FIRST_S * 2**n) for n in range(9)]
    fill(box, 1)
    ingest.ingest.moods = [503]
    assert drain(poster)[0] == FIRST_S


def test_pauses_differ_between_agents(box, ingest, make):
    fill(box, 1)
    ingest.ingest.moods = [500]
    assert make(box, ingest.url, jitter=0.0).step() == FIRST_S / 2


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_how_long_to_wait(box, ingest, poster, status):
    fill(box, 1)
    ingest.ingest.moods = [
        (status, {"Retry-After": "17"}),
        (status, {"Retry-After": "99999999"}),
        (status, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        (status, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}),
        (status, {"Retry-After": "soon"}),
    ]
    pauses = drain(poster)
    assert 17 <= pauses[0] < 18
    assert 3600 <= pauses[1] < 3602
    assert all(pause < LONGEST_S for pause in pauses[2:])


def test_a_refused_token_is_said_once_and_tried_slowly(box, ingest, poster, token_file, caplog):
    sent = fill(box, 3)
    token_file.write_text("revoked")
    with caplog.at_level(logging.INFO, "flowcost.agent"):
        for _ in range(20):
            pause = poster.step()
        token_file.write_text(servers.TOKEN)  # rotated: no restart is needed
        drain(poster)
    assert LONGEST_S < pause <= REFUSED_S
    assert poster.status.failures == {"401": 20}
    assert caplog.text.count("answered 401") == 1
    assert "takes segments again" in caplog.text
    assert "revoked" not in caplog.text
    assert received(ingest) == sent


def test_a_token_file_that_is_gone_is_named_and_tried_again(box, ingest, poster, token_file):
    fill(box, 1)
    token_file.unlink()
    assert poster.step() > 0
    assert "token" in poster.status.said
    token_file.write_text(servers.TOKEN)
    drain(poster)


def test_what_the_server_refuses_is_set_aside_and_stops_nothing(box, ingest, poster):
    fill(box, 3)
    (_, victim, _) = box.outbox.entries()
    box.outbox.path(victim).write_bytes(b"noise")
    drain(poster)
    assert received(ingest) == 1 + 4
    assert box.outbox.set_aside() == 1
    assert poster.status.failures == {"422": 1}


def test_a_segment_too_large_is_halved_until_it_fits(box, ingest, poster):
    flows = [
        flow(1 << number, remote=f"10.0.1.{number}", local_uid=f"u{number % 3}")
        for number in range(50)
    ]
    box.put(*flows)
    ingest.ingest.most_flows = 7
    drain(poster)
    assert sorted(f.bytes for f in ingest.ingest.flows()) == [f.bytes for f in flows]
    assert len(ingest.ingest.segments) == 8
    for one in ingest.ingest.segments.values():
        assert {pod.uid for pod in one.pods} <= {f.local_uid for f in one.flows}


def test_a_single_flow_too_large_is_set_aside_in_the_end(box, ingest, poster):
    box.put(flow(1), flow(2, remote="10.0.0.9"))
    ingest.ingest.most_flows = 0
    drain(poster)
    assert box.outbox.set_aside() == 2


def test_a_segment_the_server_chokes_on_does_not_hold_up_the_others(box, ingest, poster):
    fill(box, 6)
    poison = box.outbox.entries()[0]
    ingest.ingest.moods_of = {poison.identity: 500}
    for _ in range(40):
        poster.step()
    assert received(ingest) == 63 - 1
    assert box.outbox.entries() == [poison]
    ingest.ingest.moods_of = {}
    drain(poster)
    assert received(ingest) == 63


def test_a_server_that_fails_on_everything_is_no_reason_to_pass_over_anything(box, ingest, poster):
    fill(box, 4)
    ingest.ingest.moods = [500] * (4 * STUBBORN)
    drain(poster)
    # The second was tried while the first failed; then everything goes on in order.
    assert [identity[1] for identity in ingest.ingest.posts[-4:]] == [2, 1, 3, 4]


def test_a_long_outage_then_a_restart_of_both_sides(box, make):
    server = servers.serve()
    port, ingest = server.server_port, server.ingest
    poster = make(box, server.url)
    sent = fill(box, 3)
    drain(poster)
    servers.stop(server)
    for number in range(3, 30):
        box.put(flow(1 << number), at=number)
        assert poster.step() > 0
    box.open(epoch=2)  # the agent is started anew
    poster = make(box, f"http://127.0.0.1:{port}")
    sent = (1 << 30) - 1
    server = servers.serve(port, ingest)
    drain(poster)
    servers.stop(server)
    assert sum(flow.bytes for flow in ingest.flows()) == sent


def test_a_kept_connection_that_the_server_closed_is_opened_again(box, make):
    server = servers.serve()
    poster = make(box, server.url)
    fill(box, 1)
    drain(poster)
    port, ingest = server.server_port, server.ingest
    poster._endpoint._connection.sock.shutdown(2)
    box.put(flow(), at=9)
    assert drain(poster) == [0.0]
    assert len(ingest.segments) == 2
    servers.stop(server)
    assert port


def test_the_thread_posts_what_comes_and_ends_in_time(box, ingest, poster):
    poster.start()
    fill(box, 3)
    poster.wake()
    deadline = time.monotonic() + 5
    while len(box.outbox) and time.monotonic() < deadline:
        time.sleep(0.01)
    box.put(flow(1 << 40), at=99)
    poster.close(5.0)
    assert not poster._thread.is_alive()
    assert received(ingest) == 7 + (1 << 40)


def test_over_tls_only_a_server_the_authority_vouches_for_gets_the_token(
    box, serve, make, certificate
):
    def answer(method, path, headers):
        return 500, b""

    url, asked = serve(answer, tls=certificate)
    fill(box, 1)
    stranger = make(box, url)
    stranger.step()
    assert "certificate" in stranger.status.said.lower()
    assert asked == []
    trusted = make(box, url, ca_file=certificate[0])
    trusted.step()
    assert trusted.status.failures == {"500": 1}
    assert asked[0][2]["Authorization"] == f"Bearer {servers.TOKEN}"


def test_the_url_may_have_a_path(box, serve, make):
    url, asked = serve(lambda *_: (503, b""))
    fill(box, 1)
    make(box, url + "/flowcost/").step()
    assert asked[0][:2] == ("POST", "/flowcost/v1/segments")


def test_something_that_is_no_url_is_refused():
    with pytest.raises(UsageError, match="not the URL of a Flowcost server"):
        Endpoint("server:8080", what="Flowcost server")


def test_one_identity_always_carries_the_same_content(box, ingest, poster):
    """What the server side relies on; the small server here asserts it for every repetition."""
    sent = fill(box, 4)
    ingest.ingest.moods = ["reset"] * 8
    drain(poster)
    assert ingest.ingest.repeated >= 4
    assert received(ingest) == sent
    (one, *_) = ingest.ingest.segments.values()
    assert replace(one, sequence=99) != one
