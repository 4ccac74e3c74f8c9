"""A drain becomes lines: who sent how much to whom, by which path, at which price.

The kernel's rows are summed by (cgroup, peer, dialed Service, name) first; identities, verdicts
and prices are looked up once per distinct combination. Only this node's own ends are booked
(each end pays for its own end), and nothing is dropped: what cannot be attributed or classified
becomes a line that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from flowcost.address import Scope, family, scope, unpack
from flowcost.agent.cgroups import Cgroups, Owner
from flowcost.agent.conntrack import Backend, Dialed
from flowcost.agent.directory import Directory, Peer
from flowcost.agent.dns import Names
from flowcost.agent.drained import Drained, Entry, Lost
from flowcost.classify import assemble, classify
from flowcost.model import Direction, Identity, Path, Rate, Verdict
from flowcost.price import NoRate, RateBook, marginal, numerator

JOINED = 4096  # dialed connections asked for at a time: bounds memory, not work
DECISIONS = 100_000  # distinct combinations kept; far more than one node has at a time

OVERFLOW = Verdict(
    path=Path.UNKNOWN,
    rule="agent.overflow",
    evidence=("the kernel's flow map was full; bytes are known by cgroup only",),
    priced=False,
)
LOST = Verdict(
    path=Path.UNKNOWN,
    rule="agent.lost",
    evidence=("both kernel maps were full; bytes are known for the node only",),
    priced=False,
)


class Line(Struct, frozen=True, gc=False):
    """One attributed sum. `dialed` is `namespace/service`, `name` a DNS name, empty if none.

    `cost` is a numerator over `money.ONE` at the marginal rate; `unpriced_bytes` are those of
    `bytes` that some meter, or the verdict itself, had no price for.
    """

    local: Identity
    remote: Identity
    dialed: str
    name: str
    direction: Direction
    verdict: Verdict
    bytes: int
    packets: int
    cost: int
    unpriced_bytes: int


class Decision(Struct, frozen=True):
    """A verdict with the price of one byte over all its meters, and the rates that make it."""

    verdict: Verdict
    numerator: int
    complete: bool
    rates: tuple[Rate, ...]


class _Local(Struct, frozen=True):
    """A local end: `owner` is the key its DNS names are kept under, `index` stands for it all."""

    index: int
    identity: Identity
    owner: str
    scope: Scope


Join = Callable[[Iterable[Dialed]], Mapping[Dialed, Backend]]
_Key = tuple[int, bytes, int, str, str]  # cgroup, local address, peer, dialed, name


class Attribution:
    """Attributes drains with one directory and one rate book.

    `join_misses` counts dialed Services whose backend conntrack did not know, `decisions` are the
    verdicts in use, for `/metrics`.
    """

    def __init__(
        self, directory: Directory, cgroups: Cgroups, names: Names, book: RateBook
    ) -> None:
        self._directory = directory
        self.cgroups = cgroups
        self.names = names
        self.book = book
        self.join_misses = 0
        self._on = date.min
        self._decisions: dict[tuple[int, int, Direction, int], Decision] = {}
        self._locals: dict[tuple[int, bytes], _Local] = {}
        self._indexes: dict[tuple[Identity, Scope], int] = {}

    @property
    def directory(self) -> Directory:
        """Return the directory in use; a new one starts every memory afresh."""
        return self._directory

    @directory.setter
    def directory(self, new: Directory) -> None:
        if new is not self._directory:
            self._directory = new
            self._decisions.clear()
            self._indexes.clear()
        self._locals.clear()

    @property
    def rates(self) -> set[Rate]:
        """Return every rate in use."""
        return {rate for decision in self._decisions.values() for rate in decision.rates}

    def unknown_pods(self, drained: Drained, now: float) -> bool:
        """Return whether the drain holds pods that the world does not know yet."""
        pods = self.directory.world.pods
        ids = {entry.cgroup for entry in drained.entries()}
        owners = (self.cgroups.owner(one, now) for one in ids)
        return any(owner and owner.pod_uid and owner.pod_uid not in pods for owner in owners)

    def owner(self, cgroup: int, local_address: bytes, now: float) -> str:
        """Return the key under which DNS names of a local end are kept.

        Where the cgroup says nothing of a pod (a resolver of the node answered in its place), the
        address that asked does.
        """
        return self._local(cgroup, local_address, now).owner

    def lines(
        self,
        drained: Drained,
        join: Join,
        *,
        now: float,
        on: date,
        lost_before: Lost | None = None,
    ) -> list[Line]:
        """Return the lines of one drain; their bytes are all the bytes of the drain.

        Args:
            drained: what the kernel counted.
            join: tells the backends of dialed connections, some thousands at a time.
            now: monotonic seconds.
            on: UTC day whose rules and rates hold.
            lost_before: the loss totals of the drain before, within the same epoch.
        """
        if on != self._on:
            self._on = on
            self._decisions.clear()
        found: list[Line] = []
        for key, counts in self._sums(drained, join, now).items():
            found += self._pair(key, counts, now)
        for spill in drained.overflows():
            local = self._local(spill.cgroup, b"", now).identity
            found += _bare(
                local,
                OVERFLOW,
                (spill.transmitted_bytes, spill.transmitted_packets),
                (spill.received_bytes, spill.received_packets),
            )
        lost, before = drained.lost, lost_before or Lost()
        found += _bare(
            self.directory.world.node,
            LOST,
            (
                lost.transmitted_bytes - before.transmitted_bytes,
                lost.transmitted_packets - before.transmitted_packets,
            ),
            (
                lost.received_bytes - before.received_bytes,
                lost.received_packets - before.received_packets,
            ),
        )
        return found

    def _sums(self, drained: Drained, join: Join, now: float) -> dict[_Key, list[int]]:
        sums: dict[_Key, list[int]] = {}
        dialed: list[Entry] = []
        for entry in drained.entries():
            if not entry.service:
                self._add(sums, entry, entry.remote_address, "", now)
                continue
            dialed.append(entry)
            if len(dialed) >= JOINED:
                self._add_dialed(sums, dialed, join, now)
                dialed.clear()
        self._add_dialed(sums, dialed, join, now)
        return sums

    def _add_dialed(
        self, sums: dict[_Key, list[int]], entries: list[Entry], join: Join, now: float
    ) -> None:
        """Add entries whose remote address lies in a Service block."""
        dialed = [_dialed(entry) for entry in entries]
        backends = join(one for one in dialed if one.local_port)
        services = self._directory.world.services
        for entry, connection in zip(entries, dialed, strict=True):
            backend = backends.get(connection)
            service = services.get(entry.remote_address, "")
            if backend:
                service = service or unpack(entry.remote_address)
                self._add(sums, entry, backend.address, service, now)
            else:
                self.join_misses += bool(service)
                self._add(sums, entry, entry.remote_address, service, now)

    def _add(
        self, sums: dict[_Key, list[int]], entry: Entry, remote: bytes, dialed: str, now: float
    ) -> None:
        directory = self._directory
        peer = directory.peer(remote)
        name = ""
        if not directory.peers[peer].identity.k8s_cluster_name:
            owner = self._local(entry.cgroup, entry.local_address, now).owner
            name = self.names.name(owner, remote, now)
        key = entry.cgroup, entry.local_address, peer, dialed, name
        counts = sums.get(key)
        if counts is None:
            counts = sums[key] = [0, 0, 0, 0]
        counts[0] += entry.transmitted_bytes
        counts[1] += entry.transmitted_packets
        counts[2] += entry.received_bytes
        counts[3] += entry.received_packets

    def _pair(self, key: _Key, counts: list[int], now: float) -> Iterator[Line]:
        cgroup, local_address, peer_index, dialed, name = key
        local = self._local(cgroup, local_address, now)
        peer = self.directory.peers[peer_index]
        for direction, size, packets in (
            (Direction.TRANSMIT, counts[0], counts[1]),
            (Direction.RECEIVE, counts[2], counts[3]),
        ):
            if not packets:
                continue
            decision = self._decision(local, peer_index, direction, family(local_address))
            yield Line(
                local.identity,
                peer.identity,
                dialed,
                name,
                direction,
                decision.verdict,
                size,
                packets,
                size * decision.numerator,
                0 if decision.complete else size,
            )

    def _local(self, cgroup: int, local_address: bytes, now: float) -> _Local:
        key = cgroup, local_address
        known = self._locals.get(key)
        if known is None:
            owner = self.cgroups.owner(cgroup, now)
            identity = self._identify(owner, local_address)
            kind = scope(local_address) if local_address else Scope.PRIVATE
            known = self._locals[key] = _Local(
                self._indexes.setdefault((identity, kind), len(self._indexes)),
                identity,
                identity.k8s_pod_uid or (unpack(local_address) if local_address else ""),
                kind,
            )
        return known

    def _identify(self, owner: Owner | None, local_address: bytes) -> Identity:
        """Return who the local end is: by cgroup, else (hybrid nodes) by address."""
        world = self.directory.world
        if owner and owner.pod_uid:
            pod = world.pods.get(owner.pod_uid)
            return pod or replace(world.node, k8s_pod_uid=owner.pod_uid)
        if local_address:
            by_address = self.directory.identity(local_address)
            if by_address.k8s_pod_uid in world.pods:
                return world.pods[by_address.k8s_pod_uid]
        return replace(world.node, service_name=owner.path if owner else "")

    def _decision(
        self, local: _Local, index: int, direction: Direction, ip_version: int
    ) -> Decision:
        key = local.index, index, direction, ip_version
        known = self._decisions.get(key)
        if known is None:
            if len(self._decisions) >= DECISIONS:
                self._decisions.clear()
            peer = self.directory.peers[index]
            known = self._decisions[key] = self._decide(local, peer, direction, ip_version)
        return known

    def _decide(self, local: _Local, peer: Peer, direction: Direction, ip_version: int) -> Decision:
        facts = assemble(
            local=local.identity,
            remote=peer.identity,
            direction=direction,
            way=peer.way,
            family=ip_version,
            local_scope=local.scope,
            remote_scope=peer.scope,
        )
        verdict = classify(facts, self._on)
        return price(self.book, facts.provider, verdict, self._on)


def price(book: RateBook, provider: str, verdict: Verdict, on: date) -> Decision:
    """Return a verdict with the marginal price of one byte over all its meters."""
    total, complete, rates = 0, verdict.priced, []
    for meter in verdict.meters:
        found = book.rates_of(provider, meter, on)
        if isinstance(found, NoRate):
            complete = False
            continue
        rate = marginal(found)
        rates.append(rate)
        total += numerator(rate)
    return Decision(verdict, total, complete, tuple(rates))


def no_join(dialed: Iterable[Dialed]) -> Mapping[Dialed, Backend]:  # noqa: ARG001 - a `Join`
    """Know no backend: what is dialed stays unknown."""
    return {}


def _dialed(entry: Entry) -> Dialed:
    return Dialed(
        entry.local_address,
        entry.local_port,
        entry.remote_address,
        entry.remote_port,
        entry.transport,
    )


def _bare(
    local: Identity, verdict: Verdict, sent: tuple[int, int], received: tuple[int, int]
) -> Iterable[Line]:
    nobody = Identity()
    for direction, (size, packets) in (
        (Direction.TRANSMIT, sent),
        (Direction.RECEIVE, received),
    ):
        if packets:
            yield Line(local, nobody, "", "", direction, verdict, size, packets, 0, size)
