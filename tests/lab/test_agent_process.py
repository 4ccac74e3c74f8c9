"""`flowcost agent` as it runs on a node: a process with two capabilities on a read-only disk."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.agent import ingest as servers
from tests.agent import wire as wires

from flowcost.address import pack
from flowcost.agent import host
from flowcost.agent import node as agent_node
from flowcost.lab import objects, plan
from flowcost.lab.wire import Count
from flowcost.model import Direction, Initiator

pytestmark = pytest.mark.lab

# Every mount but the spool and the bpffs becomes read-only, then all capabilities but two go.
_CONFINED = """
set -e
mount --bind "$1" "$1"
cut -d' ' -f5 /proc/self/mountinfo | while read -r point; do
  case "$point" in "$1"|"$2") ;; *) mount -o remount,bind,ro "$point" 2>/dev/null || true ;; esac
done
shift 2
exec setpriv --bounding-set=-all,+net_admin,+bpf --inh-caps=-all --no-new-privs "$@"
"""


@pytest.fixture
def bpffs(agents_allowed, tmp_path):
    point = tmp_path / "bpf"
    point.mkdir()
    try:
        wires.mount_bpffs(point)
    except OSError as error:
        pytest.skip(f"cannot mount a bpffs: {error}")
    yield point
    wires.unmount(point)


@pytest.fixture
def node(shop_cluster, bpffs, tmp_path):
    """Start agents on node-a of the shop; each call is one more process."""
    world = tmp_path / "world"
    world.mkdir()
    objects.write(shop_cluster.plan, world)
    (world / "declared.toml").write_text(objects.declaration(shop_cluster.plan))
    spool = tmp_path / "spool"
    spool.mkdir()
    space = shop_cluster.namespaces["node-a"]
    started = []

    def start(*more):
        where = objects.place(shop_cluster.plan.nodes[0])
        agent = (
            *(sys.executable, "-m", "flowcost", "agent", "--node", "node-a", "--cluster", "lab"),
            *("--kubernetes", str(world), "--inventory", str(world / "declared.toml")),
            *("--provider", "aws", "--region", where.region, "--zone-id", where.zone_id),
            *("--vpc", where.vpc, "--spool", str(spool), "--pins", str(bpffs / "flowcost")),
            *("--cgroup", str(shop_cluster.node_roots["node-a"]), "--rows", "4096"),
            *("--listen", "127.0.0.1:9990", "--interval", "0.2", *more),
        )
        process = subprocess.Popen(
            (
                *("nsenter", f"--net={space.path}", "unshare", "--mount"),
                *("sh", "-c", _CONFINED, "sh", str(spool), str(bpffs), *agent),
            ),
            pass_fds=(space.fd,),
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        started.append(process)
        return Running(process, space)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


class Running:
    def __init__(self, process, space):
        self.process, self.space = process, space

    def page(self):
        def fetch():
            with urllib.request.urlopen("http://127.0.0.1:9990/metrics", timeout=5) as answer:
                return answer.read().decode()

        deadline = time.monotonic() + 15
        while True:
            try:
                return self.space.call(fetch)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(self.process.stderr.read() or "the agent does not answer")
                time.sleep(0.05)

    def sent(self, pod):
        found = {"io_bytes": 0, "io_packets": 0}
        for family in text_string_to_metric_families(self.page()):
            for sample in family.samples:
                for kind in found:
                    wanted = sample.name == f"flowcost_pod_network_{kind}_total"
                    labels = sample.labels
                    if wanted and (labels["pod"], labels["direction"]) == (pod, "transmit"):
                        found[kind] += int(sample.value)
        return Count(found["io_bytes"], found["io_packets"])

    def until(self, expected, pod="cart-0"):
        deadline = time.monotonic() + 10
        while (found := self.sent(pod)) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def value(self, name):
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
            if sample.name == name
        )

    def rises(self, name):
        deadline = time.monotonic() + 10
        while not (found := self.value(name)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found > 0

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10), self.process.stderr.read()


def talk(cluster, connections=3):
    before = cluster.wire()
    service = cluster.plan.service("checkout").v4
    cluster.pods["cart-0"].call(
        "tcp", host=service, port=80, up=50_000, down=9_000, connections=connections
    )
    seen = cluster.wire().since(before)
    cart = cluster.plan.pod("cart-0").v4
    return sum(
        (seen.total(cart, pod.v4) for pod in cluster.plan.service("checkout").backends), Count()
    )


def test_with_two_capabilities_and_a_read_only_disk_every_byte_is_served_and_priced(
    shop_cluster, node
):
    shop_cluster.pods["checkout-0"].call("serve_tcp", port=8080)
    shop_cluster.pods["checkout-1"].call("serve_tcp", port=8080)
    agent = node()
    agent.page()
    wire = talk(shop_cluster)
    assert agent.until(wire) == wire
    page = agent.page()
    assert 'billing_path="cross_az"' in page
    assert 'peer_namespace="shop",peer="checkout"' in page
    assert agent.value("flowcost_network_list_cost_usd_total") > 0
    assert agent.value("flowcost_agent_join_misses_total") == 0
    assert agent.value("flowcost_agent_map_capacity") == 4096
    code, said = agent.end()
    assert code == 0
    assert said.count("\n") == 1  # one line when it began, and none per connection


def test_what_is_sent_while_no_agent_runs_is_booked_by_the_next(shop_cluster, node):
    for name in ("checkout-0", "checkout-1"):
        shop_cluster.pods[name].call("serve_tcp", port=8080)
    first = node()
    first.page()
    first.process.kill()
    first.process.wait()
    wire = talk(shop_cluster)
    second = node()
    assert second.until(wire) == wire
    second.end()


def test_the_last_round_is_done_when_the_agent_is_told_to_end(shop_cluster, node, tmp_path):
    for name in ("checkout-0", "checkout-1"):
        shop_cluster.pods[name].call("serve_tcp", port=8080)
    agent = node()
    agent.page()
    agent.end()
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["lock"]


class Posted:
    """A server in the node's network, restarted at will; what it has taken survives."""

    def __init__(self, space):
        self.space, self.ingest = space, servers.Ingest()
        self.server = space.call(servers.serve)
        self.port = self.server.server_port
        self.url = self.server.url
        self.ingest = self.server.ingest

    def stop(self):
        servers.stop(self.server)

    def start(self):
        self.server = self.space.call(lambda: servers.serve(self.port, self.ingest))

    def sent(self, uid):
        flows = [
            flow
            for flow in self.ingest.flows()
            if flow.local_uid == uid and flow.direction is Direction.TRANSMIT
        ]
        return Count(sum(flow.bytes for flow in flows), sum(flow.packets for flow in flows))

    def until(self, uid, expected):
        deadline = time.monotonic() + 20
        while (found := self.sent(uid)) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


@pytest.fixture
def posted(shop_cluster):
    server = Posted(shop_cluster.namespaces["node-a"])
    yield server
    server.stop()


def test_every_flow_is_posted_with_the_backend_it_really_reached(
    shop_cluster, node, posted, token_file, tmp_path
):
    for name in ("checkout-0", "checkout-1"):
        shop_cluster.pods[name].call("serve_tcp", port=8080)
    agent = node("--server", posted.url, "--token-file", str(token_file))
    agent.page()
    wire = talk(shop_cluster)
    cart = shop_cluster.plan.pod("cart-0")
    assert posted.until(cart.uid, wire) == wire
    assert agent.until(wire) == wire  # the node's own page goes on
    service = shop_cluster.plan.service("checkout")
    backends = {pack(pod.v4) for pod in service.backends}
    for segment in posted.ingest.segments.values():
        assert (segment.cluster, segment.node) == ("lab", "node-a")
    flows = [flow for flow in posted.ingest.flows() if flow.local_uid == cart.uid]
    assert {flow.remote_address for flow in flows} <= backends
    assert {flow.dialed_address for flow in flows} == {pack(service.v4)}
    assert {flow.initiator for flow in flows} == {Initiator.LOCAL}
    assert agent.rises("flowcost_agent_posted_segments_total")
    code, said = agent.end()
    assert code == 0
    assert servers.TOKEN not in said
    assert list((tmp_path / "spool" / "outbox").iterdir()) == []


def test_kills_of_agent_and_server_lose_nothing_and_double_nothing(
    shop_cluster, node, posted, token_file
):
    """Traffic goes on while the agent is killed and the server stops, hangs and breaks off."""
    for name in ("checkout-0", "checkout-1"):
        shop_cluster.pods[name].call("serve_tcp", port=8080)
    options = ("--server", posted.url, "--token-file", str(token_file))
    agent = node(*options)
    agent.page()
    whole = Count()
    for turn in range(8):
        posted.ingest.moods = ["reset", 500, "refuse to answer", 503][turn % 4 :]
        whole += talk(shop_cluster)
        if turn % 3 == 1:
            posted.stop()
        time.sleep(0.15 * (turn % 4))
        agent.process.kill()
        agent.process.wait()
        whole += talk(shop_cluster)
        if turn % 3 == 1:
            posted.start()
        agent = node(*options)
    posted.ingest.moods = []
    cart = shop_cluster.plan.pod("cart-0").uid
    assert posted.until(cart, whole) == whole
    agent.end()
    assert posted.sent(cart) == whole


def test_stopping_the_count_leaves_nothing_in_the_kernel(shop_cluster, node, bpffs):
    agent = node()
    agent.page()
    agent.end()
    assert (bpffs / "flowcost").is_dir()
    code = node("--stop-counting").process.wait(15)
    assert code == 0
    assert not (bpffs / "flowcost").exists()


def test_without_the_capabilities_the_missing_one_is_named(shop_cluster, tmp_path):
    space = shop_cluster.namespaces["node-a"]
    done = subprocess.run(
        (
            *(
                "nsenter",
                f"--net={space.path}",
                "setpriv",
                "--bounding-set=-all",
                "--inh-caps=-all",
            ),
            *(
                sys.executable,
                "-m",
                "flowcost",
                "agent",
                "--no-imds",
                "--spool",
                str(tmp_path / "s"),
            ),
            *("--pins", str(tmp_path / "p"), "--listen", "127.0.0.1:9990"),
        ),
        pass_fds=(space.fd,),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_the_mtu_of_the_node_is_that_of_its_default_route(shop_cluster):

    assert shop_cluster.namespaces["node-a"].call(agent_node.mtu) == plan.MTU
    shop_cluster.namespaces["node-a"].run("ip", "link", "set", "eth0", "mtu", "1400")
    assert shop_cluster.namespaces["node-a"].call(agent_node.mtu) == 1400
    assert host.kernel() >= (5, 8)
