"""A kind of flow record: its fields, and which of them carries which part of a flow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flowcost.errors import SourceError

FIELD_NAME = re.compile(r"[a-z][a-z0-9-]*")
_NUMBERS = ("bytes", "packets", "start", "end", "protocol", "srcport", "dstport")


@dataclass(frozen=True)
class Field:
    """One field: its name as in a text header, its type (`int` or `text`), since which version."""

    name: str
    type: str
    version: int
    doc: str


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """The field that carries each part of a flow; empty where the record has none.

    `packet_source` and `packet_destination` are the ends in the packet where `source` and
    `destination` show an interface's own address instead. Bytes, packets, times, ports, protocol
    and status have the same names in every record.
    """

    source: str
    destination: str
    observer: str
    account: str
    packet_source: str = ""
    packet_destination: str = ""
    direction: str = ""
    source_service: str = ""
    destination_service: str = ""
    device: str = ""
    device_type: str = ""
    next_hop_type: str = ""
    next_hop_az: str = ""
    action: str = ""
    region: str = ""
    az: str = ""
    vpc: str = ""
    subnet: str = ""
    instance: str = ""
    traffic_path: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A kind of flow record; `default` is the field order of text without a header."""

    name: str
    fields: tuple[Field, ...]
    default: tuple[str, ...]
    mapping: Mapping

    @cached_property
    def names(self) -> frozenset[str]:
        """Return the names of all known fields."""
        return frozenset(field.name for field in self.fields)

    @cached_property
    def used(self) -> tuple[str, ...]:
        """Return the names of the fields that flows are made of, in the record's order."""
        fields = {getattr(self.mapping, name) for name in Mapping.__dataclass_fields__}
        fields |= {*_NUMBERS, "log-status"}
        return tuple(field.name for field in self.fields if field.name in fields)

    @cached_property
    def integers(self) -> frozenset[str]:
        """Return the names of the fields that hold integers."""
        return frozenset(field.name for field in self.fields if field.type == "int")


def canonical(name: str) -> str:
    """Return a field name as text headers spell it: `pkt_srcaddr` -> `pkt-srcaddr`."""
    return name.strip().lower().replace("_", "-")


def parse_format(text: str) -> tuple[str, ...]:
    """Return the field names of a log format: `${version} ${account-id}…`, or bare names.

    Raises:
        SourceError: a name is no field's, occurs twice, or there is none.
    """
    hint = (
        "give it in single quotes as the flow log has it, since a shell replaces ${…} elsewhere: "
        "--log-format '${version} ${account-id} …'"
    )
    names = []
    for word in text.split():
        name = canonical(word.removeprefix("${").removesuffix("}"))
        if FIELD_NAME.fullmatch(name) is None:
            raise SourceError(f"the log format has {word!r}, which names no field", hint=hint)
        names.append(name)
    if len(names) < 2:
        raise SourceError("the log format names no fields", hint=hint)
    check_unique(names, "the log format")
    return tuple(names)


def check_unique(names: Sequence[str], where: str) -> None:
    """Refuse a list of fields in which one occurs twice.

    Raises:
        SourceError: naming the repeated fields.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            f"{where} names {', '.join(twice)} more than once",
            hint="each field may occur once; correct the format of this log",
        )
