from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flowcost import money
from flowcost.agent.attribution import LOST, OVERFLOW, Line
from flowcost.agent.tally import OTHER, PathKey, PeerKey, Tally, local_labels, peer_labels
from flowcost.model import Direction, EndKind, Identity, Path, Verdict

CROSS_AZ = Verdict(path=Path.CROSS_AZ, rule="r")
SAME_ZONE = Verdict(path=Path.SAME_ZONE, rule="r")
UNKNOWN = Verdict(path=Path.UNKNOWN, rule="r", priced=False)
CENT = money.ONE // 100 // money.GIB


def pod(name, namespace="shop"):
    return Identity(
        kind=EndKind.COMPUTE,
        k8s_namespace_name=namespace,
        k8s_workload_kind="Deployment",
        k8s_workload_name=name,
        k8s_pod_name=f"{name}-0",
        k8s_pod_uid=f"uid-{name}",
    )


CART = pod("cart")


def line(peer="checkout", size=100, verdict=CROSS_AZ, direction=Direction.TRANSMIT, **changes):
    priced = verdict.priced
    made = Line(
        CART,
        pod(peer),
        f"shop/{peer}",
        "",
        direction,
        verdict,
        size,
        1,
        size * CENT if priced and verdict.path is Path.CROSS_AZ else 0,
        0 if priced else size,
    )
    return replace(made, **changes)


def shown_bytes(tally):
    return sum(total.bytes for sums in tally.peers.values() for total in sums.values())


def test_every_grouping_sums_to_the_same_bytes():
    tally = Tally()
    tally.take([line(), line("stock", 50), line(size=7, verdict=UNKNOWN)], 0.0)
    assert sum(total.bytes for total in tally.paths.values()) == 157
    assert sum(total.bytes for total in tally.pods.values()) == 157
    assert shown_bytes(tally) == 157


def test_cost_and_unpriced_bytes_stay_apart():
    tally = Tally()
    tally.take([line(size=1000), line(size=7, verdict=UNKNOWN)], 0.0)
    known = tally.paths[PathKey(Path.CROSS_AZ, Direction.TRANSMIT)]
    unknown = tally.paths[PathKey(Path.UNKNOWN, Direction.TRANSMIT)]
    assert (known.cost, known.unpriced_bytes) == (1000 * CENT, 0)
    assert (unknown.cost, unknown.unpriced_bytes) == (0, 7)


def test_conversations_beyond_the_top_are_summed_in_other():
    tally = Tally(top=2)
    tally.take([line("a", 300), line("b", 200), line("c", 100), line("d", 1)], 0.0)
    assert {peer.peer for peer in tally.peers} == {"a", "b", OTHER}
    other = tally.peers[PeerKey("shop", "cart", "", OTHER)]
    assert sum(total.bytes for total in other.values()) == 101


def test_a_heavy_newcomer_takes_the_place_of_a_silent_conversation():
    tally = Tally(top=2)
    tally.take([line("a", 300), line("b", 200)], 0.0)
    tally.take([line("a", 300), line("c", 5000)], 5.0)
    assert {peer.peer for peer in tally.peers} == {"a", "c"}


def test_an_active_conversation_keeps_its_place():
    tally = Tally(top=1)
    tally.take([line("a", 300)], 0.0)
    tally.take([line("a", 1), line("b", 5000)], 5.0)
    assert {peer.peer for peer in tally.peers} == {"a", OTHER}


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 10_000)), min_size=1, max_size=6
        ),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_increases_of_conversations_add_up_to_the_increase_of_the_totals(rounds, top):
    """What a monitoring system computes: per series, new value minus old (0 if it is new)."""
    tally = Tally(top=top)
    seen = {}
    for number, one in enumerate(rounds):
        tally.take([line(peer, size) for peer, size in one], float(number))
        now = {
            (peer, path): total.bytes
            for peer, sums in tally.peers.items()
            for path, total in sums.items()
        }
        increase = sum(value - seen.get(key, 0) for key, value in now.items())
        gone = {key for key in seen if key not in now}
        assert all(now[key] >= seen[key] for key in seen.keys() - gone)
        assert increase == sum(size for _, size in one)
        seen = now
    assert sum(peer.peer != OTHER for peer in tally.peers) <= top


def test_a_dead_pods_series_stay_for_two_scrapes_and_then_leave():
    tally = Tally(keep_s=900.0)
    tally.take([line()], 0.0)
    tally.take([], 899.0)
    assert tally.pods
    assert tally.peers
    tally.take([], 901.0)
    assert not tally.pods
    assert not tally.peers
    assert tally.paths[PathKey(Path.CROSS_AZ, Direction.TRANSMIT)].bytes == 100


def test_overflow_is_shown_by_pod():
    tally = Tally()
    tally.take([line(verdict=OVERFLOW, remote=Identity(), dialed="")], 0.0)
    (key,) = tally.overflow
    assert (key.namespace, key.pod) == ("shop", "cart-0")


def test_unclassified_bytes_are_in_no_class_that_another_tool_would_price():
    tally = Tally()
    tally.take([line(verdict=UNKNOWN), line(verdict=LOST), line(size=5)], 0.0)
    assert [total.bytes for total in tally.classes.values()] == [5]


def test_classes_are_those_that_opencost_prices():
    internet = Verdict(path=Path.INTERNET_EGRESS, rule="r")
    nat = Verdict(path=Path.NAT_GATEWAY, rule="r")
    region = Verdict(path=Path.CROSS_REGION, rule="r")
    tally = Tally()
    for verdict in (SAME_ZONE, CROSS_AZ, region, internet, nat):
        tally.take([line(verdict=verdict, cost=0 if verdict is SAME_ZONE else 1)], 0.0)
    classes = {
        (key.internet, key.same_zone, key.same_region, key.nat_gateway) for key in tally.classes
    }
    assert classes == {
        (False, True, True, False),
        (False, False, True, False),
        (False, False, False, False),
        (True, False, False, False),
        (True, False, False, True),
    }


def test_a_peer_is_called_by_the_best_name_there_is():
    nobody = Identity()
    assert peer_labels(line()) == ("shop", "checkout")
    assert peer_labels(line(dialed="", remote=pod("stock", "depot"))) == ("depot", "stock")
    assert peer_labels(line(dialed="", remote=nobody, name="api.stripe.com"))[1] == "api.stripe.com"
    assert peer_labels(line(dialed="", remote=nobody))[1] == "cross_az"


def test_a_pod_that_is_not_known_yet_shows_its_uid_and_a_unit_its_path():
    assert local_labels(Identity(k8s_pod_uid="u-1")) == ("", "", "u-1")
    assert local_labels(Identity(service_name="/system.slice/sshd.service")) == (
        "",
        "/system.slice/sshd.service",
        "",
    )
