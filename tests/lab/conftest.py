import pytest

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
