"""A bill of any dialect becomes lines: only its network lines, in one normal form.

Enters: files of a bill. Leaves: `bill_rows`, `bill_words`, `bill_sums` and the view `bill_lines`
with the columns of `schema.BILL_LINES`, and a `Bill` that says what it is. Rows never pass through
Python: the engine reads, sieves and joins them; Python decides over the few distinct words. The
law it keeps: quantities and costs are exact from the text or the double on, and every network line
is kept, known or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from flowcost.bill import inspect, rows, words
from flowcost.bill.engine import scratch
from flowcost.bill.files import BillFile, discover, unpack, without_copies
from flowcost.bill.stage import stage
from flowcost.errors import BillError
from flowcost.model import Finding

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Bill(Struct, frozen=True, kw_only=True):
    """What a bill is; its lines are in the view `bill_lines`.

    `final` says whether every line carries an invoice. `months` are first days, ascending.
    """

    payer: str
    months: tuple[date, ...]
    currency: str
    lines: int
    final: bool
    files: tuple[str, ...]
    findings: tuple[Finding, ...]


def read(
    con: DuckDBPyConnection, paths: Sequence[Path], *, payer: str = "", month: date | None = None
) -> Bill:
    """Create the view `bill_lines`, and the tables below it, from the bill at `paths`.

    Args:
        con: an engine; nothing else in it is touched. The view reads the files again.
        paths: files, manifests or folders.
        payer: keep only this payer account; needed where a bill holds several.
        month: keep only this billing month (its first day).

    Raises:
        BillError: the files are no bill, are damaged, lack columns, mix payers or currencies, or
            hold no network lines of the month.
    """
    files = discover(paths)
    with reported(files):
        kept, copies = without_copies(unpack(files, scratch(con)))
        sources = stage(con, kept)
        sieves = [words.sieve(con, source) for source in sources]
        hashes = words.gather(con, sources, sieves, payer)
        rows.gather(con, sources, hashes, sieves, month)
        repeated = inspect.drop_repeats(con)
        found = inspect.inspect(con, month)
    return Bill(
        payer=found.payer,
        months=found.months,
        currency=found.currency,
        lines=found.lines,
        final=found.final,
        files=tuple(str(file.path) for file in files),
        findings=(*copies, *repeated, *found.findings),
    )


@contextmanager
def reported(files: Sequence[BillFile]) -> Iterator[None]:
    """Turn the engine's errors into one that names the bill."""
    import duckdb  # noqa: PLC0415 - 60 ms that `--help` does not need

    try:
        yield
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
        raise  # ours, not the file's
    except duckdb.Error as error:
        named = ", ".join(str(file.path) for file in files[:3])
        first = str(error).splitlines()[0]
        raise BillError(
            f"{named}: cannot be read as a bill ({first})",
            hint="the file may be cut short or damaged: download it again",
        ) from None
