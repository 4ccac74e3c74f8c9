import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowcost.agent.cgroups import owner_of
from flowcost.errors import LabError
from flowcost.lab import cgroup_tree, plan
from flowcost.lab.cgroup_tree import mount_point
from flowcost.lab.cluster import Cluster

pytestmark = pytest.mark.lab


def lab_directories():
    return {path.name for path in mount_point().glob("flowcost-lab-*")}


def ours():
    return {name for name in lab_directories() if name.split("-")[2] == str(os.getpid())}


def test_every_pod_reaches_a_service_in_the_other_zone_over_both_families(shop_cluster):
    for name in ("checkout-0", "checkout-1"):
        shop_cluster.pods[name].call("serve_tcp", port=8080)
    service = shop_cluster.plan.service("checkout")
    for family in (4, 6):
        for client in ("cart-0", "proxy-a", "coredns-0"):
            result = shop_cluster.pods[client].call(
                "tcp", host=service.address(family), port=80, up=1000, down=5000, connections=2
            )
            assert result == {"refused": 0}


def test_the_router_counts_what_crosses_the_zones_and_nothing_else(shop_cluster):
    cart, batch, checkout = (shop_cluster.pods[n] for n in ("cart-0", "batch-0", "checkout-0"))
    for pod in (checkout, batch):
        pod.call("serve_udp", port=8443)
    before = shop_cluster.wire()
    cart.call("udp", host=checkout.pod.v4, port=8443, count=7, size=100)
    cart.call("udp", host=batch.pod.v4, port=8443, count=7, size=100)
    seen = shop_cluster.wire().since(before)
    count = seen.total(cart.pod.v4, checkout.pod.v4)
    assert (count.bytes, count.packets) == (7 * 128, 7)
    assert len(seen.entered) == 2


def test_the_internet_sees_the_nat_gateway(shop_cluster):
    internet = shop_cluster.pods["internet"]
    internet.call("serve_tcp", port=8080)
    before = shop_cluster.wire()
    shop_cluster.pods["cart-0"].call("tcp", host=plan.INTERNET_V4, port=8080, up=10, down=10)
    seen = shop_cluster.wire().since(before)
    node = shop_cluster.plan.nodes[0]
    assert seen.total(node.v4, plan.INTERNET_V4).packets > 0
    assert seen.total("10.244.1.11", plan.INTERNET_V4).packets == 0


def test_loss_drops_packets_between_the_two_counters(shop_cluster):
    checkout = shop_cluster.pods["checkout-0"]
    checkout.call("serve_udp", port=8443, silent=True)
    shop_cluster.loss(500)
    before = shop_cluster.wire()
    shop_cluster.pods["cart-0"].call(
        "udp", host=checkout.pod.v4, port=8443, count=200, size=200, replies=False
    )
    seen = shop_cluster.wire().since(before)
    entered = seen.total("10.244.1.11", checkout.pod.v4)
    left = seen.total("10.244.1.11", checkout.pod.v4, left=True)
    assert entered.packets == 200
    assert 40 < left.packets < 160


def test_a_pod_is_in_the_cgroup_its_runtime_would_make(shop_cluster):
    for running in shop_cluster.pods.values():
        if not running.pod.namespace:
            continue
        line = Path(f"/proc/{running.process.pid}/cgroup").read_text().splitlines()[-1]
        owner = owner_of(line.removeprefix("0::"))
        assert owner.pod_uid == running.pod.uid
        assert owner.container_id == running.pod.container_id


def test_a_failing_order_names_the_pod_and_the_reason(shop_cluster):
    with pytest.raises(LabError, match="pod cart-0: TypeError"):
        shop_cluster.pods["cart-0"].call("resolve", server="10.96.0.53")


def test_nothing_is_left_after_a_normal_end(lab_allowed):
    with Cluster(plan.shop()) as cluster:
        processes = [pod.process for pod in cluster.pods.values()]
        assert ours()
    assert not ours()
    assert all(process.returncode is not None for process in processes)


_VICTIM = """
import sys, time
from flowcost.lab.cluster import Cluster
from flowcost.lab.plan import shop
with Cluster(shop()) as cluster:
    print(*[pod.process.pid for pod in cluster.pods.values()], flush=True)
    time.sleep(60)
"""


def test_kill_9_leaves_no_process_and_the_next_start_removes_its_cgroups(lab_allowed):
    with subprocess.Popen((sys.executable, "-c", _VICTIM), stdout=subprocess.PIPE) as victim:
        pids = [int(word) for word in victim.stdout.readline().split()]
        assert len(pids) == 9
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    left = {n for n in lab_directories() if n.split("-")[2] == str(victim.pid)}
    assert left
    deadline = time.monotonic() + 5
    while any(cgroup_tree.start_time(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}/ns/net").exists() for pid in pids)
    assert left <= set(cgroup_tree.sweep())
    assert not left & lab_directories()


def test_the_sweep_leaves_a_living_run_and_strangers_alone(shop_cluster):
    stranger = mount_point() / "flowcost-lab-notes"
    stranger.mkdir()
    try:
        assert not set(cgroup_tree.sweep()) & ours()
        assert stranger.is_dir()
        assert ours()
    finally:
        stranger.rmdir()
