"""Every row of every file goes under one fate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from flowcost.sources.code import BROKEN, NO_BYTES, NODATA, SKIPDATA, bits
from flowcost.sources.oriented import FATE_NUMBERS, FATES, Oriented
from flowcost.sources.report import Fate, FileReport, Tally

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SAMPLES = 3
_BARE = {
    NODATA: Fate.NODATA,
    SKIPDATA: Fate.SKIPDATA,
    BROKEN: Fate.BROKEN,
    NO_BYTES: Fate.NO_BYTES,
}
_PART, _KIND = bits("part"), bits("kind")
_ORIENTED = f"""
SELECT {_PART}, fate, sum(rows)::BIGINT, sum(bytes)::HUGEINT,
       coalesce(sum(bytes) FILTER (translated <> 0), 0)::HUGEINT,
       coalesce(sum(bytes) FILTER (at_nat), 0)::HUGEINT
FROM oriented GROUP BY ALL
"""
_OTHERS = f"""
SELECT {_PART}, {_KIND}, sum(rows)::BIGINT, sum(seconds)::BIGINT
FROM groups WHERE {_KIND} IN ({", ".join(map(str, _BARE))}) GROUP BY ALL
"""

_BROKEN_ENDS = f"""
SELECT {_PART} AS part, src, dst FROM oriented WHERE fate = {FATE_NUMBERS[Fate.BROKEN]}
QUALIFY row_number() OVER (PARTITION BY part ORDER BY src, dst) <= {SAMPLES} ORDER BY ALL
"""


def account(con: DuckDBPyConnection, reports: list[FileReport], oriented: Oriented) -> None:
    """Add groups to the reports of their files; they and `oriented` are registered."""
    for like in oriented.nat_like:
        before = reports[like.part]
        total = before.nat_like.get(like.interface, Tally()) + like.tally
        reports[like.part] = msgspec.structs.replace(
            before, nat_like={**before.nat_like, like.interface: total}
        )
    external = FATE_NUMBERS[Fate.CROSS_CHECK]
    for part, fate, rows, size, translated, at_nat in con.execute(_ORIENTED).fetchall():
        before = reports[part]
        reports[part] = msgspec.structs.replace(
            _with(before, FATES[fate], Tally(rows, int(size))),
            translated_bytes=before.translated_bytes + int(translated),
            external_bytes=before.external_bytes + (int(at_nat) if fate == external else 0),
        )
    for part, kind, rows, seconds in con.execute(_OTHERS).fetchall():
        before = reports[part]
        reports[part] = msgspec.structs.replace(
            _with(before, _BARE[kind], Tally(rows)),
            skipped_seconds=before.skipped_seconds + seconds,
        )
    addresses = oriented.grouped.addresses
    for part, src, dst in con.execute(_BROKEN_ENDS).fetchall():
        sample(reports, part, [f"{addresses[src]} {addresses[dst]}"])


def sample(reports: list[FileReport], part: int, rows: Sequence[str]) -> None:
    """Add broken rows to a file's report, up to a few."""
    samples = (*reports[part].samples, *rows)[:SAMPLES]
    reports[part] = msgspec.structs.replace(reports[part], samples=samples)


def _with(report: FileReport, fate: Fate, tally: Tally) -> FileReport:
    fates = {**report.fates, fate: report.tally(fate) + tally}
    return msgspec.structs.replace(
        report, rows=report.rows + tally.rows, fates=dict(sorted(fates.items()))
    )
