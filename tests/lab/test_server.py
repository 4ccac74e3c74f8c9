"""cart calls checkout on a real kernel; both nodes' agents post to a real server."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from decimal import Decimal

import pytest
from tests.lab.patience import half_a_minute

from flowcost import money
from flowcost.lab import objects
from flowcost.lab.agents import Agents, Receiver
from flowcost.lab.scenarios import MIB, Scenario, measure, start_servers

pytestmark = pytest.mark.lab

ENVIRONMENT = {name: value for name, value in os.environ.items() if "FLOWCOST" not in name}


def flowcost(*words):
    done = subprocess.run(
        (sys.executable, "-m", "flowcost", *words),
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    return done.stdout


@pytest.fixture
def site(tmp_path, shop_cluster):
    """A folder with the configuration of a server that knows the shop."""
    world = tmp_path / "inventory" / "kubernetes" / "lab"
    world.mkdir(parents=True)
    objects.write(shop_cluster.plan, world)
    declared = tmp_path / "inventory" / "declared.toml"
    declared.write_text(objects.declaration(shop_cluster.plan))
    (tmp_path / "flowcost.toml").write_text(
        f'[ledger]\npath = "{tmp_path}/ledger"\n'
        f'[inventory]\npath = "{tmp_path}/inventory"\n'
        '[live]\nevery = "1s"\n'
    )
    return tmp_path


@contextmanager
def serving(site):
    """Run `flowcost serve`; yield where its agents post to."""
    config = ("--config", str(site / "flowcost.toml"))
    token = flowcost("serve", "token", "create", "agents", "--cluster", "lab", *config)
    (site / "token").write_text(re.search(r"flowcost_\S+", token)[0])
    server = subprocess.Popen(
        (sys.executable, "-m", "flowcost", "serve", "--listen", "127.0.0.1:0", *config),
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        for line in server.stderr:
            if found := re.search(r"serving on (\S+)", line):
                break
        yield Receiver(found[1], site / "token")
    finally:
        server.terminate()
        server.communicate(timeout=30)


def booked(site):
    """Return what the ledger says by workload and direction: (bytes, dollars)."""
    text = flowcost(
        *("costs", "--ledger", str(site / "ledger"), "--format", "json"),
        *("--by", "local.k8s.workload.name,direction"),
    )
    return {
        (row["local.k8s.workload.name"], row["direction"]): (
            int(row["bytes"]),
            Decimal(row["list_cost"]),
        )
        for row in json.loads(text)
    }


def test_both_legs_are_in_the_servers_ledger_within_half_a_minute_at_the_same_dollars(
    shop_cluster, site
):
    with serving(site) as receiver, Agents(shop_cluster, receiver=receiver) as agents:
        start_servers(shop_cluster)
        scenario = Scenario(
            name="cart to checkout",
            client="cart-0",
            do="tcp",
            to="service/checkout",
            arguments={"up": 8 * MIB, "down": 64},
        )
        result = measure(shop_cluster, agents, scenario)
        expected = {}
        for line in result.lines:
            key = line.local.k8s_workload_name, str(line.direction)
            size, cost = expected.get(key, (0, Decimal(0)))
            expected[key] = size + line.bytes, cost + Decimal(money.exact(line.cost))
        assert len(expected) == 4
        deadline = half_a_minute()
        while time.monotonic() < deadline:
            try:
                found = booked(site)
            except subprocess.CalledProcessError:
                found = {}  # no ledger yet
            if found == expected:
                break
            time.sleep(0.5)
        assert found == expected
