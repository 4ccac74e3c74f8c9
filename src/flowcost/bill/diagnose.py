"""A systematic ratio between ledger and bill has a cause: name it.

Two exact sums of one meter that differ by a factor of two, by 2**30/10**9 or altogether are not
off by chance. Agreement within 0.1 % proves the unit, since a wrong one gives 7.4 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.model import Finding

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TOLERANCE = 1000  # a month may differ by one part in this


class Cause(Struct, frozen=True):
    """A cause and the band of ledger/bill, in thousandths, that betrays it."""

    code: str
    low: int
    high: int
    hint: str


# First match wins. 2**30 / 10**9 = 1.074, its inverse 0.931.
CAUSES = (
    Cause("reconcile-doubled", 1950, 2050, "both legs counted: a gateway's records on both sides"),
    Cause("reconcile-unit", 1065, 1083, "bytes read as 10**9 per GB: the bill's GB is 2**30"),
    Cause("reconcile-unit", 922, 940, "bytes read as 2**30 per GB where the bill has 10**9"),
    Cause("reconcile-one-direction", 475, 525, "one direction only: its logs are not all there"),
    Cause("reconcile-over", 1001, 10**9, "more booked than billed: doubled flows or a wrong path"),
    Cause("reconcile-gaps", 1, 979, "records are missing: look for SKIPDATA and unwatched hosts"),
)
_ABSENT = {
    "RegionalNatGateway-Bytes": "regional NAT gateways have no interface: their flow log is apart",
    "NatGateway-Bytes": "no NAT gateway is watched: enable flow logs on its interface",
    "TransitGateway-Bytes": "no transit gateway is watched: enable its flow logs",
}


def cause(booked: int, billed: int, meter: str = "") -> tuple[str, str] | None:
    """Return (code, hint) of a systematic difference, or None where the sums agree.

    Sums within 0.1 % agree; between 2 % and 0.1 % low, the difference is small and not named.
    """
    if billed == 0 or abs(booked - billed) * TOLERANCE <= billed:
        return None
    if booked == 0:
        return "reconcile-absent", _ABSENT.get(meter, "nothing was booked on this meter")
    thousandths = booked * 1000 // billed
    for one in CAUSES:
        if one.low <= thousandths <= one.high:
            return one.code, one.hint
    return None


def diagnose(con: DuckDBPyConnection, keys: Sequence[str] = ("usage_type",)) -> list[Finding]:
    """Return the systematic differences of whole months, dearest meter first."""
    named = ", ".join(keys)
    rows = con.execute(
        f"""
        SELECT {named}, bill.bytes, coalesce(booked.bytes, 0), bill.meter
        FROM (SELECT {named}, any_value(meter) AS meter, sum(bytes) AS bytes, sum(cost) AS cost
              FROM billed_sums WHERE counts = 'bytes' AND meter <> '' GROUP BY {named}) bill
        LEFT JOIN (SELECT {named}, sum(bytes) AS bytes FROM booked_sums GROUP BY {named}) booked
        USING ({named})
        ORDER BY bill.cost DESC, {named}
        """
    ).fetchall()
    found = []
    for *values, billed, booked, meter in rows:
        if named_cause := cause(int(booked), int(billed), meter):
            code, hint = named_cause
            ratio = int(booked) * 1000 // int(billed)
            found.append(
                Finding(
                    code=code,
                    severity="warning",
                    subject=" ".join(map(str, values)),
                    bytes=int(booked) - int(billed),
                    sample=f"ledger is {ratio // 1000}.{ratio % 1000:03d} of the bill",
                    hint=hint,
                )
            )
    return found
