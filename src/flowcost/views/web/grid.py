"""Tables of the console: what a cell shows, its exact value, and where it leads."""

from __future__ import annotations

from msgspec import Struct

from flowcost.schema import Column
from flowcost.views.tables import NUMBERS, human, plain

MONEY = Column("list_cost", "money", "")
BYTES = Column("bytes", "bytes", "")
BAR = 1000  # the width of a whole bar


class Cell(Struct, frozen=True, kw_only=True):
    """What a table cell shows; `exact` is its value where that is a number.

    `href` leads to the selection the cell names. `bar` is a part of `BAR`; `tone` says up, down,
    quiet or a badge's kind.
    """

    text: str
    exact: str = ""
    number: bool = False
    href: str = ""
    title: str = ""
    bar: int | None = None
    tone: str = ""

    @property
    def account(self) -> bool:
        """Return whether this is what could not be told apart or proven: never hidden."""
        return not self.number and (self.text.startswith("(") or self.text == "unknown")


class Head(Struct, frozen=True, kw_only=True):
    """A column: its words, whether it holds numbers, and where a click sorts by it."""

    label: str
    name: str = ""
    number: bool = False
    href: str = ""
    sorted: str = ""
    doc: str = ""


class Row(Struct, frozen=True, kw_only=True):
    """A row; `href` is one step down, `narrow` the same page with only this row's charges."""

    cells: tuple[Cell, ...]
    href: str = ""
    narrow: str = ""
    hint: tuple[str, ...] = ()
    interval: tuple[str, ...] = ()


class Grid(Struct, frozen=True, kw_only=True):
    """A titled table; `chart` names the drawing the page makes from it."""

    id: str
    title: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    text: str = ""
    chart: str = ""
    empty: str = "No charges in this selection."
    more: str = ""
    note: str = ""


def number(column: Column, value: object, *, bar: int | None = None) -> Cell:
    """Return the cell of a number: rounded for eyes, exact beside it."""
    exact = "" if value is None else str(plain(column, value))
    quiet = "quiet" if value is None or exact == "0" else ""
    return Cell(text=human(column, value), exact=exact, number=True, bar=bar, tone=quiet)


def word(column: Column, value: object, href: str = "") -> Cell:
    """Return the cell of a key; an absent value says so."""
    if column.type in NUMBERS:
        return number(column, value)
    return Cell(text=human(column, value) or "(none)", href=href)


def money(size: int, cost: int, unpriced: int) -> Cell:
    """Return a cost; what is wholly unpriced costs nothing that is known."""
    known = cost or not unpriced or unpriced < size
    return number(MONEY, cost if known else None)


def part(amount: int, whole: int) -> int:
    """Return `amount` of `whole` in parts of `BAR`; something is never drawn as nothing."""
    if amount <= 0 or whole <= 0:
        return 0
    return max(amount * BAR // whole, 4)


def moved(column: Column, difference: int, title: str) -> Cell:
    """Return the cell of a difference, with its sign."""
    if difference == 0:
        return Cell(text="±0", exact="0", number=True, tone="quiet", title=title)
    sign, tone = ("+", "up") if difference > 0 else ("\N{MINUS SIGN}", "down")
    exact = str(plain(column, difference))
    text = f"{sign}{human(column, abs(difference))}"
    return Cell(text=text, exact=exact, number=True, tone=tone, title=title)
