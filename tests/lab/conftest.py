import pytest
from tests.agent.ingest import token_file  # noqa: F401 - a fixture

from flowcost.agent import probe as bpf
from flowcost.lab.cluster import Cluster, probe
from flowcost.lab.plan import shop


@pytest.fixture(scope="session")
def lab_allowed():
    reason = probe()
    if reason:
        pytest.skip(f"the lab cannot run here: {reason}")


@pytest.fixture
def shop_cluster(lab_allowed):
    with Cluster(shop()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def agents_allowed(lab_allowed):
    checks = [check for check in bpf.checks() if check.name != "pins"]
    reason = bpf.missing(checks)
    if reason:
        pytest.skip(f"the agent cannot count here: {reason}")
