"""Why: a charge with its verdict, its rate and the arithmetic between them, from the ledger alone.

Nothing is decided again here: what is printed is what was written when the charge was booked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from flowcost import money
from flowcost.address import unpack
from flowcost.ledger.query import EVERYTHING, Selection, opened, scanned
from flowcost.ledger.reread import reread
from flowcost.ledger.store import Ledger
from flowcost.schema import CHARGES, IDENTITY_FIELDS, attribute_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LINKS = ("local_id", "remote_id", "local_address", "remote_address", "verdict_id", "rate_id")
_SAID_ELSEWHERE = (*_LINKS, "list_cost", "path", "confidence")
_WORDS = {money.GIB: "GiB", 10**9: "GB"}


class RateUsed(Struct, frozen=True, kw_only=True):
    """The dated rate of a charge; `price` is a decimal text per `unit_bytes` quantities."""

    book: str
    usage_type: str
    operation: str
    region: str
    to_region: str
    price: str
    currency: str
    unit: str
    unit_bytes: int
    tier_from: int
    effective_from: date
    effective_to: date | None
    source_url: str
    checked_on: date

    @property
    def per(self) -> str:
        """Return the billing unit as what it measures: a provider's `GB` may be 2**30 bytes."""
        return _WORDS.get(self.unit_bytes, self.unit)


class Explanation(Struct, frozen=True, kw_only=True):
    """One charge and everything it follows from.

    `charge` holds its remaining columns; `list_cost` is a numerator over `money.ONE`, None if
    unpriced. `local` and `remote` hold what is known of an end, in OpenTelemetry names.
    """

    path: str
    rule: str
    confidence: str
    evidence: tuple[str, ...]
    facts: dict[str, object]
    charge: dict[str, object]
    local: dict[str, str]
    remote: dict[str, str]
    rate: RateUsed | None
    list_cost: int | None
    arithmetic: str


@reread
def explain(
    ledger: Ledger, selection: Selection = EVERYTHING, *, top: int = 5
) -> list[Explanation]:
    """Return the `top` dearest charges of a selection; unpriced ones follow, largest first.

    Raises:
        FilterError: the selection's filter cannot be read.
    """
    names = [column.name for column in CHARGES]
    scan = scanned(selection)
    what = ", ".join(f"c.{name}" for name in names)
    order = f"ORDER BY c.list_cost DESC NULLS LAST, c.quantity DESC, {what} LIMIT ?"
    with opened(ledger, selection) as con:
        rows = con.execute(scan.charges(what, order), [*scan.values, top]).fetchall()
        charges = [dict(zip(names, row, strict=True)) for row in rows]
        ends = [charge[f"{end}_id"] for charge in charges for end in ("local", "remote")]
        identities = _by_id(con, "identities", "identity_id", ends)
        verdicts = _by_id(con, "verdicts", "verdict_id", [c["verdict_id"] for c in charges])
        rates = _by_id(con, "rates", "rate_id", [c["rate_id"] for c in charges])
    return [
        _explained(
            charge,
            identities,
            verdicts.get(charge["verdict_id"], {}),
            rates.get(charge["rate_id"]),
        )
        for charge in charges
    ]


def _by_id(
    con: DuckDBPyConnection, table: str, column: str, ids: Iterable[object]
) -> dict[object, dict[str, object]]:
    wanted = sorted({int(str(key)) for key in ids if key})
    marks = ", ".join("?" * len(wanted)) or "NULL"
    cursor = con.execute(f"SELECT * FROM {table} WHERE {column} IN ({marks})", wanted)
    names = [field[0] for field in cursor.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {row[column]: row for row in found}


def _explained(
    charge: dict[str, object],
    identities: dict[object, dict[str, object]],
    verdict: dict[str, object],
    rate_row: dict[str, object] | None,
) -> Explanation:
    hour = charge["hour"]
    if isinstance(hour, datetime):
        charge = {**charge, "hour": hour.replace(tzinfo=UTC)}
    rate = None
    if rate_row:
        fields = {name: rate_row[name] for name in RateUsed.__struct_fields__}
        rate = RateUsed(**{**fields, "tier_from": int(str(fields["tier_from"]))})  # type: ignore[arg-type]
    cost = None if charge["list_cost"] is None else int(str(charge["list_cost"]))
    return Explanation(
        path=str(charge["path"]),
        rule=str(verdict.get("rule", "")),
        confidence=str(charge["confidence"]),
        evidence=tuple(map(str, verdict.get("evidence") or ())),  # type: ignore[call-overload]
        facts=msgspec.json.decode(str(verdict.get("facts") or "{}")),
        charge={name: value for name, value in charge.items() if name not in _SAID_ELSEWHERE},
        local=_end(charge, "local", identities),
        remote=_end(charge, "remote", identities),
        rate=rate,
        list_cost=cost,
        arithmetic=_arithmetic(charge, rate, cost),
    )


def _end(
    charge: dict[str, object], end: str, identities: dict[object, dict[str, object]]
) -> dict[str, str]:
    identity = identities.get(charge[f"{end}_id"], {})
    known = {attribute_name(name): str(identity.get(name) or "") for name in IDENTITY_FIELDS}
    found = {name: value for name, value in known.items() if value}
    address = charge[f"{end}_address"]
    return {**found, "address": unpack(address)} if isinstance(address, bytes) else found


def _arithmetic(charge: dict[str, object], rate: RateUsed | None, cost: int | None) -> str:
    """Return how quantity and price make the cost, exactly; or why there is none."""
    quantity, unit, usage_type = (charge[name] for name in ("quantity", "unit", "usage_type"))
    if cost is None:
        why = "no rate is known for this meter" if usage_type else "no meter can be proven"
        return f"{quantity} {unit}, unpriced: {why}"
    if rate is None:
        return f"{quantity} {unit}, no meter runs on this path = {money.exact(cost)}"
    per = rate.per if rate.unit_bytes == 1 else f"{rate.unit_bytes} {unit} (1 {rate.per})"
    return f"{quantity} {unit} * {rate.price} {rate.currency} / {per} = {money.exact(cost)}"
