"""What a ledger says about itself: what is unknown, unowned, assumed, or avoidable.

Every finding carries the filter that shows its charges: no claim without its evidence. A saving
is only what a rate proves; findings may overlap and are never summed.
"""

from __future__ import annotations

from msgspec import Struct, structs

from flowcost.ledger.ends import UNATTRIBUTED
from flowcost.ledger.query import EVERYTHING, Selection, costs
from flowcost.ledger.store import Ledger
from flowcost.ledger.totals import Totals, totals
from flowcost.model import Confidence, Finding, Path, Provenance

# Services with a gateway endpoint, which has no charge (AWS: "Gateway endpoints", VPC guide).
GATEWAY_ENDPOINT_SERVICES = ("S3", "DYNAMODB")


class Noticed(Struct, frozen=True, kw_only=True):
    """A finding, the filter that shows its charges, and what they cost or could save.

    `list_cost` is a numerator over `money.ONE`; None where no charge has a price.
    """

    finding: Finding
    where: str
    list_cost: int | None = None
    saves: bool = False


def findings(
    ledger: Ledger, selection: Selection = EVERYTHING, whole: Totals | None = None
) -> list[Noticed]:
    """Return what to look at first: savings by amount, then gaps by bytes.

    `whole` is what the selection adds up to, if the asker knows it already.
    """
    whole = whole or totals(ledger, selection)
    found = _missing_endpoints(ledger, selection)
    # What has neither bytes nor a price is not asked for.
    if whole.unknown_bytes or whole.unpriced_bytes:
        found += _share(
            ledger,
            selection,
            f"path = {Path.UNKNOWN}",
            code="unknown-path",
            severity="warning",
            subject="billing path cannot be proven",
            hint="rules and evidence: flowcost explain with this filter",
        )
    owned = (whole.attributed_bytes, whole.attributed_cost) == (whole.bytes, whole.list_cost)
    if not owned or whole.unpriced_bytes:
        found += _share(
            ledger,
            selection,
            f'owner = "{UNATTRIBUTED}"',
            code="unattributed",
            severity="warning",
            subject="the paying end has no owner",
            hint="add the address to the inventory or to declared.toml",
        )
    found += [
        *_share(
            ledger,
            selection,
            f"confidence = {Confidence.ASSUMED}",
            code="assumed",
            severity="info",
            subject="the verdict rests on an operator's switch or undocumented behaviour",
            hint="flowcost explain names the assumption",
        ),
        *_share(
            ledger,
            selection,
            f"provenance = {Provenance.IMPLIED}",
            code="implied-legs",
            severity="info",
            subject="metered at an end without a sensor: follows from the other end",
            hint="--legs observed leaves these out",
        ),
    ]
    if whole.days and whole.rates_checked is None:
        finding = Finding(
            code="nothing-priced",
            severity="error",
            subject="no charge has a rate",
            count=whole.days,
            hint="flowcost rates check",
        )
        found.append(Noticed(finding=finding, where=""))
    return sorted(found, key=lambda n: (-(n.list_cost or 0) if n.saves else 0, -n.finding.bytes))


def _missing_endpoints(ledger: Ledger, selection: Selection) -> list[Noticed]:
    """Return NAT processing of bytes that a free gateway endpoint would carry."""
    services = ", ".join(GATEWAY_ENDPOINT_SERVICES)
    where = f"usage_type ~ *NatGateway-Bytes and remote.cloud.service in ({services})"
    keys = ("remote.cloud.service", "region", "remote.cloud.region", "resource_id")
    table = costs(ledger, _narrowed(selection, where), by=keys)
    found = []
    for service, region, far_region, gateway, quantity, cost, _ in table.rows:
        if region != far_region:  # a gateway endpoint serves its own region only
            continue
        finding = Finding(
            code="missing-endpoint",
            severity="warning",
            subject=f"{service} in {region} is reached through {gateway or 'a NAT gateway'}",
            bytes=quantity,
            hint=f"a gateway endpoint for {service} carries this without a processing charge",
        )
        narrowed = f"{where} and region = {region}"
        if gateway:
            narrowed += f" and resource_id = {gateway}"
        found.append(Noticed(finding=finding, where=narrowed, list_cost=cost, saves=True))
    return found


def _share(
    ledger: Ledger,
    selection: Selection,
    where: str,
    *,
    code: str,
    severity: str,
    subject: str,
    hint: str,
) -> list[Noticed]:
    """Return one finding for all that `where` selects, if anything."""
    found = totals(ledger, _narrowed(selection, where))
    if not found.days:
        return []
    finding = Finding(
        code=code,
        severity=severity,
        subject=subject,
        count=found.days,
        bytes=found.bytes,
        hint=hint,
    )
    cost = found.list_cost if found.rates_checked or found.list_cost else None
    return [Noticed(finding=finding, where=where, list_cost=cost)]


def _narrowed(selection: Selection, where: str) -> Selection:
    both = f"({selection.where}) and {where}" if selection.where.strip() else where
    return structs.replace(selection, where=both)
