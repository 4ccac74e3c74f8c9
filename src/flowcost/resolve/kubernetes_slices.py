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


class _Slice(Struct, rename="camel"):
    metadata: Meta
    address_type: str = ""
    endpoints: list[_Endpoint] | None = None


class _Slices(Struct):
    items: list[_Slice]


class Slices:
    """The EndpointSlices of one cluster."""

    def __init__(self, directory: Path) -> None:
        """Read the slices of a cluster's directory, if they were dumped."""
        read = read_json(directory / "endpointslices.json", _Slices)
        self._of_pod: dict[str, set[str]] = {}
        self._outside: dict[bytes, set[str]] = {}
        for one in read.items if read else []:
            name = one.metadata.labels.get(_SERVICE_LABEL, "")
            if not name or one.address_type == _BY_NAME:
                continue
            for endpoint in one.endpoints or []:
                if endpoint.target_ref:
                    self._of_pod.setdefault(endpoint.target_ref.uid, set()).add(name)
                else:
                    for text in endpoint.addresses:
                        self._outside.setdefault(pack(text), set()).add(name)

    def service_of(self, pod_uid: str) -> str:
        """Return the Service that a pod serves, "" if none or several."""
        return _only(self._of_pod.get(pod_uid, set()))

    def claims(self) -> Iterator[Claim]:
        """Yield the addresses that a Service without pods stands for."""
        for address, names in self._outside.items():
            if name := _only(names):
                yield Claim(first=address, last=address, identity=Identity(service_name=name))


def _only(names: set[str]) -> str:
    return next(iter(names)) if len(names) == 1 else ""
