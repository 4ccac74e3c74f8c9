"""A running cluster: up in a moment, gone with the process, told what to do from Python."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flowcost.errors import FlowcostError, LabError, NotSupportedError
from flowcost.lab import cgroup_tree, network, wire, workload
from flowcost.lab.namespaces import NetworkNamespace
from flowcost.lab.plan import Plan, Pod

_serial = itertools.count(1)


class RunningPod:
    """A pod with one process that takes orders."""

    def __init__(self, pod: Pod, cgroup: Path, namespace: NetworkNamespace) -> None:
        self.pod = pod
        self.cgroup = cgroup
        self.process = subprocess.Popen(
            (sys.executable, "-I", "-S", workload.__file__, str(cgroup), str(namespace.fd)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(namespace.fd,),
        )

    def start(self, do: str, **arguments: Any) -> None:  # noqa: ANN401 - passed on as JSON
        """Give an order (`workload.COMMANDS`) without waiting for it."""
        assert self.process.stdin  # noqa: S101 - made with PIPE
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def finish(self) -> Any:  # noqa: ANN401 - whatever the command returns
        """Return the result of the order given last.

        Raises:
            LabError: the command raised, or the pod's process has ended.
        """
        assert self.process.stdout  # noqa: S101 - made with PIPE
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the pod's process has ended"}
        if "error" in reply:
            raise LabError(f"pod {self.pod.name}: {reply['error']}")
        return reply["ok"]

    def call(self, do: str, **arguments: Any) -> Any:  # noqa: ANN401 - passed on as JSON
        """Give an order and return its result."""
        self.start(do, **arguments)
        return self.finish()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Cluster:
    """The lab, built on entry and removed on exit.

    `namespaces` by label (nodes, pods, `vpc`, `nat`, `internet`); `pods` by name; `node_roots`
    is each node's cgroup root: attach an agent there and it sees that node only.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.namespaces: dict[str, NetworkNamespace] = {}
        self.pods: dict[str, RunningPod] = {}
        self.node_roots: dict[str, Path] = {}
        self._directory: Path | None = None

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def router(self) -> NetworkNamespace:
        """Return the namespace in which the wire is counted."""
        return self.namespaces[network.ROUTER]

    def loss(self, per_mille: int) -> None:
        """Drop `per_mille` of a thousand data packets inside the router, in both directions."""
        self.router.run("nft", "-f", "-", text=network.loss_rules(per_mille))

    def wire(self) -> wire.Wire:
        """Return the router's counters once they are still."""
        return wire.settled(self.router)

    def close(self) -> None:
        """End every process of the lab and remove its cgroups; the namespaces go with them."""
        for pod in self.pods.values():
            pod.kill()
        self.pods.clear()
        if self._directory:
            cgroup_tree.remove(self._directory)
            self._directory = None
        for namespace in self.namespaces.values():
            namespace.close()
        self.namespaces.clear()

    def _build(self) -> None:
        cgroup_tree.sweep()
        self._directory = cgroup_tree.run_directory(next(_serial))
        plan = self.plan
        pods = [pod for pod in plan.pods if not pod.host_network]
        labels = [network.ROUTER, network.NAT, network.INTERNET]
        labels += [node.name for node in plan.nodes] + [pod.name for pod in pods]
        for label in labels:
            self.namespaces[label] = NetworkNamespace(label)
            self.namespaces[label].sysctl(network.HOST)
        self._start_pods()
        self._wire_up()
        for pod in self.pods.values():
            pod.finish()

    def _start_pods(self) -> None:
        assert self._directory  # noqa: S101 - made first
        for node in self.plan.nodes:
            self.node_roots[node.name] = self._directory / node.name
        for pod in self.plan.pods:
            cgroup = cgroup_tree.pod_directory(self.node_roots[pod.node.name], pod)
            cgroup.mkdir(parents=True)
            home = pod.node.name if pod.host_network else pod.name
            self.pods[pod.name] = RunningPod(pod, cgroup, self.namespaces[home])
        outside = self._directory / network.INTERNET
        outside.mkdir()
        stranger = Pod(network.INTERNET, "", "", self.plan.nodes[0], 99)
        self.pods[network.INTERNET] = RunningPod(
            stranger, outside, self.namespaces[network.INTERNET]
        )

    def _wire_up(self) -> None:
        spaces = self.namespaces
        everyone = tuple(space.fd for space in spaces.values())
        paths = {label: space.path for label, space in spaces.items()}
        for label, text in network.links(self.plan, paths).items():
            spaces[label].run("ip", "-batch", "-", text=text, pass_fds=everyone)
        forwarders = {network.ROUTER, network.NAT, *(node.name for node in self.plan.nodes)}

        def configure(label: str, text: str) -> None:
            if label in forwarders:
                spaces[label].sysctl(network.FORWARDING)
            spaces[label].run("ip", "-batch", "-", text=text)
            rules = self._rules(label)
            if rules:
                spaces[label].run("nft", "-f", "-", text=rules)
            for device in self._plain_devices(label):
                spaces[label].run("ethtool", "-K", device, *network.NO_OFFLOAD)

        with ThreadPoolExecutor(4) as pool:
            texts = network.addresses(self.plan)
            for done in [pool.submit(configure, *item) for item in texts.items()]:
                done.result()

    def _rules(self, label: str) -> str:
        if label == network.ROUTER:
            return network.WIRE_RULES
        if label == network.NAT:
            return network.NAT_RULES
        is_node = any(node.name == label for node in self.plan.nodes)
        return network.node_rules(self.plan) if is_node else ""

    def _plain_devices(self, label: str) -> list[str]:
        """Return the devices that must hand over real packets, one by one."""
        if label == network.ROUTER:
            return [f"n{node.number}" for node in self.plan.nodes] + ["nat", "inet6"]
        if label == network.INTERNET:
            return ["eth0", "eth6"]
        if label == network.NAT:
            return ["private", "public"]
        if any(node.name == label for node in self.plan.nodes):
            return ["eth0"]
        return [] if self.plan.pod(label).offload else ["eth0"]


def probe() -> str:
    """Return why the lab cannot run here, or an empty text if it can."""
    try:
        cgroup_tree.sweep()
        directory = cgroup_tree.run_directory(0)
        cgroup_tree.remove(directory)
        space = NetworkNamespace("probe")
        try:
            space.run("ip", "link", "set", "lo", "up")
            space.run("nft", "list", "ruleset")
            space.run("ethtool", "-k", "lo")
        finally:
            space.close()
    except (FlowcostError, OSError) as error:
        return str(error)
    return ""


def require() -> None:
    """Check that the lab can run.

    Raises:
        NotSupportedError: it cannot; the message says why.
    """
    reason = probe()
    if reason:
        raise NotSupportedError(reason)
