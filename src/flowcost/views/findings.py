"""Findings as rows: what was noticed in the data, worst first."""

from __future__ import annotations

from collections.abc import Iterable

from flowcost.model import Finding
from flowcost.schema import Column

FINDINGS = (
    Column("severity", "text", "error, warning or info"),
    Column("code", "text", "kind of finding"),
    Column("subject", "text", "what it is about"),
    Column("count", "int", "how often"),
    Column("bytes", "bytes", "bytes concerned"),
    Column("sample", "text", "one instance"),
    Column("hint", "text", "what to do"),
)
_ORDER = ("error", "warning", "info")


def finding_rows(findings: Iterable[Finding]) -> list[tuple[object, ...]]:
    """Return the rows of `FINDINGS`, errors first; the order within a severity is kept."""
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    return [tuple(getattr(finding, column.name) for column in FINDINGS) for finding in ordered]
