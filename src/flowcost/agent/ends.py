"""Who the local end is: by cgroup, and where that says nothing (hybrid nodes) by address."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from flowcost.address import Scope, scope, unpack
from flowcost.agent.cgroups import Cgroups, Owner
from flowcost.agent.directory import Directory
from flowcost.model import Identity


class Local(Struct, frozen=True):
    """A local end: `owner` is the key its DNS names are kept under, `index` stands for it all."""

    index: int
    identity: Identity
    owner: str
    scope: Scope


class Locals:
    """(cgroup, address) -> local end, remembered for one round.

    `restart` begins a round; with another directory, `index` begins anew too.
    """

    def __init__(self, directory: Directory, cgroups: Cgroups) -> None:
        self.directory = directory
        self.cgroups = cgroups
        self._known: dict[tuple[int, bytes], Local] = {}
        self._indexes: dict[tuple[Identity, Scope], int] = {}

    def restart(self, directory: Directory) -> None:
        """Forget the ends of the last round: cgroups come and go, and pods with them."""
        if directory is not self.directory:
            self.directory = directory
            self._indexes.clear()
        self._known.clear()

    def of(self, cgroup: int, address: bytes, now: float) -> Local:
        """Return the end; `address` is empty where only the cgroup is known."""
        key = cgroup, address
        known = self._known.get(key)
        if known is None:
            owner = self.cgroups.owner(cgroup, now)
            identity = self._identify(owner, address)
            kind = scope(address) if address else Scope.PRIVATE
            known = self._known[key] = Local(
                self._indexes.setdefault((identity, kind), len(self._indexes)),
                identity,
                identity.k8s_pod_uid or (unpack(address) if address else ""),
                kind,
            )
        return known

    def _identify(self, owner: Owner | None, address: bytes) -> Identity:
        world = self.directory.world
        if owner and owner.pod_uid:
            pod = world.pods.get(owner.pod_uid)
            return pod or replace(world.node, k8s_pod_uid=owner.pod_uid)
        if address:
            by_address = self.directory.identity(address)
            if by_address.k8s_pod_uid in world.pods:
                return world.pods[by_address.k8s_pod_uid]
        return replace(world.node, service_name=owner.path if owner else "")
