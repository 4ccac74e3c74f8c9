"""The chart of the agent says what the agent is: its options, its rights, its version."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.resolve import kube_apiserver

from flowcost.agent.apiserver import COLLECTIONS
from flowcost.agent.capture import DEFAULT_PINS
from flowcost.cli.agent import command

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/flowcost-agent"
RENDERED = ROOT / "deploy/kubernetes/agent.yaml"
KUBERNETES = ("--kube-version", "1.30.0")
POSTING = (
    *("--set", "server.url=https://flowcost.example", "--set", "server.caSecret.name=ca"),
    *(
        "--set",
        "agent.region=us-east-1",
        "--set",
        "agent.provider=aws",
        "--set",
        "agent.imds=false",
    ),
    *("--set", "agent.zones={us-east-1a=use1-az1}", "--set", "agent.inventoryConfigMap=routes"),
    *("--set", "agent.extraArgs={--top=50}", "--set", "podAnnotations.a=b"),
)


def helm(*words):
    if not shutil.which("helm"):
        pytest.skip("helm is not installed")
    return subprocess.run(("helm", *words), check=True, capture_output=True, text=True).stdout


def template(*words):
    return helm("template", "flowcost-agent", str(CHART), "-n", "flowcost", *KUBERNETES, *words)


def objects(text):
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def container(found):
    [only] = found["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return only


def given(found):
    """Return the options that the container's arguments set; unknown ones raise."""
    first, *words = container(found)["args"]
    assert first == "agent"
    context = command.make_context("agent", words, resilient_parsing=True)
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name).name == "COMMANDLINE"
    }


@pytest.fixture
def rendered():
    return objects(RENDERED.read_text())


def test_the_committed_manifest_is_what_the_chart_gives():
    assert template("--set", "cluster=CLUSTER") == RENDERED.read_text()


def test_the_chart_lints_and_wants_a_cluster():
    helm("lint", "--strict", str(CHART), *KUBERNETES, "--set", "cluster=prod")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        template()
    assert "the name of this cluster is required" in refused.value.stderr


def test_it_has_the_packages_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


def test_arguments_are_options_and_what_they_name_is_mounted(rendered):
    options = given(rendered)
    mounts = {one["mountPath"]: one for one in container(rendered)["volumeMounts"]}
    assert options["cluster"] == "CLUSTER"
    assert mounts[str(options["cgroup"])]["readOnly"]
    assert not mounts[str(DEFAULT_PINS.parent)].get("readOnly")
    assert str(options["spool_path"].parent) in mounts
    volumes = rendered["DaemonSet"]["spec"]["template"]["spec"]["volumes"]
    assert {one["name"] for one in volumes} == {one["name"] for one in mounts.values()}


def test_it_has_two_capabilities_and_may_list_what_it_reads(rendered):
    secured = container(rendered)["securityContext"]
    assert secured["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN"]}
    assert secured["readOnlyRootFilesystem"]
    assert not secured["allowPrivilegeEscalation"]
    rules = rendered["ClusterRole"]["rules"]
    assert {name for rule in rules for name in rule["resources"]} == set(COLLECTIONS)
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list"}


def test_with_a_server_it_posts_there_and_asks_the_cluster_nothing():
    found = objects(template("--set", "cluster=prod", *POSTING))
    options = given(found)
    assert (options["server"], options["region"]) == ("https://flowcost.example", "us-east-1")
    assert (options["zones"], options["ask"], options["top"]) == (
        ("us-east-1a=use1-az1",), False, 50,
    )  # fmt: skip
    mounts = [one["mountPath"] for one in container(found)["volumeMounts"]]
    words = dict(one.split("=", 1) for one in container(found)["args"] if "=/" in one)
    assert {"--token-file", "--ca", "--inventory", "--cgroup", "--spool"} == words.keys()
    for name in ("--token-file", "--ca", "--inventory"):
        assert str(Path(words[name]).parent) in mounts
    assert "ClusterRole" not in found
    assert not found["ServiceAccount"]["automountServiceAccountToken"]


@pytest.mark.skipif(bool(kube_apiserver.missing()), reason=kube_apiserver.missing() or "-")
def test_a_real_api_server_takes_every_object_as_it_is_written():
    paths = {
        "ServiceAccount": "/api/v1/namespaces/flowcost/serviceaccounts",
        "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "DaemonSet": "/apis/apps/v1/namespaces/flowcost/daemonsets",
    }
    with kube_apiserver.running() as cluster:
        cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "flowcost"}})
        for kind, one in objects(RENDERED.read_text()).items():
            cluster.call("POST", f"{paths[kind]}?fieldValidation=Strict", one)
        made = cluster.call("GET", paths["DaemonSet"])["items"]
    assert [one["metadata"]["name"] for one in made] == ["flowcost-agent"]
