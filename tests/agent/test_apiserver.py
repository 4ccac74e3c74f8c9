import json
from urllib.parse import parse_qs, urlsplit

import pytest

from flowcost.agent.apiserver import ApiServer, in_cluster
from flowcost.errors import NotPermittedError, UnreachableError


def cluster(method, path, headers):
    """A small API server: two nodes' pods, token-checked, services forbidden."""
    if headers.get("Authorization") != "Bearer t0ken":
        return 401, b"{}"
    url = urlsplit(path)
    query = parse_qs(url.query)
    if url.path == "/api/v1/services":
        return 403, b"{}"
    items = [
        {"metadata": {"name": name}, "spec": {"nodeName": node}}
        for name, node in (("cart", "a"), ("stock", "a"), ("checkout", "b"))
    ]
    for selector in query.get("fieldSelector", []):
        key, _, value = selector.partition("=")
        assert key == "spec.nodeName"
        items = [item for item in items if item["spec"]["nodeName"] == value]
    return 200, json.dumps({"kind": "List", "items": items}).encode()


@pytest.fixture
def token(tmp_path):
    (tmp_path / "token").write_text("t0ken\n")
    return tmp_path / "token"


def test_only_pods_of_the_own_node_are_asked_for(serve, token):
    url, asked = serve(cluster)
    body = ApiServer(url, token_file=token).list("pods", field_selector="spec.nodeName=a")
    names = [item["metadata"]["name"] for item in json.loads(body)["items"]]
    assert names == ["cart", "stock"]
    assert "resourceVersion=0" in asked[0][1]


def test_a_missing_right_names_the_rule_that_is_needed(serve, token):
    url, _ = serve(cluster)
    with pytest.raises(NotPermittedError) as refused:
        ApiServer(url, token_file=token).list("services")
    assert "list on services" in refused.value.hint


def test_the_token_is_read_again_for_every_request(serve, token):
    url, _ = serve(cluster)
    server = ApiServer(url, token_file=token)
    server.list("nodes")
    token.write_text("stale")
    with pytest.raises(NotPermittedError):
        server.list("nodes")


def test_an_unreachable_server_says_that_counting_goes_on():
    with pytest.raises(UnreachableError) as refused:
        ApiServer("http://127.0.0.1:1", timeout_s=0.5).list("pods")
    assert "unattributed" in refused.value.hint


def test_the_cluster_around_the_process_is_found_by_its_environment(tmp_path, token):
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    server = in_cluster(environment, tmp_path)
    assert server
    assert server.url == "https://[fd00::1]:6443"
    assert in_cluster({}, tmp_path) is None


def test_the_server_is_known_by_the_clusters_own_authority_and_no_other(serve, token, certificate):
    cert, key = certificate
    url, _ = serve(cluster, tls=(cert, key))
    assert b"cart" in ApiServer(url, token_file=token, ca_file=cert).list("pods")
    with pytest.raises(UnreachableError, match="certificate"):
        ApiServer(url, token_file=token).list("pods")
