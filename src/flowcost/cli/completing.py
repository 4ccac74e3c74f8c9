"""Completion in the shell: filters and group keys, as the API and the console complete them.

Enters: the word under the cursor, as Click takes it from bash, zsh or fish, and the options before
it, which say whose values to offer. Leaves: words that may replace it. What cannot be completed,
for whatever reason, has no completion: a shell is no place for an error.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from flowcost.cli.asking import Here, Questions, There
from flowcost.errors import FlowcostError
from flowcost.ledger import Ledger, keys
from flowcost.ledger.complete import Suggestion
from flowcost.ledger.query import Selection

_STEPS = 3  # a key, its operator, a value
MEASURES = ("-list_cost", "-bytes", "-unpriced_bytes")

Words = list[CompletionItem[str]]


def filters(ctx: click.Context, _: click.Parameter, incomplete: str) -> Words:
    """Return the filters that `incomplete` may become; a step with one choice is taken."""
    questions = _asked(ctx.params)
    if questions is None:
        return []
    try:
        return _filters(questions, Selection(tenant=ctx.params.get("tenant") or None), incomplete)
    except (FlowcostError, OSError):
        return []
    finally:
        if isinstance(questions, There):
            questions.close()


def group_keys(_ctx: click.Context, _: click.Parameter, incomplete: str) -> Words:
    """Return group keys for the last word of a list with commas between."""
    given, comma, typed = incomplete.rpartition(",")
    return [
        CompletionItem(f"{given}{comma}{key.name}", help=key.doc)
        for key in keys.keys().values()
        if key.name.startswith(typed) and key.name not in given.split(",")
    ]


def sort_keys(ctx: click.Context, _: click.Parameter, incomplete: str) -> Words:
    """Return what rows can be sorted by: the measures downwards, and the keys asked for."""
    names = (*MEASURES, *(ctx.params.get("by") or "").split(","))
    return [CompletionItem(name) for name in names if name.lstrip("-").startswith(incomplete)]


def _filters(questions: Questions, selection: Selection, text: str) -> Words:
    quote, found = _open_quote(), _begun(text, questions.complete(selection, text))
    for _ in range(_STEPS):
        if len(found) != 1 or found[0].kind == "value":
            break
        taken = f"{_replaced(text, found[0], quote)} "
        more = _begun(taken, questions.complete(selection, taken))
        if not more:
            break
        text, found = taken, more
    word = _word_of(quote)
    return [CompletionItem(word(_replaced(text, one, quote)), help=one.doc) for one in found]


def _begun(text: str, found: Sequence[Suggestion]) -> Sequence[Suggestion]:
    """Return what begins as typed, if anything does: shells type on what all choices share."""
    begin = [
        one
        for one in found
        if one.text.strip("\"'").lower().startswith(text[one.start : one.end].strip("\"'").lower())
    ]
    return begin or found


def _replaced(text: str, suggestion: Suggestion, quote: str) -> str:
    """Return the filter with the suggestion in it; its quotes are not those of the shell."""
    new = suggestion.text
    if quote == '"' and new.startswith('"') and "'" not in new and "\\" not in new:
        new = f"'{new[1:-1]}'"
    return text[: suggestion.start] + new + text[suggestion.end :]


def _word_of(quote: str) -> Callable[[str], str]:
    """Return how a word is written: bash takes it as it is, other shells quote it themselves."""
    in_bash = os.environ.get("_FLOWCOST_COMPLETE", "").startswith("bash")
    return shlex.quote if in_bash and not quote else str


def _open_quote() -> str:
    """Return the quote in which the shell's cursor stands, if in any."""
    quote, escaped = "", False
    for char in os.environ.get("COMP_WORDS", ""):
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
    return quote


def _asked(given: dict[str, Any]) -> Questions | None:
    """Return who knows the values: the server or the ledger that the options name."""
    try:
        if given.get("server"):
            return There(given["server"], given.get("token_file"), given.get("ca_file"))
        return Here(Ledger.open(given.get("ledger_path") or Path("ledger")))
    except (FlowcostError, OSError):
        return None
