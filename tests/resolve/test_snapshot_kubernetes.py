"""`flowcost snapshot --kubernetes`: the real kubectl against a recorded API on loopback."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from flowcost.address import pack
from flowcost.cli.snapshot import command
from flowcost.clock import now
from flowcost.errors import NotPermittedError, NotSupportedError, UnreachableError
from flowcost.resolve import inventory
from flowcost.resolve.kubernetes_resources import API_GROUPS, RESOURCES
from flowcost.resolve.lookup import lookup
from flowcost.resolve.timeline import build
from tests.resolve.loopback import serving
from tests.resolve.test_kubernetes import NODES, pod

KINDS = {
    "pods": "Pod",
    "nodes": "Node",
    "services": "Service",
    "endpointslices": "EndpointSlice",
    "namespaces": "Namespace",
    "replicasets": "ReplicaSet",
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
    "daemonsets": "DaemonSet",
    "jobs": "Job",
    "cronjobs": "CronJob",
    "persistentvolumes": "PersistentVolume",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "storageclasses": "StorageClass",
}
CLUSTER_WIDE = {"nodes", "namespaces", "persistentvolumes", "storageclasses"}

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed"
)


def secretive_pod() -> dict:
    one = pod("cart-0", "10.0.1.11")
    one["metadata"]["annotations"] = {"last-applied": "hunter2"}
    one["spec"]["containers"] = [
        {
            "name": "cart",
            "image": "cart:1",
            "command": ["sh", "-c", "hunter2"],
            "env": [{"name": "PASSWORD", "value": "hunter2"}],
            "resources": {"requests": {"cpu": "250m"}},
        }
    ]
    return {"apiVersion": "v1", "kind": "Pod", **one}


class Api:
    """Just enough of an API server for kubectl: discovery, and lists."""

    def __init__(self, items: dict[str, list[dict]], forbidden: frozenset[str] = frozenset()):
        self.items, self.forbidden = items, forbidden
        self.seen: list[str] = []

    def __call__(self, path: str, _headers: dict[str, str]):
        place = path.partition("?")[0].rstrip("/")
        self.seen.append(place)
        if place == "/api":
            return 200, {}, {"kind": "APIVersions", "versions": ["v1"]}
        if place == "/apis":
            groups = [_group(name) for name in API_GROUPS if name]
            return 200, {}, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        for group, resources in API_GROUPS.items():
            base, version = (f"/apis/{group}/v1", f"{group}/v1") if group else ("/api/v1", "v1")
            if place == base:
                return 200, {}, _resources(version, resources)
            if place.startswith(f"{base}/"):
                return self._listed(place.rpartition("/")[2], version)
        return 404, {}, _status(404, "NotFound", place)

    def _listed(self, resource: str, version: str):
        if resource in self.forbidden:
            words = f'{resource} is forbidden: User "reader" cannot list'
            return 403, {}, _status(403, "Forbidden", words)
        items = self.items.get(resource, [])
        kind = f"{KINDS[resource]}List"
        return 200, {}, {"kind": kind, "apiVersion": version, "metadata": {}, "items": items}


def _group(name: str) -> dict:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(version: str, names: tuple[str, ...]) -> dict:
    listed = [
        {
            "name": name,
            "singularName": name[:-1],
            "namespaced": name not in CLUSTER_WIDE,
            "kind": KINDS[name],
            "verbs": ["get", "list"],
        }
        for name in names
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": listed}


def _status(code: int, reason: str, message: str) -> dict:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # kubectl keeps its discovery cache there

    def write(url: str):
        path = tmp_path / "kubeconfig"
        context = "arn:aws:eks:us-east-1:111111111111:cluster/prod"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        path.write_text(json.dumps(config))
        return path

    return write


def snapshot(directory, kubeconfig):
    arguments = [str(directory), "--kubernetes", "--kubeconfig", str(kubeconfig)]
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


@needs_kubectl
def test_a_snapshot_of_a_live_cluster_is_an_inventory_without_secrets(tmp_path, kubeconfig):
    api = Api({"pods": [secretive_pod()], "nodes": NODES})
    with serving(api) as url:
        result = snapshot(tmp_path / "inventory", kubeconfig(url))
    assert result.exit_code == 0, result.output
    home = tmp_path / "inventory" / "kubernetes" / "prod"  # the last part of the context's ARN
    assert {path.stem for path in home.iterdir()} == set(RESOURCES)
    written = (home / "pods.json").read_text()
    assert "hunter2" not in written
    assert json.loads(written)["items"][0]["spec"]["containers"][0]["resources"]
    found = lookup(build(inventory.read(tmp_path / "inventory")), pack("10.0.1.11"), now())
    assert (found.k8s_cluster_name, found.k8s_pod_name) == ("prod", "cart-0")
    assert not [path for path in api.seen if "secrets" in path]


@needs_kubectl
def test_refused_resources_are_all_named_and_nothing_is_left_behind(tmp_path, kubeconfig):
    with (
        serving(Api({}, frozenset({"nodes", "jobs"}))) as url,
        pytest.raises(NotPermittedError, match="prod refuses to list: nodes, jobs"),
    ):
        snapshot(tmp_path / "inventory", kubeconfig(url))
    assert list((tmp_path / "inventory").iterdir()) == []


@needs_kubectl
def test_a_cluster_that_does_not_answer_is_told_in_kubectls_words(tmp_path, kubeconfig):
    with serving(Api({})) as url:
        pass
    with pytest.raises(UnreachableError, match="kubectl failed"):
        snapshot(tmp_path / "inventory", kubeconfig(url))


def test_a_machine_without_kubectl_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotSupportedError, match="needs kubectl"):
        CliRunner().invoke(
            command, [str(tmp_path / "inventory"), "--kubernetes"], catch_exceptions=False
        )


def test_the_role_lists_every_resource_and_nothing_else():
    result = CliRunner().invoke(command, ["--print-cluster-role"])
    rules = json.loads(result.output)["rules"]
    assert {name for rule in rules for name in rule["resources"]} == set(RESOURCES)
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
