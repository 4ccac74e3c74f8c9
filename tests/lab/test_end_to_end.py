"""From the kernels of two nodes to the API, the console and a real Prometheus, within 30 s.

Agents are processes on the lab's nodes, the server is `flowcost serve`, and what it tells about
cart and checkout is what the router between the nodes counted, at what `flowcost lab demo` says.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
from decimal import Decimal
from fractions import Fraction

import pytest
from tests.agent import wire as wires
from tests.lab.bridge import Bridge, here
from tests.lab.patience import half_a_minute
from tests.server.test_process import get, served
from tests.views.test_grafana_prometheus import PROMETHEUS, Asked

from flowcost import money
from flowcost.lab import objects
from flowcost.lab.demo import tell
from flowcost.lab.scenarios import MIB
from flowcost.lab.wire import Count

pytestmark = pytest.mark.lab
LAST_PACKET = 100  # a receiver may not count the last acknowledgement, after its socket's end
SHOP = "local.k8s.namespace.name = shop and remote.k8s.namespace.name = shop"
NODES = ("node-a", "node-b")


class Site:
    """Two nodes' agents that post to a server outside of the lab's network."""

    def __init__(self, cluster, folder, url):
        self.cluster, self.folder, self.url = cluster, folder, url
        self.bridges, self.agents, self.files = [], [], []

    def start(self):
        world = self.folder / "world"
        world.mkdir()
        objects.write(self.cluster.plan, world)
        (world / "declared.toml").write_text(objects.declaration(self.cluster.plan))
        server = urllib.parse.urlsplit(self.url).port
        self.pages = []
        for node in self.cluster.plan.nodes:
            if node.name not in NODES:
                continue
            space = self.cluster.namespaces[node.name]
            up = self.bridge(space.call, here, server)
            self.agents.append(self.agent(node, space, up.port))
            self.pages.append(f"127.0.0.1:{self.bridge(here, space.call, 9990).port}")

    def bridge(self, listen, connect, port):
        self.bridges.append(Bridge(listen, connect, port))
        return self.bridges[-1]

    def agent(self, node, space, server):
        where, world = objects.place(node), self.folder / "world"
        spool, pins = self.folder / f"spool-{node.name}", self.folder / "bpf" / node.name
        spool.mkdir()
        self.files.append((self.folder / f"{node.name}.log").open("w"))
        return subprocess.Popen(
            (
                *("nsenter", f"--net={space.path}", sys.executable, "-m", "flowcost", "agent"),
                *("--node", node.name, "--cluster", "lab", "--kubernetes", str(world)),
                *("--inventory", str(world / "declared.toml"), "--provider", "aws"),
                *("--region", where.region, "--zone-id", where.zone_id, "--vpc", where.vpc),
                *("--spool", str(spool), "--pins", str(pins), "--rows", "4096"),
                *("--cgroup", str(self.cluster.node_roots[node.name]), "--interval", "1"),
                *("--listen", "127.0.0.1:9990", "--server", f"http://127.0.0.1:{server}"),
            ),
            pass_fds=(space.fd,),
            stderr=self.files[-1],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def close(self):
        for agent in self.agents:
            agent.terminate()
        for agent in self.agents:
            agent.wait(20)
        for bridge in self.bridges:
            bridge.close()
        for file in self.files:
            file.close()

    def logs(self):
        return "\n".join(f.read_text()[-2000:] for f in sorted(self.folder.glob("*.log")))


@pytest.fixture
def site(shop_cluster, agents_allowed, tmp_path):
    point = tmp_path / "bpf"
    point.mkdir()
    try:
        wires.mount_bpffs(point)
    except OSError as error:
        pytest.skip(f"cannot mount a bpffs: {error}")
    (tmp_path / "flowcost.toml").write_text('[live]\nevery = "1s"\n[ledger]\npath = "ledger"\n')
    with served("--config", str(tmp_path / "flowcost.toml")) as (_, url):
        found = Site(shop_cluster, tmp_path, url)
        try:
            found.start()
            yield found
        finally:
            found.close()
            wires.unmount(point)


class Truth:
    """What the router counts from now on between cart and whatever answers as checkout."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.cart = cluster.plan.pod("cart-0").v4
        self.backends = [pod.v4 for pod in cluster.plan.service("checkout").backends]
        self.before = cluster.wire()

    def sent(self):
        """Return the bytes that each workload sent to the other."""
        seen = self.cluster.wire().since(self.before)
        pairs = [(seen.total(self.cart, one), seen.total(one, self.cart)) for one in self.backends]
        there, back = (sum(counts, Count()) for counts in zip(*pairs, strict=True))
        return {"cart": there.bytes, "checkout": back.bytes}


def rows(site, path, **query):
    status, text = get(f"{site.url}/v1/{path}?{urllib.parse.urlencode(query)}")
    assert status == 200
    return json.loads(text)["rows"]


def told(site):
    """Return both ends' legs as the API tells them: {(workload, direction): its row}."""
    names = "local.k8s.deployment.name"
    found = rows(site, "costs", by=f"{names},direction,path,operation", filter=SHOP)
    return {(row[names], row["direction"]): row for row in found}


def tells_all(legs, sent):
    """Return whether each sent what the router counted, and the other end received it."""
    other = {"cart": "checkout", "checkout": "cart"}
    return len(legs) == 4 and all(
        legs[name, "transmit"]["bytes"] == size
        and 0 <= size - legs[other[name], "receive"]["bytes"] <= LAST_PACKET
        for name, size in sent.items()
    )


def until(check, deadline, site):
    """Return what `check` returns as soon as it is true."""
    while not (found := check()):
        assert time.monotonic() < deadline, f"too late: {check.__name__}\n{site.logs()}"
        time.sleep(0.3)
    return found


def test_what_two_kernels_counted_is_told_by_api_and_console_at_the_dollars_of_the_demo(
    site, shop_cluster
):
    truth = answering(site, shop_cluster)
    call(shop_cluster)
    deadline = half_a_minute()

    def the_api_tells():
        legs = told(site)
        return legs if tells_all(legs, truth.sent()) else None

    legs = until(the_api_tells, deadline, site)
    priced = {
        (*key, row["path"], row["operation"]): per_byte(Decimal(row["list_cost"]), row["bytes"])
        for key, row in legs.items()
    }

    def the_console_tells():
        status, page = get(f"{site.url}/conversations?{urllib.parse.urlencode({'filter': SHOP})}")
        assert status == 200
        return exact_cells(page, "shop/cart &lt;-&gt; shop/checkout")

    cost = sum(Decimal(row["list_cost"]) for row in legs.values())
    size = sum(row["bytes"] for row in legs.values())
    shown, wire = until(the_console_tells, deadline, site), sum(truth.sent().values())
    assert (Decimal(shown["list cost"]), int(shown["bytes"])) == (cost, size)

    story = tell(8 * MIB)
    demo = {
        (
            line.local.k8s_workload_name,
            str(line.direction),
            str(line.verdict.path),
            line.verdict.meters[0].operation,
        ): per_byte(Decimal(money.exact(line.cost)), line.bytes)
        for line in story.result.lines
    }
    assert priced == demo
    # The demo's own bill for what this router saw, but for what no receiver counted.
    billed = per_byte(Decimal(money.exact(story.bill)), story.wire_bytes) * wire
    missed = per_byte(cost, size) * (2 * wire - size)
    assert Fraction(cost) + missed == billed


@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on this machine")
def test_a_prometheus_that_scrapes_agents_and_server_has_it_within_half_a_minute(
    site, shop_cluster, tmp_path
):
    truth = answering(site, shop_cluster)
    (tmp_path / "prometheus").mkdir()
    prometheus = Asked(tmp_path / "prometheus", site.pages, site.url.partition("//")[2])

    def value(expr):
        """Return the sum that Prometheus has, 0 if it has none."""
        found = prometheus.get("query", query=f"sum({expr})")["data"]["result"]
        return int(found[0]["value"][1]) if found else 0

    try:
        prometheus.wait_for("min(up)", 1)
        call(shop_cluster)
        deadline = half_a_minute()

        def agents_and_server_agree():
            sent, legs = truth.sent(), told(site)
            # The page of an agent is live, and tells the peer by the Service's workload.
            live = {
                name: value(
                    "flowcost_peer_network_io_bytes_total"
                    f'{{workload="{name}",peer="{peer}",direction="transmit"}}'
                )
                for name, peer in (("cart", "checkout"), ("checkout", "cart"))
            }
            day = value('flowcost_ledger_day_bytes{billing_path="cross_az"}')
            crossed = sum(row["bytes"] for row in legs.values())
            return tells_all(legs, sent) and live == sent and day == crossed

        until(agents_and_server_agree, deadline, site)
        found = prometheus.get("query", query="flowcost_ledger_day_conversation_bytes")
        names = {sample["metric"]["conversation"] for sample in found["data"]["result"]}
        assert "shop/cart <-> shop/checkout" in names
    finally:
        prometheus.close()


def answering(site, cluster):
    """Let checkout answer and both agents count; return the truth from here on."""
    for pod in cluster.plan.service("checkout").backends:
        cluster.pods[pod.name].call("serve_tcp", port=8080)
    deadline = time.monotonic() + 60
    for page in site.pages:

        def counts(page=page):
            assert all(agent.poll() is None for agent in site.agents), site.logs()
            try:
                return "flowcost_agent_info{" in get(f"http://{page}/metrics")[1]
            except OSError:
                return False  # not yet listening

        until(counts, deadline, site)
    return Truth(cluster)


def call(cluster):
    """Let cart call the Service three times: more goes up than comes down."""
    service = cluster.plan.service("checkout").v4
    cluster.pods["cart-0"].call("tcp", host=service, port=80, up=4 * MIB, down=9_000, connections=3)


def per_byte(dollars, size):
    return Fraction(dollars) / size


def exact_cells(page, name):
    """Return a table row's exact values by their column, None without such a row."""
    page = re.sub(r"</?span[^>]*>", "", page)
    heads = re.findall(r'<th scope="col"[^>]*>(?:<a [^>]*>)?([a-z ]+)', page)
    for row in re.findall(r"<tr[ >].*?</tr>", page, re.DOTALL):
        if f">{name}<" in row:
            cells = re.findall(r"<t[hd] ?([^>]*)>", row)
            exact = [re.search(r'data-exact="([^"]*)"', cell) for cell in cells]
            return {head: one[1] for head, one in zip(heads, exact, strict=False) if one}
    return None
