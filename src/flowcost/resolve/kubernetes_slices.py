"""EndpointSlices: which Service a pod serves, and Services made of outside addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

from flowcost.address import pack
from flowcost.model import Identity
from flowcost.resolve import Claim
from flowcost.resolve.files import read_json
from flowcost.resolve.kubernetes_nodes import Meta

_SERVICE_LABEL = "kubernetes.io/service-name"
_BY_NAME = "FQDN"


class _Target(Struct):
    kind: str = ""
    uid: str = ""


class _Endpoint(Struct, rename="camel"):
    addresses: list[str] = field(default_factory=list)
    target_ref: _Target | None = None


class Slice(Struct, rename="camel"):
    """One EndpointSlice, as far as it is read."""

    metadata: Meta
    address_type: str = ""
    endpoints: list[_Endpoint] | None = None

    @property
    def service(self) -> str:
        """Return the Service whose backends these are; "" if none, or if they are names."""
        by_name = self.address_type == _BY_NAME
        return "" if by_name else self.metadata.labels.get(_SERVICE_LABEL, "")

    def pods(self) -> Iterator[str]:
        """Yield the uids of the pods behind the Service."""
        for endpoint in self.endpoints or ():
            if endpoint.target_ref:
                yield endpoint.target_ref.uid

    def outside(self) -> Iterator[str]:
        """Yield the addresses behind the Service that are no pod's."""
        for endpoint in self.endpoints or ():
            if not endpoint.target_ref:
                yield from endpoint.addresses


class _Slices(Struct):
    items: list[Slice]


class Slices:
    """The EndpointSlices of one cluster."""

    def __init__(self, directory: Path) -> None:
        """Read the slices of a cluster's directory, if they were dumped."""
        read = read_json(directory / "endpointslices.json", _Slices)
        self._of_pod: dict[str, set[str]] = {}
        self._outside: dict[bytes, set[str]] = {}
        for one in read.items if read else []:
            if name := one.service:
                for uid in one.pods():
                    self._of_pod.setdefault(uid, set()).add(name)
                for text in one.outside():
                    self._outside.setdefault(pack(text), set()).add(name)

    def service_of(self, pod_uid: str) -> str:
        """Return the Service that a pod serves, "" if none or several."""
        return only(self._of_pod.get(pod_uid, set()))

    def claims(self) -> Iterator[Claim]:
        """Yield the addresses that a Service without pods stands for."""
        for address, names in self._outside.items():
            if name := only(names):
                yield Claim(first=address, last=address, identity=Identity(service_name=name))


def only(names: set[str]) -> str:
    """Return the one name, "" if there are none or several."""
    return next(iter(names)) if len(names) == 1 else ""
