"""What a row is before anyone asks whose it is: a flow, a refused one, no data, or broken.

Status and action choose from a table of a few entries; whether a row's numbers can be true is only
checked where the piece's spans leave it open. A null where there must be a value is a broken row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flowcost.clock import EARLIEST, LATEST
from flowcost.sources.code import (
    BROKEN,
    FLOW,
    LARGEST,
    LONGEST,
    NO_BYTES,
    NODATA,
    REJECT,
    SKIPDATA,
)
from flowcost.sources.raw import WHOLE, Piece

_STATUS = "log-status"
_BARE = {"NODATA": NODATA, "SKIPDATA": SKIPDATA}
_ACTIONS = {"ACCEPT": FLOW, "REJECT": REJECT}
_SPAN = int(EARLIEST.timestamp()), int(LATEST.timestamp()) - 1


class Kinds:
    """The kinds of one piece's rows; `limits` are (field, most) of what may be missing."""

    def __init__(self, piece: Piece, limits: Sequence[tuple[str, int]]) -> None:
        self._piece, self._limits = piece, limits
        self._action = piece.record.mapping.action if piece.bookable else ""
        self._has_action = piece.has(self._action)
        self._has_status = piece.has(_STATUS)
        self._valid, self._invalid = self._tables()

    def _tables(self) -> tuple[Any, Any]:
        """Return the kind by (status, action): of rows whose numbers can be true, and cannot."""
        import pyarrow as pa  # noqa: PLC0415 - heavy

        statuses = self._piece.words[_STATUS] if self._has_status else ("OK",)
        actions = self._piece.words[self._action] if self._has_action else ("ACCEPT",)
        valid, invalid = [], []
        for status in statuses:
            for action in actions:
                good, bad = _ACTIONS.get(action, BROKEN), BROKEN
                if not self._piece.bookable:
                    good = bad = NO_BYTES
                if status != "OK":
                    good = bad = _BARE.get(status, BROKEN)
                valid.append(good)
                invalid.append(bad)
        return pa.array(valid, pa.int64()), pa.array(invalid, pa.int64())

    def of(self, row: dict[str, Any]) -> Any:  # noqa: ANN401 - Arrow array
        """Return the kind of each row of a stretch."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        index = pa.repeat(pa.scalar(0, pa.int32()), len(next(iter(row.values()))))
        if self._has_status and self._has_action:
            count = pa.scalar(len(self._piece.words[self._action]), pa.int32())
            index = pc.add(pc.multiply(row[_STATUS], count), row[self._action])
        elif self._has_status or self._has_action:
            index = row[_STATUS if self._has_status else self._action]
        kind = self._valid.take(index)
        if self._piece.bookable:
            valid: Any = None
            for check in self._checks(row):
                valid = check if valid is None else pc.and_(valid, check)
            if valid is not None and not pc.all(valid, min_count=0).as_py():
                kind = pc.if_else(valid, kind, self._invalid.take(index))
        if WHOLE in row:
            kind = pc.if_else(row[WHOLE].fill_null(fill_value=False), kind, BROKEN)
        return kind

    def _checks(self, row: dict[str, Any]) -> Iterator[Any]:
        """Yield what must hold of a row, without nulls."""
        import pyarrow.compute as pc  # noqa: PLC0415 - heavy

        piece, mapping = self._piece, self._piece.record.mapping
        bounds = [("start", *_SPAN, False), ("end", *_SPAN, False), ("bytes", 0, LARGEST, False)]
        bounds += [(name, 0, most, True) for name, most in self._limits]
        for name, least, most, optional in bounds:
            lowest, highest, nulls = piece.spans[name]
            column = row[name]
            if not (least <= lowest and highest <= most):
                inside = pc.and_(pc.greater_equal(column, least), pc.less_equal(column, most))
                yield inside.fill_null(optional)
            elif nulls and not optional:
                yield pc.is_valid(column)
        yield pc.greater_equal(row["end"], row["start"]).fill_null(fill_value=False)
        if piece.spans["end"][1] - piece.spans["start"][0] > LONGEST:
            length = pc.subtract(row["end"], row["start"])
            yield pc.less_equal(length, LONGEST).fill_null(fill_value=False)
        for name in (mapping.source, mapping.destination):
            yield pc.greater(row[name], 0)
