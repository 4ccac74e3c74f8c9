"""A cluster followed over real HTTP, through everything that breaks."""

from __future__ import annotations

import json
import resource
import sqlite3
import time
from pathlib import Path

import pytest
from benchmarks import gen_cluster
from benchmarks.kubernetes_server import answered, html, lines, refuse, silent

from flowcost.address import pack
from flowcost.clock import parse
from flowcost.resolve import kubernetes_watch, recorded
from flowcost.resolve.chronicle import Chronicle
from flowcost.resolve.inventory import Inventory
from flowcost.resolve.kubernetes_facts import RESOURCES
from flowcost.resolve.kubernetes_watch import Patience
from tests.resolve.kubernetes_world import FAR, ended, made, minute, pod, service, slice_of


@pytest.fixture
def world(tmp_path):
    with made(tmp_path / "identities") as one:
        yield one


def test_a_list_in_pages_then_a_watch(world):
    for number in range(7):
        world.server.put("pods", pod(f"cart-{number}", f"10.1.0.{number}", minute(-60)))
    world.start(page=3)
    assert world.state.pods == 7
    assert world.server.count("list", "pods") == 3
    world.at = minute(1)
    world.server.put("pods", pod("stock-0", "10.1.0.9", minute(0.5)))
    world.settled()
    who = world.who("10.1.0.9", minute(2))
    assert (who.k8s_workload_kind, who.k8s_workload_name) == ("Deployment", "stock-0")
    assert (who.cloud_availability_zone, who.k8s_node_name) == ("use1-az1", "node-1")
    assert (who.owner_team, who.k8s_cluster_name) == ("basket", "prod")
    assert world.pod_at("10.1.0.9", minute(0.4)) == ""
    assert world.pod_at("10.1.0.3", minute(-30)) == "cart-3"
    assert world.pod_at("10.1.0.3", minute(-61)) == ""
    assert world.who("10.0.0.1", minute(-1)).k8s_node_name == "node-1"
    assert world.server.count("list", "pods") == 3


def test_an_address_that_another_pod_takes_over_is_exact(world):
    world.server.put("pods", pod("old", "10.1.0.1", minute(-60)))
    world.start()
    world.at = minute(10)
    world.server.delete("pods", "shop/old", **ended(minute(9)))
    world.settled()
    world.at = minute(12)
    world.server.put("pods", pod("new", "10.1.0.1", minute(11)))
    world.settled()
    names = [world.pod_at("10.1.0.1", minute(at)) for at in (8.9, 9.5, 10.5, 11.5, 30)]
    assert names == ["old", "", "", "new", "new"]


def test_a_pod_without_address_claims_nothing_and_begins_with_its_start(world):
    world.start()
    world.at = minute(1)
    world.server.put("pods", pod("job", "", minute(1), startTime=None, phase="Pending"))
    world.settled()
    world.at = minute(3)
    world.server.put("pods", pod("job", "10.1.0.1", minute(2)))
    world.settled()
    names = [world.pod_at("10.1.0.1", minute(at)) for at in (1.5, 2.5)]
    assert names == ["", "job"]


def test_a_finished_pod_gives_its_address_back_when_its_containers_end(world):
    world.server.put(
        "pods", pod("done", "10.1.0.1", minute(-60), phase="Succeeded", **ended(minute(-50)))
    )
    world.server.put("pods", pod("run", "10.1.0.2", minute(-60)))
    world.start()
    world.at = minute(5)
    world.server.put(
        "pods", pod("run", "10.1.0.2", minute(-60), phase="Failed", **ended(minute(4)))
    )
    world.settled()
    assert [world.pod_at("10.1.0.1", minute(at)) for at in (-55, -49)] == ["done", ""]
    assert [world.pod_at("10.1.0.2", minute(at)) for at in (3, 4.5)] == ["run", ""]


def test_bookmarks_move_the_place_to_resume_from(world):
    world.start()
    for number in range(3):
        world.server.put("services", service(f"s{number}", f"10.2.0.{number}"))
    world.settled()
    world.server.cut()
    world.until(lambda: world.server.count("watch", "pods") >= 2)
    resumed = [one for one in world.server.asked if one[:2] == ("watch", "pods")][-1]
    assert int(resumed[2]["resourceVersion"]) >= 103
    assert world.server.count("list", "pods") == 1


def test_services_and_their_pods(world):
    world.server.put("services", service("cart", "10.2.0.1"))
    world.server.put("services", service("headless", "None"))
    item = pod("cart-0", "10.1.0.1", minute(-60))
    del item["metadata"]["labels"]["team"]
    world.server.put("pods", item)
    world.server.put("namespaces", {"metadata": {"name": "shop", "labels": {"team": "shop"}}})
    world.start()
    world.at = minute(30)
    world.server.put("endpointslices", slice_of("cart", "uid-cart-0"))
    world.settled()
    (layer,) = recorded.layers(world.folder, minute(0), FAR, Inventory())
    assert [(one.address, one.name) for one in layer.services] == [(pack("10.2.0.1"), "shop/cart")]
    before, after = world.who("10.1.0.1", minute(20)), world.who("10.1.0.1", minute(31))
    assert (before.service_name, after.service_name) == ("", "cart")
    assert after.owner_team == "shop"


def test_what_is_learnt_of_a_pod_in_its_first_minutes_holds_from_its_start(world):
    world.start()
    world.at = minute(1)
    world.server.put("pods", pod("cart-0", "10.1.0.1", minute(0.5)))
    world.settled()
    world.at = minute(2)
    world.server.put("endpointslices", slice_of("cart", "uid-cart-0"))
    item = pod("cart-0", "10.1.0.1", minute(0.5))
    item["metadata"]["labels"]["team"] = "late"
    world.server.put("pods", item)
    world.settled()
    early = world.who("10.1.0.1", minute(0.6))
    assert (early.service_name, early.owner_team) == ("cart", "late")
    world.at = minute(60)
    item["metadata"]["labels"]["team"] = "new"
    world.server.put("pods", item)
    world.settled()
    teams = [world.who("10.1.0.1", minute(at)).owner_team for at in (59, 61)]
    assert teams == ["late", "new"]


def test_a_pod_behind_two_services_is_named_after_neither(world):
    world.server.put("pods", pod("cart-0", "10.1.0.1", minute(-60)))
    world.server.put("endpointslices", slice_of("cart", "uid-cart-0"))
    world.start()
    assert world.who("10.1.0.1", minute(-30)).service_name == "cart"
    world.at = minute(10)
    world.server.put("endpointslices", slice_of("all", "uid-cart-0", outside="192.0.2.7"))
    world.settled()
    names = [world.who("10.1.0.1", minute(at)).service_name for at in (9, 11)]
    assert names == ["cart", ""]
    assert world.who("192.0.2.7", minute(11)).service_name == "all"


def test_a_pod_on_the_hosts_network_claims_no_address(world):
    item = pod("proxy", "10.0.0.1", minute(-60))
    item["spec"]["hostNetwork"] = True
    world.server.put("pods", item)
    world.start()
    assert world.who("10.0.0.1", minute(0)).k8s_pod_name == ""


def test_gone_in_the_middle_of_a_watch_lists_again_and_dates_without_gaps(world):
    world.server.put("pods", pod("stays", "10.1.0.1", minute(-60)))
    world.server.put("pods", pod("goes", "10.1.0.2", minute(-60)))
    world.start()
    world.settled()
    world.at = minute(10)
    world.server.down = True
    world.server.cut()
    world.until(lambda: world.state.watch == "broken")
    world.server.delete("pods", "shop/goes")
    world.server.put("pods", pod("came", "10.1.0.3", minute(12)))
    world.server.compact()
    world.at = minute(20)
    world.server.down = False
    world.until(lambda: world.state.watch == "watching" and world.server.count("list", "pods") > 1)
    world.settled()
    assert [world.pod_at("10.1.0.1", minute(at)) for at in (-1, 11, 19, 25)] == ["stays"] * 4
    assert [world.pod_at("10.1.0.3", minute(at)) for at in (11, 13)] == ["", "came"]
    # Nobody saw it end: it holds until the list that no longer shows it, and that is said.
    assert [world.pod_at("10.1.0.2", minute(at)) for at in (11, 19, 21)] == ["goes", "goes", ""]
    (layer,) = recorded.layers(world.folder, minute(0), FAR, Inventory())
    (finding,) = [one for one in layer.findings if one.code == "identity-end-unseen"]
    assert (finding.count, finding.sample) == (1, "shop/goes")


def test_the_next_pod_on_an_address_ends_the_one_whose_end_nobody_saw(world):
    world.server.put("pods", pod("goes", "10.1.0.2", minute(-60)))
    world.start()
    world.settled()
    world.server.down = True
    world.server.cut()
    world.until(lambda: world.state.watch == "broken")
    world.server.delete("pods", "shop/goes")
    world.server.put("pods", pod("came", "10.1.0.2", minute(12)))
    world.server.compact()
    world.at = minute(20)
    world.server.down = False
    world.until(lambda: world.pod_at("10.1.0.2", minute(25)) == "came")
    assert [world.pod_at("10.1.0.2", minute(at)) for at in (11.9, 12)] == ["goes", "came"]


def test_an_outage_leaves_what_is_open_open(world):
    world.server.put("pods", pod("cart-0", "10.1.0.1", minute(-60)))
    world.start()
    world.server.down = True
    world.server.cut()
    world.until(lambda: world.state.watch == "broken")
    world.at = minute(600)
    assert "API server" in world.state.error
    assert world.pod_at("10.1.0.1", minute(599)) == "cart-0"
    world.server.down = False
    world.until(lambda: world.state.watch == "watching")
    assert world.server.count("list", "pods") == 1  # resumed where it broke


def test_gone_when_the_watch_begins(world):
    world.server.fault("watch", "pods", refuse(410))
    world.start()
    assert world.server.count("list", "pods") == 2


def test_a_server_that_is_always_gone_is_asked_less_and_less_often(world):
    world.server.fault("watch", "pods", *[refuse(410)] * 8)
    world.start(patience=Patience(idle=1, first=0.05, most=0.2))
    asked = world.server.count("list", "pods")
    assert asked == 9


@pytest.mark.parametrize("verb", ["list", "watch"])
@pytest.mark.parametrize(
    "fault", [html(502), html(200), refuse(429, Retry_After="0"), refuse(500), refuse(503)]
)
def test_errors_are_waited_out(world, verb, fault):
    world.server.fault(verb, "pods", fault, fault)
    world.server.put("pods", pod("cart-0", "10.1.0.1", minute(-60)))
    world.start()
    assert world.state.error == ""
    assert world.pod_at("10.1.0.1", minute(1)) == "cart-0"


def test_a_busy_server_is_left_alone_as_long_as_it_asks(world):
    world.server.fault("list", "pods", refuse(429, Retry_After="1"))
    began = time.monotonic()
    world.start()
    assert time.monotonic() - began >= 1


def test_a_missing_right_is_named(world):
    world.server.fault("list", "pods", *[refuse(403)] * 100)
    world.start(ready=False)
    world.until(lambda: world.state.watch == "broken")
    assert "may not list and watch pods (403)" in world.state.error
    assert "list and watch on pods" in world.state.error


def event(kind: str, item: dict, version: int) -> bytes:
    item["metadata"]["resourceVersion"] = str(version)
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def test_a_line_cut_short_is_read_again(world):
    world.server.put("pods", pod("a", "10.1.0.1", minute(-60)))
    cut = event("ADDED", pod("b", "10.1.0.2", minute(0)), 900)[:100]
    world.server.fault("watch", "pods", lines(cut), lines(cut, cut=False))
    world.start()
    world.at = minute(1)
    world.server.put("pods", pod("b", "10.1.0.2", minute(0)))
    world.settled()
    assert world.pod_at("10.1.0.2", minute(1)) == "b"
    assert world.server.count("list", "pods") == 1


def test_what_came_before_a_broken_line_counts(world):
    good = event("ADDED", pod("b", "10.1.0.2", minute(0)), 101)
    world.server.fault("watch", "pods", lines(good + b"<html>\n"))
    world.start()
    world.until(lambda: world.pod_at("10.1.0.2", minute(1)) == "b")


def test_repeated_and_reordered_events_change_nothing(world):
    old, new = pod("a", "10.1.0.1", minute(0)), pod("a", "10.1.0.2", minute(0))
    world.start()
    world.at = minute(1)
    world.server.tell("pods", event("ADDED", old, 201))
    world.server.tell("pods", event("ADDED", old, 201))
    world.server.tell("pods", event("MODIFIED", new, 205))
    world.server.tell("pods", event("MODIFIED", old, 203))
    world.until(lambda: world.pod_at("10.1.0.2", minute(2)) == "a")
    world.at = minute(3)
    world.server.tell("pods", event("DELETED", new, 207))
    world.server.tell("pods", event("MODIFIED", new, 206))
    world.server.tell("pods", event("DELETED", pod("never", "10.1.0.8", minute(0)), 208))
    world.until(lambda: world.pod_at("10.1.0.2", minute(4)) == "")
    assert world.pod_at("10.1.0.1", minute(2)) == ""
    world.until(lambda: world.state.pods == 0)  # told after it is on disk


def test_a_silent_connection_is_given_up(world):
    world.server.fault("watch", "pods", silent(30))
    world.start(patience=Patience(idle=0.3, first=0.02, most=0.1))
    world.at = minute(1)
    world.server.put("pods", pod("a", "10.1.0.1", minute(0)))
    world.until(lambda: world.pod_at("10.1.0.1", minute(1)) == "a")


def test_an_object_that_cannot_be_read_is_left_out_and_counted(world):
    strange = pod("strange", "10.1.0.1", minute(0))
    strange["metadata"]["labels"] = ["not", "a", "map"]
    world.start()
    world.server.put("pods", strange)
    world.server.put("pods", pod("odd", "10.1.0.999", minute(0)))
    world.server.put("pods", pod("good", "10.1.0.3", minute(0)))
    world.until(lambda: world.pod_at("10.1.0.3", minute(1)) == "good")
    world.until(lambda: world.state.unreadable == 2)


def test_a_restart_resumes_where_it_stopped(world):
    world.server.put("pods", pod("stays", "10.1.0.1", minute(-60)))
    world.server.put("pods", pod("goes", "10.1.0.2", minute(-60)))
    world.start()
    world.settled()
    world.stop()
    world.server.delete("pods", "shop/goes", **ended(minute(5)))
    world.server.put("pods", pod("came", "10.1.0.3", minute(6)))
    world.at = minute(10)
    world.start()
    world.settled()
    assert world.server.count("list", "pods") == 1
    assert [world.pod_at("10.1.0.2", minute(at)) for at in (4, 6)] == ["goes", ""]
    assert [world.pod_at("10.1.0.3", minute(at)) for at in (5, 7)] == ["", "came"]
    assert world.pod_at("10.1.0.1", minute(7)) == "stays"


def test_a_pod_that_lived_and_died_unheard_is_known_from_what_it_says(world):
    world.start()
    world.settled()
    world.stop()
    world.server.put(
        "pods", pod("brief", "10.1.0.2", minute(2), phase="Succeeded", **ended(minute(5)))
    )
    world.server.compact()
    world.at = minute(10)
    world.start()
    world.settled()
    world.stop()
    world.server.compact()
    world.start()  # listed once more: not twice in the history
    world.settled()
    assert [world.pod_at("10.1.0.2", minute(at)) for at in (1, 3, 6)] == ["", "brief", ""]


def test_only_metadata_is_asked_for_where_that_is_enough(world):
    world.start()
    accept = {one[1]: one[3]["Accept"] for one in world.server.asked if one[0] == "list"}
    assert "PartialObjectMetadataList" in accept["replicasets"]
    assert accept["pods"] == "application/json"


def test_controllers_are_known_by_their_objects(world):
    world.server.put(
        "replicasets",
        {
            "metadata": {
                "name": "cart-0-6d5f",
                "namespace": "shop",
                "ownerReferences": [{"kind": "Rollout", "name": "cart", "controller": True}],
            }
        },
    )
    world.server.put("pods", pod("cart-0", "10.1.0.1", minute(-60)))
    world.start()
    who = world.who("10.1.0.1", minute(0))
    assert (who.k8s_workload_kind, who.k8s_workload_name) == ("Rollout", "cart")


RECORDED = Path(__file__).parent / "kube_apiserver_1_34"


def test_what_a_real_api_server_said(world):
    """Lists and watches of Kubernetes 1.34.3, recorded by `tests.resolve.kube_apiserver`."""
    world.server.version = 1000
    for one in RESOURCES:
        said = json.loads((RECORDED / f"{one.name}.json").read_text())
        pages = [answered(json.dumps(page).encode()) for page in said["pages"]]
        world.server.fault("list", one.name, *pages)
        stream = [line.encode() + b"\n" for line in said["watch"]]
        gone = json.dumps(said["gone"]).encode() + b"\n"
        world.server.fault("watch", one.name, lines(*stream, cut=False))
        if one.name == "pods":
            world.server.fault("watch", one.name, lines(gone))
    world.at = parse("2026-11-25T19:50:00Z")
    world.start()
    # Pods are listed again after the 410, and then there are none.
    world.until(lambda: world.state.pods == 0 and world.state.watch == "watching")
    for address, at, name in (
        ("10.244.0.1", "10:01:59", "cart-1"),
        ("10.244.0.1", "10:02:30", ""),
        ("10.244.0.1", "10:03:00", "cart-9"),
        ("10.244.0.7", "10:03:30", "job-0"),
        ("10.244.0.7", "10:04:00", ""),
        ("10.244.0.8", "10:01:00", "stock-0"),
        ("10.244.0.0", "09:00:00", "cart-0"),
        ("10.244.0.0", "08:59:59", ""),
    ):
        assert world.pod_at(address, parse(f"2026-11-25T{at}Z")) == name, (address, at)
    who = world.who("10.244.0.0", parse("2026-11-25T19:49:30Z"))
    assert (who.k8s_workload_kind, who.k8s_workload_name) == ("Deployment", "cart")
    assert (who.cloud_availability_zone, who.service_name) == ("use1-az1", "cart")
    assert (who.stage, who.owner_team) == ("prod", "basket")


def test_a_disk_that_fails_is_told_and_waited_out(world, monkeypatch):
    failing = [True]
    commit = Chronicle.commit

    def broken(self) -> None:
        if failing[0] and self._begun:
            raise sqlite3.OperationalError("database or disk is full")
        commit(self)

    monkeypatch.setattr(Chronicle, "commit", broken)
    world.server.put("pods", pod("a", "10.1.0.1", minute(-60)))
    world.start(ready=False)
    world.until(lambda: world.state.watch == "broken")
    assert "disk is full" in world.state.error
    failing[0] = False
    world.until(lambda: world.state.watch == "watching")
    assert world.pod_at("10.1.0.1", minute(0)) == "a"
    failing[0] = True
    world.server.put("pods", pod("b", "10.1.0.2", minute(-60)))
    world.until(lambda: world.state.watch == "broken")
    failing[0] = False
    world.until(lambda: world.pod_at("10.1.0.2", minute(0)) == "b")
    assert world.pod_at("10.1.0.1", minute(0)) == "a"


def test_a_fault_of_our_own_is_told_and_does_not_end_the_watch(world, monkeypatch):
    def fault(handler, query) -> bool:
        monkeypatch.setattr(kubernetes_watch, "sighting", raising)
        return False

    def raising(*_: object):
        monkeypatch.setattr(kubernetes_watch, "sighting", sighting)
        raise RuntimeError("a fault")

    sighting = kubernetes_watch.sighting
    world.server.put("pods", pod("a", "10.1.0.1", minute(-60)))
    world.server.fault("list", "pods", fault)
    world.start(ready=False)
    world.until(lambda: world.pod_at("10.1.0.1", minute(0)) == "a")


@pytest.mark.slow
def test_fifty_thousand_pods(world):
    gen_cluster.fill(world.server, 50_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    world.start(ready=False, page=500)
    world.until(lambda: world.state.watch == "watching", 300)
    assert world.state.pods == 50_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB
    who = world.who(gen_cluster.address(4711), parse("2026-11-25T09:00:00Z"))
    assert who.k8s_pod_uid == gen_cluster.uid(4711)
    assert (who.k8s_workload_kind, who.service_name) == ("Deployment", "app-235")
