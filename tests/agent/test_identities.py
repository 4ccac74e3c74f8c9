import threading

import pytest

from flowcost.agent.apiserver import ApiServer
from flowcost.agent.identities import Identities, Source, read_files, service_ranges
from flowcost.errors import InventoryError
from flowcost.lab import objects, plan

SHOP = plan.shop()
A = SHOP.nodes[0]


@pytest.fixture
def keep():
    held = []

    def start(source, **options):
        held.append(Identities(source, **options))
        return held[-1]

    yield start
    for identities in held:
        identities.close()


def source(**options):
    return Source(node=A.name, cluster="lab", place=objects.place(A), **options)


def api(method, path, headers):
    resource = path.partition("?")[0].rpartition("/")[2]
    return 200, objects.documents(SHOP, node=A.name)[resource]


def test_the_world_comes_from_the_api_server(serve, keep):
    url, asked = serve(api)
    identities = keep(source(api=ApiServer(url)))
    assert identities.directory.world.pods[SHOP.pod("cart-0").uid].k8s_workload_name == "cart"
    pods = next(path for _, path, _ in asked if "/pods" in path)
    assert "spec.nodeName%3Dnode-a" in pods


def test_the_world_comes_from_files_of_kubectl(tmp_path, keep):
    objects.write(SHOP, tmp_path)
    identities = keep(source(directory=tmp_path))
    assert identities.directory.world.pods[SHOP.pod("cart-0").uid].k8s_workload_name == "cart"


def test_files_that_are_missing_are_told_with_the_command_that_writes_them(tmp_path):
    with pytest.raises(InventoryError) as refused:
        Identities(source(directory=tmp_path))
    assert "kubectl get pods" in refused.value.hint


def test_an_api_server_that_fails_leaves_the_last_good_world(serve, keep):
    state = {"fails": False}
    url, _ = serve(lambda *asked: (500, b"") if state["fails"] else api(*asked))
    said = []
    identities = keep(source(api=ApiServer(url)), on_error=said.append)
    before = identities.directory
    state["fails"] = True
    identities.refresh(5.0)
    assert identities.directory is before
    assert (identities.failures, len(said)) == (1, 1)


def test_an_api_server_that_is_down_at_the_start_leaves_the_node_alone_known(keep):
    identities = keep(
        source(api=ApiServer("http://127.0.0.1:1", timeout_s=0.5)), on_error=lambda error: None
    )
    assert identities.failures == 1
    assert identities.directory.world.node.cloud_availability_zone == "use1-az1"


def test_a_broken_address_is_a_failed_refresh_and_not_the_end(serve, keep):
    broken = b'{"items": [{"metadata": {"name": "n"}, "spec": {"podCIDRs": ["nonsense"]}}]}'
    url, _ = serve(lambda m, path, h: (200, broken) if "/nodes" in path else api(m, path, h))
    said = []
    identities = keep(source(api=ApiServer(url)), on_error=said.append)
    assert "nonsense" in str(said[0])
    identities.refresh(5.0)
    assert identities.failures == 2


def test_an_unchanged_cluster_costs_no_new_world(serve, keep):
    url, asked = serve(api)
    identities = keep(source(api=ApiServer(url)))
    before = identities.directory
    identities.refresh(5.0)
    assert len(asked) == 8
    assert identities.directory is before


def test_a_dead_pod_is_known_until_its_last_packets_have_come(serve, keep):
    state = {"gone": False}
    empty = b'{"items": []}'
    url, _ = serve(
        lambda m, path, h: (200, empty) if state["gone"] and "/pods" in path else api(m, path, h)
    )
    uid = SHOP.pod("cart-0").uid
    identities = keep(source(api=ApiServer(url)), keep_s=900.0)
    state["gone"] = True
    identities.refresh(5.0)
    assert identities.directory.world.pods[uid].k8s_workload_name == "cart"
    identities._gone = {key: (one, 0.0) for key, (one, _) in identities._gone.items()}
    identities.refresh(5.0)
    assert uid not in identities.directory.world.pods


def test_a_refresh_is_not_waited_for_longer_than_asked(serve, keep):
    gate = threading.Event()
    state = {"slow": False}

    def slow(*asked):
        if state["slow"]:
            gate.wait(5)
        return api(*asked)

    url, _ = serve(slow)
    identities = keep(source(api=ApiServer(url)))
    state["slow"] = True
    identities.refresh(0.05)
    gate.set()
    assert identities.failures == 0


def test_service_blocks_are_those_given_or_those_in_use(tmp_path):
    objects.write(SHOP, tmp_path)
    known = source().world(read_files(tmp_path))
    assert service_ranges(known) == ("10.96.0.0/16", "fd00:10:96::/112")
    assert service_ranges(known, ["172.20.0.0/16"]) == ("172.20.0.0/16",)
