"""What past reconciliations found: one small file per month and bill, beside the ledger.

Enters: a reconciled bill. Leaves: `.bill/TENANT/PAYER/MONTH/ASSEMBLY.json` below the ledger's
root. The assembly is a digest of what the bill says, so the same bill read again, from any form of
file, replaces its own record, and a restated month stands beside the earlier one. A record that
would say the same is left as it is. Amounts are numerators over `money.ONE`, as decimal text:
JSON readers outside Python round large integers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec import Struct, structs

from flowcost import clock
from flowcost.bill import report
from flowcost.bill.read import Bill
from flowcost.errors import LedgerError, UsageError
from flowcost.ledger import Ledger
from flowcost.ledger.query import Table
from flowcost.model import Finding
from flowcost.schema import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FOLDER = ".bill"
VERSION = 1


class Meter(Struct, frozen=True):
    """One meter of a month; bytes as metered and as booked, costs before credits."""

    usage_type: str
    operation: str
    lines: int
    billed_bytes: int
    ledger_bytes: int
    billed: str
    residual: str


class Rest(Struct, frozen=True):
    """What has no owner for one reason, or was booked and met no line."""

    reason: str
    count: int
    bytes: int
    cost: str


class Apart(Struct, frozen=True):
    """What stands on network lines besides usage."""

    line_type: str
    lines: int
    cost: str


class Record(Struct, frozen=True, kw_only=True):
    """A reconciliation of one month of one payer.

    `measured` is what the ledger's metered charges of the month cost at list price, in US dollars
    whatever the bill's currency; `unbilled` costs are list prices too. `at` is when the month was
    last reconciled with this bill, `since` when first: a bill first seen later replaces another.
    """

    version: int = VERSION
    at: str
    since: str
    tenant: str
    payer: str
    month: date
    assembly: str
    currency: str
    final: bool
    files: tuple[str, ...]
    measured: str
    measured_bytes: int
    meters: tuple[Meter, ...]
    residuals: tuple[Rest, ...]
    unbilled: tuple[Rest, ...]
    apart: tuple[Apart, ...]
    findings: tuple[Finding, ...]

    @property
    def billed_bytes(self) -> int:
        """Return the bytes that the provider metered."""
        return sum(meter.billed_bytes for meter in self.meters)

    @property
    def lines(self) -> int:
        """Return the number of usage lines."""
        return sum(meter.lines for meter in self.meters)

    @property
    def billed(self) -> int:
        """Return the cost of usage before credits, as a numerator over `money.ONE`."""
        return sum(int(meter.billed) for meter in self.meters)

    @property
    def residual(self) -> int:
        """Return the part of it without an owner."""
        return sum(int(meter.residual) for meter in self.meters)

    @property
    def residual_bytes(self) -> int:
        """Return the metered bytes without an owner."""
        return sum(rest.bytes for rest in self.residuals)


def records(ledger: Ledger, *, tenant: str | None = None) -> list[Record]:
    """Return what was recorded, newest month first, and of one month the newest bill first.

    Args:
        ledger: beside which the records are.
        tenant: only of this tenant; None is all.

    Raises:
        LedgerError: a record cannot be read.
    """
    found = []
    for path in sorted((ledger.root / FOLDER).glob("*/*/*/*.json")):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError) as error:
            raise LedgerError(
                f"{path}: not a record of a reconciliation ({error})",
                hint="delete the file and reconcile the month again",
            ) from None
        if tenant is None or record.tenant == tenant:
            found.append(record)
    return sorted(found, key=lambda one: (one.month, one.since, one.assembly), reverse=True)


def keep(ledger: Ledger, record: Record) -> Path:
    """Write a record whole, unless the same is there already; return its file."""
    folder = ledger.root.joinpath(
        FOLDER,
        quote(record.tenant, safe="") or "_",
        quote(record.payer, safe="") or "_",
        f"{record.month:%Y-%m}",
    )
    path = folder / f"{record.assembly}.json"
    if path.exists():
        before = msgspec.json.decode(path.read_bytes(), type=Record)
        record = structs.replace(record, since=before.since)
        if structs.replace(before, at=record.at) == record:
            return path
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    draft.replace(path)
    return path


def of(
    con: DuckDBPyConnection,
    bill: Bill,
    ledger: Ledger,
    findings: Iterable[Finding],
    *,
    tenant: str = "",
    now: datetime,
) -> Record:
    """Return the record of a reconciliation that `reconcile` left in `con`, of one month.

    Raises:
        UsageError: the bill is of several months.
    """
    if len(bill.months) > 1:
        raise UsageError(
            f"a record is of one month; the bill is of {len(bill.months)}",
            hint="name one with --month, or keep no record: --no-record",
        )
    held = {found.tenant for found in ledger.manifests(tenant=tenant)}
    booked, cost = report.measured(con)
    return Record(
        at=clock.iso(now),
        since=clock.iso(now),
        tenant=tenant or (held.pop() if len(held) == 1 else ""),
        payer=bill.payer,
        month=bill.months[0],
        assembly=_assembly(con),
        currency=bill.currency,
        final=bill.final,
        files=tuple(Path(file).name for file in bill.files),
        measured=str(cost),
        measured_bytes=booked,
        meters=tuple(
            Meter(row[0], row[1], row[2], row[3], row[4], str(row[7]), str(row[9]))
            for row in report.compared(con).rows
        ),
        residuals=tuple(
            Rest(row[0], row[1], row[2], str(row[3])) for row in report.residuals(con).rows
        ),
        unbilled=tuple(
            Rest(row[0], row[2], row[3], str(row[4])) for row in report.unbilled(con).rows
        ),
        apart=tuple(Apart(row[0], row[2], str(row[3])) for row in report.apart(con).rows),
        findings=tuple(findings),
    )


def _assembly(con: DuckDBPyConnection) -> str:
    """Return a digest of what the bill says: its lines, bytes and cost per words of its lines."""
    rows = con.execute(
        "SELECT payer_account, account, metered_as, operation, line_type, currency,"
        " invoice <> '' AS invoiced, sum(lines), sum(bytes), sum(cost)"
        " FROM bill_sums JOIN bill_words USING (word) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return hashlib.sha256(repr([tuple(map(str, row)) for row in rows]).encode()).hexdigest()[:16]


HISTORY = (
    Column("month", "day", "first day of the month"),
    Column("payer", "text", "account that is invoiced"),
    Column("assembly", "text", "digest of what the bill says"),
    Column("reconciled", "text", "when"),
    Column("state", "text", "final, or estimate while lines have no invoice"),
    Column("replaced", "flag", "a later bill of the month is on record"),
    Column("currency", "text", "ISO 4217"),
    Column("billed_cost", "money", "network usage before credits"),
    Column("attributed_cost", "money", "with an owner"),
    Column("residual_cost", "money", "without"),
    Column("billed_bytes", "bytes", "metered by the provider"),
    Column("agreement", "text", "how far the bytes that were met agree with them"),
)


def listed(found: Iterable[Record]) -> Table:
    """Return records as a table, in their order: newest month and newest bill first."""
    seen: set[tuple[str, str, date]] = set()
    rows = []
    for one in found:
        key = (one.tenant, one.payer, one.month)
        state = "final" if one.final else "estimate"
        met = report.agreement(one.billed_bytes - one.residual_bytes, one.billed_bytes)
        rows.append(
            (one.month, one.payer, one.assembly, one.at, state, key in seen, one.currency,
             one.billed, one.billed - one.residual, one.residual, one.billed_bytes, met)
        )  # fmt: skip
        seen.add(key)
    return Table(HISTORY, tuple(rows))
