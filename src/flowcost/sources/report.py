"""Every row of a file is accounted for: booked, or counted under the reason it was not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum

from msgspec import Struct, field

from flowcost.model import Finding
from flowcost.sources.tgw_flow_logs import TGW
from flowcost.sources.vpc_flow_logs import VPC


class Fate(StrEnum):
    """What became of a row."""

    BOOKED = "booked"
    NODATA = "nodata"  # an interval without traffic
    SKIPDATA = "skipdata"  # the cloud lost records; one row may stand for many
    REJECT = "reject"  # refused by a security group or network ACL
    BROKEN = "broken"  # cannot be read as its format says
    NO_BYTES = "no_bytes"  # the format lacks bytes, times or addresses: nothing to book
    CROSS_CHECK = "cross_check"  # the same bytes are booked from another row
    UNSOLICITED = "unsolicited"  # sent to a NAT gateway by no client's request; dropped there
    TRANSIT = "transit"  # passing through an interface that is neither end
    NO_PACKET_ENDS = "no_packet_ends"  # a NAT gateway's row without pkt-srcaddr and pkt-dstaddr
    UNORIENTED = "unoriented"  # which end the interface is cannot be told


class Tally(Struct, frozen=True):
    """How many rows, and their bytes."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Return the sum of two tallies."""
        return Tally(self.rows + other.rows, self.bytes + other.bytes)


class FileReport(Struct, frozen=True, kw_only=True):
    """What was in one file.

    Attributes:
        path: local path or object key.
        format: `text`, `parquet`, `json`.
        record: `vpcflowlogs` or `transitgateway`; empty if the file could not be read.
        flow_log_id: from the object's name, empty if it has none.
        rows: records in the file; always the sum over `fates`.
        fates: rows and bytes by what became of them.
        skipped_seconds: seconds covered by SKIPDATA records.
        unknown_fields: fields of the header that no version known here has; rows are booked.
        packet_ends: the format has pkt-srcaddr and pkt-dstaddr.
        fields: how many fields that flows are made of the format has.
        translated_bytes: bytes of status-OK rows whose packet address differs from the logged one
            at either end, whatever the action or interface: the simple NAT filter's sum.
        external_bytes: bytes of a NAT gateway's outer legs, the second sight of the booked ones.
        nat_like: interfaces in no inventory that act as NAT gateways, with their clients' legs.
        samples: up to a few broken rows, as read.
        error: why the file was not read at all; then nothing of it was booked.
    """

    path: str
    format: str
    record: str = ""
    flow_log_id: str = ""
    rows: int = 0
    fates: dict[Fate, Tally] = field(default_factory=dict)
    skipped_seconds: int = 0
    unknown_fields: tuple[str, ...] = ()
    packet_ends: bool = False
    fields: int = 0
    translated_bytes: int = 0
    external_bytes: int = 0
    nat_like: dict[str, Tally] = field(default_factory=dict)
    samples: tuple[str, ...] = ()
    error: str = ""

    def tally(self, fate: Fate) -> Tally:
        """Return the rows and bytes of one fate."""
        return self.fates.get(fate, Tally())


_EXPLAINED = {
    Fate.SKIPDATA: (
        "flow-log-skipdata",
        "warning",
        "the cloud skipped records; bytes of these minutes are missing: lean on the bill there",
    ),
    Fate.REJECT: ("flow-log-reject", "info", "refused packets are not billed and not booked"),
    Fate.BROKEN: ("flow-log-broken-row", "warning", "rows cannot be read as their format says"),
    Fate.NO_BYTES: (
        "flow-log-no-bytes",
        "warning",
        "the format lacks bytes, start, end, srcaddr or dstaddr: add them to the flow log's format",
    ),
    Fate.UNSOLICITED: (
        "nat-unsolicited",
        "info",
        "sent to the gateway's public address by strangers; dropped there, nobody's cost",
    ),
    Fate.TRANSIT: (
        "flow-log-transit",
        "info",
        "a device on the way saw bytes that belong to other interfaces",
    ),
    Fate.NO_PACKET_ENDS: (
        "nat-without-packet-addresses",
        "error",
        "no NAT analysis without ${pkt-srcaddr} and ${pkt-dstaddr}: log both (default has neither)",
    ),
    Fate.UNORIENTED: (
        "flow-log-unoriented",
        "warning",
        "add flow-direction and pkt-srcaddr/pkt-dstaddr to the format, or give an inventory",
    ),
}


def findings(reports: Sequence[FileReport]) -> list[Finding]:
    """Return the findings of many files, one per kind of trouble, ordered by code."""
    totals: dict[Fate, Tally] = {}
    samples: dict[Fate, str] = {}
    unknown: dict[str, int] = {}
    result: list[Finding] = []
    skipped = 0
    for report in reports:
        skipped += report.skipped_seconds
        for fate, tally in report.fates.items():
            totals[fate] = totals.get(fate, Tally()) + tally
            if fate not in samples:
                shown = report.samples[0] if fate is Fate.BROKEN and report.samples else ""
                samples[fate] = f"{report.path}: {shown}" if shown else report.path
        for name in report.unknown_fields:
            unknown[name] = unknown.get(name, 0) + report.rows
        if report.error:
            result.append(
                Finding(
                    code="flow-log-unreadable",
                    severity="error",
                    subject=report.path,
                    sample=report.error,
                    hint="nothing of this file was booked; repair or remove it and run again",
                )
            )
    for fate, (code, severity, hint) in _EXPLAINED.items():
        if fate in totals:
            minutes = f" ({-(-skipped // 60)} minutes)" if fate is Fate.SKIPDATA else ""
            result.append(
                Finding(
                    code=code,
                    severity=severity,
                    subject=f"flow logs{minutes}",
                    count=totals[fate].rows,
                    bytes=totals[fate].bytes,
                    sample=samples[fate],
                    hint=hint,
                )
            )
    result.extend(
        Finding(
            code="flow-log-unknown-field",
            severity="info",
            subject=name,
            count=rows,
            hint=_unknown(name),
        )
        for name, rows in sorted(unknown.items())
    )
    result.extend(_nat_like(reports))
    return sorted(result, key=lambda finding: (finding.code, finding.subject))


def _unknown(name: str) -> str:
    """Return what to do about a field that no version known here has."""
    near = get_close_matches(name, sorted(VPC.names | TGW.names), n=1, cutoff=0.8)
    newer = "newer than this release, and its rows are booked without it"
    return f"{newer}; or is it {near[0]}, misspelt?" if near else newer


def _nat_like(reports: Iterable[FileReport]) -> Iterator[Finding]:
    """Yield a finding per interface that acts as a NAT gateway and is in no inventory."""
    totals: dict[str, Tally] = {}
    files: dict[str, str] = {}
    for report in reports:
        for name, tally in report.nat_like.items():
            totals[name] = totals.get(name, Tally()) + tally
            files.setdefault(name, report.path)
    for name, tally in totals.items():
        yield Finding(
            code="nat-gateway-not-known",
            severity="warning",
            subject=name,
            count=tally.rows,
            bytes=tally.bytes,
            sample=files[name],
            hint="these rows look like clients' behind a NAT gateway, which no inventory names, so "
            "they are not booked to them: add describe-nat-gateways and describe-network-"
            "interfaces, or a [[gateway]] in declared.toml, and run with --again",
        )
