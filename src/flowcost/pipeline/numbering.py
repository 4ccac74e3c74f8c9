"""Words as small integers, so that rows compare integers: identities and what they have in common.

`place` is the part of an identity that decides a billing path; thousands of pods share a few
places, and facts are assembled per place, never per pod. Networks, clusters, nodes, route tables
and ends are numbers because rows compare them; accounts, resources, gateways and Services because
charges carry them. Every word is numbered once, however many rows have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from flowcost.model import EndKind, Identity
from flowcost.pipeline.codes import coded, distinct
from flowcost.pipeline.gather import LOCAL_HINTS
from flowcost.schema import IDENTITY_FIELDS

Place = tuple[EndKind, str, str, str, str]  # kind, provider, region, zone id, service
NOWHERE: Place = (EndKind.UNKNOWN, "", "", "", "")

_PLACE = ("cloud_provider", "cloud_region", "cloud_availability_zone", "cloud_service")
_OWN = ("k8s_pod_name", "k8s_pod_uid")
_ENDPOINTS = (EndKind.INTERFACE_ENDPOINT, EndKind.GWLB_ENDPOINT)
_NUMBER = pa.int32()


class Numbers:
    """Distinct words by small number; the empty word is 0."""

    def __init__(self, values: Iterable[str] = ("",)) -> None:
        self.values = list(values)
        self._known = {value: number for number, value in enumerate(self.values)}

    def of(self, value: str) -> int:
        """Return the number of `value`, giving it one if it is new."""
        number = self._known.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def all(self, values: Iterable[str]) -> pa.Array:
        """Return the numbers of many words."""
        return pa.array([self.of(value) for value in values], _NUMBER)

    def known(self, values: Iterable[str]) -> pa.Array:
        """Return the numbers of those that have one, 0 for others."""
        return pa.array([self._known.get(value, 0) for value in values], _NUMBER)


class Numbering:
    """Everything that has a number. `scopes` are the subnets and VPCs that routes are known of."""

    def __init__(
        self, words: Mapping[str, Sequence[str]] | None = None, places: Iterable[Place] = (NOWHERE,)
    ) -> None:
        given = words or {}
        self._words = {name: Numbers(given.get(name, ("",))) for name in _WORDS}
        (
            self.accounts, self.resources, self.vias, self.services, self.networks,
            self.clusters, self.nodes, self.ends, self.scopes,
        ) = self._words.values()  # fmt: skip
        self.places = list(places)
        self._place = {place: number for number, place in enumerate(self.places)}

    @property
    def words(self) -> dict[str, list[str]]:
        """Return all words by what they are words for, as the constructor takes them."""
        return {name: numbers.values for name, numbers in self._words.items()}

    def place(self, place: Place) -> int:
        """Return the number of a place."""
        number = self._place.setdefault(place, len(self.places))
        if number == len(self.places):
            self.places.append(place)
        return number

    def of(self, rows: pa.Table) -> dict[str, pa.Array]:
        """Return the numbers of identities, given as `rows_of` returns them, column by column.

        `silent` has a bit for each of `gather.LOCAL_HINTS` that an identity does not say.
        """
        node, cluster = (_texts(rows, f"k8s_{one}_name") for one in ("node", "cluster"))
        resource, kind = _texts(rows, "cloud_resource_id"), _texts(rows, "kind")
        node = pc.if_else(pc.equal(node, ""), "", pc.binary_join_element_wise(cluster, node, "/"))
        endpoint = pc.is_in(kind, pa.array([str(one) for one in _ENDPOINTS]))
        subnet = _coded(_words(rows, "cloud_subnet_id"), self.scopes.known)
        network = _coded(_words(rows, "cloud_vpc_id"), self.scopes.known)
        return {
            "place": self._places_of(rows, kind),
            "network": _coded(_words(rows, "cloud_vpc_id"), self.networks.all),
            "cluster_no": _coded(_words(rows, "k8s_cluster_name"), self.clusters.all),
            "node": _coded(node.dictionary_encode(), self.nodes.all),
            # An end is a node's interface where we know the node, else a resource's.
            "end_no": _coded(
                pc.if_else(pc.equal(node, ""), resource, node).dictionary_encode(), self.ends.all
            ),
            # The subnet's route table holds, else the network's main table.
            "scope_no": pc.if_else(pc.equal(subnet, 0), network, subnet),
            "account": _coded(_words(rows, "cloud_account_id"), self.accounts.all),
            "resource": _coded(_words(rows, "cloud_resource_id"), self.resources.all),
            # A flow to an endpoint leaves through it.
            "via": _coded(pc.if_else(endpoint, resource, "").dictionary_encode(), self.vias.all),
            "silent": reduce(
                pc.bit_wise_or,
                (
                    pc.shift_left(_says_nothing(rows, field).cast(_NUMBER), pa.scalar(bit, _NUMBER))
                    for bit, field in enumerate(LOCAL_HINTS.values())
                ),
            ),
            "owned": pc.invert(_says_nothing(rows, "cloud_account_id")),
            "nameless": pc.and_(
                _says_nothing(rows, "dns_name"), _says_nothing(rows, "k8s_pod_name")
            ),
        }

    def _places_of(self, rows: pa.Table, kind: pa.Array) -> pa.Array:
        """Return the numbers of the identities' places."""
        somewhere = [
            pc.invert(_says_nothing(rows, name))
            for name in ("cloud_region", "k8s_pod_uid", "k8s_pod_name")
        ]
        placed = pc.or_(pc.or_(somewhere[0], somewhere[1]), somewhere[2])
        bare = pc.and_(pc.equal(kind, str(EndKind.UNKNOWN)), placed)
        kind = pc.if_else(bare, str(EndKind.COMPUTE), kind).dictionary_encode()
        columns = [kind, *(_words(rows, name) for name in _PLACE)]
        alike = distinct([coded(column) for column in columns], len(rows))
        words = zip(*(column.take(alike.firsts).to_pylist() for column in columns), strict=True)
        numbers = [self.place((EndKind(kind), *place)) for kind, *place in words]
        return pa.array(numbers, _NUMBER).take(alike.numbers)


_WORDS = (
    "accounts", "resources", "vias", "services", "networks", "clusters", "nodes", "ends", "scopes",
)  # fmt: skip


def rows_of(identities: Mapping[int, Identity]) -> pa.Table:
    """Return identities by their ids as the columns of `schema.IDENTITIES`.

    Texts are coded, but for those that are an identity's own: a few rows of many would carry the
    words of all.
    """
    columns = {"identity_id": pa.array(list(identities), pa.int64())}
    values = list(map(msgspec.structs.astuple, identities.values()))
    fields = zip(*values, strict=True) if values else ((),) * len(IDENTITY_FIELDS)
    for name, words in zip(IDENTITY_FIELDS, fields, strict=True):
        texts = pa.array(words, pa.string())
        columns[name] = texts if name in _OWN else texts.dictionary_encode()
    return pa.table(columns)


def identities_in(rows: pa.Table) -> list[Identity]:
    """Return the identities of rows."""
    columns = [rows[name].to_pylist() for name in IDENTITY_FIELDS]
    at = IDENTITY_FIELDS.index("kind")
    columns[at] = [EndKind(kind) for kind in columns[at]]
    return [
        Identity(**dict(zip(IDENTITY_FIELDS, words, strict=True)))
        for words in zip(*columns, strict=True)
    ]


def _words(rows: pa.Table, name: str) -> pa.DictionaryArray:
    return rows[name].combine_chunks()


def _texts(rows: pa.Table, name: str) -> pa.Array:
    texts = rows[name].combine_chunks()
    return texts if name in _OWN else texts.dictionary_decode()


def _says_nothing(rows: pa.Table, name: str) -> pa.Array:
    return pc.equal(_texts(rows, name), "")


def _coded(column: pa.DictionaryArray, number: Callable[[Iterable[str]], pa.Array]) -> pa.Array:
    """Return the numbers of a column's words, each asked for once."""
    return number(column.dictionary.to_pylist()).take(column.indices)
