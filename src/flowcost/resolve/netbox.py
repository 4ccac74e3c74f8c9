"""NetBox: who holds a prefix or an address, as the IPAM records it.

Reads `netbox/prefixes.json` and `netbox/ip-addresses.json`: the REST API's own objects, either as
pages (`{"count", "next", "previous", "results"}`, a list of them, or one) or as a bare list of
objects; or `.csv`, an export of NetBox's lists (columns by label or by name, in any order; what is
no known column is a custom field).

Tenant is the team unless a custom field says otherwise; role is the service; a VRF named `vpc-…`
is that network, so that overlapping address plans stay apart. Site and scope are the operator's
own names: zone and region come from custom fields. Deprecated records say nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from flowcost.address import network, pack
from flowcost.errors import InventoryError
from flowcost.model import Identity
from flowcost.resolve import Claim, Layer, tags
from flowcost.resolve.aws_directory import drop_empty
from flowcost.resolve.grammar import ATTRIBUTES

_SILENT = {"deprecated"}
# Names of custom fields as operators spell them, beside the attribute names themselves.
_FIELDS = {
    "aws_account": "cloud_account_id",
    "account": "cloud_account_id",
    "account_id": "cloud_account_id",
    "aws_account_id": "cloud_account_id",
    "region": "cloud_region",
    "aws_region": "cloud_region",
    "availability_zone": "cloud_availability_zone",
    "az_id": "cloud_availability_zone",
    "vpc_id": "cloud_vpc_id",
    "subnet_id": "cloud_subnet_id",
}


class _Named(Struct):
    name: str = ""
    slug: str = ""


class _Choice(Struct):
    value: str = ""


class Record(Struct):
    """One prefix or address of the IPAM, as far as it is read."""

    prefix: str = ""
    address: str = ""
    status: _Choice | None = None
    tenant: _Named | None = None
    role: _Named | None = None  # of an address it is a choice, which has no name
    vrf: _Named | None = None
    dns_name: str = ""
    custom_fields: dict[str, Any] = field(default_factory=dict)
    tags: list[_Named] = field(default_factory=list)


class _Page(Struct):
    results: list[Record]


def read(inventory: Path) -> Iterator[Layer]:
    """Yield the layer of `inventory/netbox`, if it is there.

    Raises:
        InventoryError: a file is not NetBox's, or holds something that is no prefix or address.
    """
    claims: list[Claim] = []
    for name in ("prefixes", "ip-addresses"):
        for suffix, records in ((".json", _records), (".csv", _rows)):
            path = inventory / "netbox" / f"{name}{suffix}"
            if path.exists():
                claims += _claims(records(path), path)
    if claims:
        yield Layer(source="netbox", claims=tuple(claims))


def _records(path: Path) -> list[Record]:
    raw = path.read_bytes()
    try:
        document = msgspec.json.decode(raw)
        pages = document if isinstance(document, list) else [document]
        if all(isinstance(page, dict) and "results" in page for page in pages):
            return [
                record for page in msgspec.convert(pages, list[_Page]) for record in page.results
            ]
        return msgspec.convert(pages, list[Record])
    except msgspec.DecodeError as error:
        raise InventoryError(
            f"{path}: {error}",
            hint="the file must hold the answers of NetBox's /api/ipam/, unchanged",
        ) from None


def _rows(path: Path) -> list[Record]:
    """Return the records of a CSV export; its columns are labels (`IP Address`) or names."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [
            {_column(name): value.strip() for name, value in row.items() if name and value}
            for row in csv.DictReader(file)
        ]
    return [
        Record(
            prefix=row.pop("prefix", ""),
            address=row.pop("ip_address", "") or row.pop("address", ""),
            status=_Choice(row.pop("status", "").casefold()),
            tenant=_Named(row.pop("tenant", "")),
            # An address's role says how it is shared, not what it serves.
            role=_Named(row.pop("role", "")) if path.stem == "prefixes" else None,
            vrf=_Named(row.pop("vrf", "")),
            dns_name=row.pop("dns_name", ""),
            custom_fields=dict(row),
        )
        for row in rows
    ]


def _column(title: str) -> str:
    return title.strip().casefold().replace(" ", "_").removeprefix("cf_")


def _claims(records: Iterable[Record], path: Path) -> Iterator[Claim]:
    for number, record in enumerate(records, 1):
        if record.status and record.status.value in _SILENT:
            continue
        try:
            first, last = _block(record)
        except ValueError as error:
            raise InventoryError(f"{path}: record {number}: {error}") from None
        yield Claim(first=first, last=last, identity=_identity(record))


def _block(record: Record) -> tuple[bytes, bytes]:
    if record.prefix:
        return network(record.prefix)
    # An address carries the length of its prefix: 10.0.0.7/24 is one host.
    address = pack(record.address.partition("/")[0])
    return address, address


def _identity(record: Record) -> Identity:
    custom = {
        name: str(value)
        for name, value in record.custom_fields.items()
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value)
    }
    named = tags.attributes(custom)
    for name, value in custom.items():
        folded = name.casefold()
        spelled = ATTRIBUTES.get(folded) or ATTRIBUTES.get(folded.replace("__", "."))
        attribute = _FIELDS.get(folded) or spelled
        if attribute and attribute != "kind":
            named.setdefault(attribute, value)
    if record.tenant:
        named.setdefault("owner_team", record.tenant.slug or record.tenant.name)
    if record.role:
        named.setdefault("service_name", record.role.slug or record.role.name)
    if record.vrf and record.vrf.name.startswith("vpc-"):
        named.setdefault("cloud_vpc_id", record.vrf.name)
    named.setdefault("dns_name", record.dns_name)
    return msgspec.convert(drop_empty(named), Identity)
