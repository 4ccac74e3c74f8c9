"""cart calls checkout through a ClusterIP, in the other zone, on a real kernel.

Both nodes' agents watch; the router knows the truth; and the same transfer is told once more as
readers would tell it that see only one of the two addresses.
"""

from __future__ import annotations

from msgspec import Struct

from flowcost import address, clock, money
from flowcost.address import Scope
from flowcost.agent.lines import Line
from flowcost.classify import assemble, classify
from flowcost.lab.agents import Agents, NodeAgent
from flowcost.lab.cluster import Cluster
from flowcost.lab.plan import shop
from flowcost.lab.scenarios import Result, Scenario, measure, start_servers
from flowcost.model import Direction, Verdict

# Each direction of a cross-zone transfer is billed twice: at its sender and at its receiver.
LIST_CENT_PER_GIB = money.ONE // 100 // money.GIB


class Story(Struct, frozen=True, kw_only=True):
    """What everybody said about the same bytes.

    `wire_bytes` are the router's, both directions; `bill` is what the account pays for them by
    the list; `virtual` is the verdict on the dialed address, which has no zone; `backend` is the
    address that a reader behind the translation sees.
    """

    result: Result
    wire_bytes: int
    bill: int
    dialed: str
    backend: str
    client: str
    virtual: Verdict

    @property
    def account(self) -> int:
        """Return what the agents of both nodes booked together."""
        return self.result.cost

    def own(self, workload: str) -> list[Line]:
        """Return the lines of one workload's own end."""
        lines = [line for line in self.result.lines if line.local.k8s_workload_name == workload]
        return sorted(lines, key=lambda line: line.direction, reverse=True)


def tell(size: int) -> Story:
    """Build the cluster, send `size` bytes from cart to checkout, and return the story."""
    plan = shop()
    with Cluster(plan) as cluster, Agents(cluster) as agents:
        start_servers(cluster)
        scenario = Scenario(
            name="cart to checkout",
            client="cart-0",
            do="tcp",
            to="service/checkout",
            arguments={"up": size, "down": 64},
        )
        result = measure(cluster, agents, scenario)
        virtual = plan.service("checkout").v4
        verdict = _of_virtual_address(agents.by_node["node-a"], result, virtual)
    wire = sum(leg.wire.bytes for leg in result.of(Direction.TRANSMIT))
    cart = plan.pod("cart-0")
    backend = next(
        line.remote for line in result.lines if line.local.k8s_workload_name == cart.workload
    )
    return Story(
        result=result,
        wire_bytes=wire,
        bill=2 * LIST_CENT_PER_GIB * wire,
        dialed=f"{virtual}:80",
        backend=f"{plan.pod(backend.k8s_pod_name).v4}:8080",
        client=cart.v4,
        virtual=verdict,
    )


def _of_virtual_address(agent: NodeAgent, result: Result, virtual: str) -> Verdict:
    """Return what the same rules say if nobody looks behind the Service address."""
    directory = agent.identities.directory
    cart = next(line.local for line in result.lines if line.local.k8s_workload_name == "cart")
    peer = directory.peers[directory.peer(address.pack(virtual))]
    facts = assemble(
        local=cart,
        remote=peer.identity,
        direction=Direction.TRANSMIT,
        way=peer.way,
        local_scope=Scope.PRIVATE,
        remote_scope=peer.scope,
    )
    return classify(facts, clock.now().date())
