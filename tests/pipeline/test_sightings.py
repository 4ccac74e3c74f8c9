"""What agents saw of their own ends, laid over what else is known of one hour."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from flowcost.address import pack
from flowcost.model import EndKind, Identity
from flowcost.pipeline.sightings import Sighting, lay
from flowcost.resolve import ALWAYS, Claim, Layer, ServiceClaim, timeline
from flowcost.resolve.lookup import lookup
from flowcost.resolve.plans import plans_of

HOUR = datetime(2026, 11, 20, 10, tzinfo=UTC)
END = HOUR + timedelta(hours=1)
IP = pack("10.244.1.5")


def at(minute, second=0):
    return HOUR + timedelta(minutes=minute, seconds=second)


def pod(uid, **more):
    return Identity(
        kind=EndKind.COMPUTE,
        k8s_cluster_name="prod",
        k8s_node_name="node-a",
        k8s_pod_uid=uid,
        k8s_pod_name=uid,
        **more,
    )


def seen(uid, first=0, last=60, address=IP, cluster="prod", identity=None):
    return Sighting(cluster, address, uid, at(first), at(last), identity or pod(uid))


def claim(identity, start=ALWAYS, end=None, address=IP):
    times = {"valid_from": start, **({"valid_to": end} if end else {})}
    return Claim(first=address, last=address, identity=identity, **times)


def kubernetes(*claims, services=()):
    return Layer(source="kubernetes", claims=claims, services=services)


def who(layers, sightings, moment, address=IP):
    laid = lay(layers, sightings, HOUR, sorted({address, IP}))
    return lookup(timeline.build(laid.layers), address, moment)


def test_a_pod_that_only_its_agent_knows_has_its_address_for_the_hour():
    sightings = [seen("a", 20, 40)]
    for minute in (0, 20, 39, 59):
        assert who([], sightings, at(minute)).k8s_pod_uid == "a"


def test_who_was_seen_wins_over_who_is_claimed_and_only_while_seen():
    stale = kubernetes(claim(pod("old", owner_team="x")))
    sightings = [seen("new", 20, 60)]
    assert who([stale], sightings, at(10)).k8s_pod_uid == "old"
    assert who([stale], sightings, at(20)) == pod("new")
    assert who([stale], sightings, at(59)) == pod("new")


def test_a_pod_that_others_know_is_described_in_their_words():
    known = kubernetes(claim(pod("a", owner_team="payments"), at(5)))
    found = who([known], [seen("a", 4, 50)], at(0))
    assert found.owner_team == "payments"


def test_an_address_given_to_another_pod_inside_the_hour_changes_when_it_was_first_seen_there():
    sightings = [seen("a", 0, 20), seen("b", 31, 60)]
    assert who([], sightings, at(30, 59)).k8s_pod_uid == "a"
    assert who([], sightings, at(31)).k8s_pod_uid == "b"


def test_a_claim_that_changes_its_words_keeps_its_times():
    known = kubernetes(
        claim(pod("a", stage="dev"), at(0), at(30)), claim(pod("a", stage="prod"), at(30))
    )
    assert who([known], [seen("a")], at(29)).stage == "dev"
    assert who([known], [seen("a")], at(31)).stage == "prod"


def test_an_address_that_pods_share_is_their_nodes():
    node = Identity(kind=EndKind.COMPUTE, k8s_cluster_name="prod", k8s_node_name="node-a")
    shared = [seen("proxy"), seen("exporter")]
    assert who([], shared, at(10)) == Identity()
    assert who([], [*shared, seen("", identity=node)], at(10)) == node
    known = kubernetes(claim(node))
    assert who([known], [seen("proxy")], at(10)) == node
    laid = lay([known], shared, HOUR, [IP])
    assert {one.k8s_pod_uid for one in laid.unplaced} == {"proxy", "exporter"}


def in_cluster(name, uid):
    return replace(pod(uid), k8s_cluster_name=name)


def met_in(cluster, layers, sightings, moment):
    laid = lay(layers, sightings, HOUR, [IP])
    plans = plans_of(cluster=cluster)
    return lookup(timeline.build(laid.layers), IP, moment, plans).k8s_pod_uid


def test_one_address_in_two_clusters_is_each_ones_own_and_nobodys_elsewhere():
    twice = [
        seen("a", 10, 40, cluster="one", identity=in_cluster("one", "a")),
        seen("b", 20, 50, cluster="two", identity=in_cluster("two", "b")),
    ]
    for minute in (0, 30, 59):
        assert met_in("one", [], twice, at(minute)) == "a"
        assert met_in("two", [], twice, at(minute)) == "b"
        assert met_in("", [], twice, at(minute)) == ""
        assert met_in("three", [], twice, at(minute)) == ""


def test_an_address_that_moves_from_one_cluster_to_another_is_in_one_at_a_time():
    moved = [
        seen("a", 0, 20, cluster="one", identity=in_cluster("one", "a")),
        seen("b", 31, 60, cluster="two", identity=in_cluster("two", "b")),
    ]
    found = {
        cluster: [met_in(cluster, [], moved, at(minute)) for minute in (10, 25, 40)]
        for cluster in ("one", "two", "three")
    }
    assert found == {"one": ["a", "a", "b"], "two": ["a", "b", "b"], "three": ["a", "", "b"]}


def test_clusters_whose_short_sightings_coincide_have_each_its_own():
    short = [
        Sighting(name, IP, uid, at(0), at(0, 5), in_cluster(name, uid))
        for name, uid in (("one", "a"), ("two", "b"))
    ]
    assert met_in("one", [], short, at(0)) == met_in("one", [], short, at(30)) == "a"
    assert met_in("two", [], short, at(0)) == met_in("two", [], short, at(30)) == "b"


def test_a_node_of_one_cluster_leaves_anothers_pod_its_address():
    node = Identity(kind=EndKind.COMPUTE, k8s_cluster_name="one", k8s_node_name="node-a")
    sightings = [seen("b", cluster="two", identity=in_cluster("two", "b"))]
    assert met_in("two", [kubernetes(claim(node))], sightings, at(10)) == "b"
    assert met_in("one", [kubernetes(claim(node))], sightings, at(10)) == ""


def test_claims_that_contradict_each_other_stay_contradicting():
    both = kubernetes(claim(pod("a")), claim(pod("b")))
    assert who([both], [], at(10)).k8s_pod_uid == ""


def test_gaps_between_claims_belong_to_the_one_before():
    known = kubernetes(claim(pod("a"), at(10), at(20)), claim(pod("b"), at(30), at(40)))
    uids = [who([known], [], at(minute)).k8s_pod_uid for minute in (0, 19, 25, 30, 59)]
    assert uids == ["a", "a", "a", "b", "b"]


def test_what_covers_the_address_fills_what_a_sighting_leaves_out():
    subnet = Layer(
        source="subnets",
        claims=(
            Claim(
                first=pack("10.244.0.0"),
                last=pack("10.244.255.255"),
                identity=Identity(cloud_vpc_id="vpc-1", cloud_availability_zone="use1-az1"),
            ),
        ),
    )
    found = who([subnet], [seen("a")], at(1))
    assert (found.k8s_pod_uid, found.cloud_availability_zone) == ("a", "use1-az1")


def test_a_service_has_one_name_for_the_hour():
    services = (
        ServiceClaim(address=IP, name="shop/old", valid_from=ALWAYS, valid_to=at(20)),
        ServiceClaim(address=IP, name="shop/new", valid_from=at(20)),
        ServiceClaim(address=pack("10.96.0.9"), name="shop/late", valid_from=at(50)),
    )
    laid = lay([kubernetes(services=services)], [], HOUR, [])
    named = {
        one.name: (one.valid_from, one.valid_to) for layer in laid.layers for one in layer.services
    }
    assert named == {"shop/old": (HOUR, END), "shop/late": (HOUR, END)}


def test_claims_on_other_addresses_are_left_out():
    other = kubernetes(claim(pod("z"), address=pack("10.9.9.9")), claim(pod("a")))
    laid = lay([other], [], HOUR, [IP])
    assert [one.identity.k8s_pod_uid for layer in laid.layers for one in layer.claims] == ["a"]
