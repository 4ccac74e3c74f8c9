"""Completion of a filter while it is being typed: what may stand at the cursor.

Enters: the text, the cursor, and a way to ask for a key's values. Leaves: suggestions that replace
the word under the cursor; the text itself may be unfinished or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from flowcost.errors import FilterError
from flowcost.ledger import keys
from flowcost.ledger.filter import OPERATORS, Token, quoted, tokens

MOST = 20


class Suggestion(Struct, frozen=True):
    """Replace `[start, end)` of the text by `text`; `kind` is key, operator, value or word."""

    text: str
    start: int
    end: int
    kind: str
    doc: str = ""


def complete(
    text: str, cursor: int, values: Callable[[str], Sequence[str]]
) -> tuple[Suggestion, ...]:
    """Return at most `MOST` suggestions for the word that ends at `cursor`.

    `values` returns a key's known values, dearest first.
    """
    before, partial = _split(text[:cursor])
    start = cursor - len(partial)
    try:
        expected, key = _expected(list(tokens(before))[:-1])
    except FilterError:
        return ()
    typed = partial.strip("\"'").lower()
    match expected:
        case "key":
            found = [(k.name, "key", k.doc) for k in keys.keys().values()]
            found += [("not", "word", "the opposite"), ("(", "word", "a group")]
        case "operator":
            found = [(word, "operator", "") for word in (*OPERATORS, "in", "not in")]
        case "value":
            found = [(quoted(value), "value", "") for value in values(key)]
        case "list":
            found = [("(", "word", "values, with commas between")]
        case "more":
            found = [(",", "word", "another value"), (")", "word", "the end of the values")]
        case _:
            found = [("and", "word", "both hold"), ("or", "word", "one holds")]
    return tuple(
        Suggestion(word, start, cursor, kind, doc) for word, kind, doc in _ranked(found, typed)
    )


def _ranked(found: list[tuple[str, str, str]], typed: str) -> list[tuple[str, str, str]]:
    """Return what starts with, then what contains, the typed letters; order kept otherwise."""
    plain = [(item, item[0].strip('"').lower()) for item in found]
    starts = [item for item, word in plain if word.startswith(typed)]
    within = [item for item, word in plain if typed in word and not word.startswith(typed)]
    return (starts + within)[:MOST]


def _split(text: str) -> tuple[str, str]:
    """Return what is complete and the word being typed (an open quote included)."""
    quote = ""
    start = len(text)
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[index - 1] != "\\" else quote
        elif char in "\"'":
            quote, start = char, index
    if quote:
        return text[:start], text[start:]
    words = len(text)
    while words and not text[words - 1].isspace() and text[words - 1] not in "()\",'=!<>~":
        words -= 1
    return text[:words], text[words:]


def _expected(done: list[Token]) -> tuple[str, str]:
    """Return what may follow the finished tokens, and the key it is about."""
    expected, key = "key", ""
    for token in done:
        if expected == "key":
            if token.kind == "word" and not token.is_word("not"):
                expected, key = "operator", keys.canonical(token.text) or ""
        elif expected == "operator":
            expected = (
                "value" if token.kind == "op" else "list" if token.is_word("in") else expected
            )
        elif expected == "list":
            expected = "member"
        elif expected == "value":
            expected = "connective"
        elif expected == "member":
            expected = "more"
        elif expected == "more":
            expected = "member" if token.text == "," else "connective"
        elif token.is_word("and") or token.is_word("or"):
            expected = "key"
    return ("value" if expected == "member" else expected), key
