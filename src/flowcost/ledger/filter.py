"""The filter language: text becomes a tree, the tree becomes SQL with bound values.

    path = cross_az and (owner.team in (payments, search) or not k8s.namespace.name ~ "kube-*")

No text of the user ever becomes SQL: keys are looked up, values are bound. Printing a tree and
parsing it gives the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from flowcost.errors import FilterError
from flowcost.ledger import keys

OPERATORS = ("=", "!=", "~", "!~", ">=", "<=", ">", "<")
WORDS = frozenset({"and", "or", "not", "in"})
_DEPTH = 64  # nested parentheses; deeper is a mistake, and Python's stack is finite

TOKEN = re.compile(
    r"""\s*(?:
      (?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<op>!=|!~|>=|<=|=|~|>|<)
    | (?P<mark>[(),])
    | (?P<word>[^\s()",'=!<>~]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_BARE = re.compile(r"[^\s()\",'=!<>~]+\Z")


class Compare(Struct, frozen=True):
    """`key operator value`; `~` matches a glob of `*` and `?`."""

    key: str
    operator: str
    value: str


class In(Struct, frozen=True):
    """`key in (value, …)`."""

    key: str
    values: tuple[str, ...]


class Not(Struct, frozen=True):
    """`not term`."""

    term: Expression


class And(Struct, frozen=True):
    """Two or more terms that must all hold."""

    terms: tuple[Expression, ...]


class Or(Struct, frozen=True):
    """Two or more terms of which one must hold."""

    terms: tuple[Expression, ...]


Expression = Compare | In | Not | And | Or


class Token(Struct, frozen=True):
    """A word of the filter: `kind` is quoted, op, mark, word, or end."""

    kind: str
    text: str
    start: int
    end: int

    def is_word(self, word: str) -> bool:
        """Return whether this is the keyword `word`, unquoted."""
        return self.kind == "word" and self.text.lower() == word


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text` and an end token.

    Raises:
        FilterError: a character that starts no token, or an unclosed quote.
    """
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            if not text[at:].strip():
                break
            start = at + len(text[at:]) - len(text[at:].lstrip())
            what = "unclosed quote" if text[start] in "\"'" else f"unexpected {text[start]!r}"
            raise error(text, start, what)
        kind = str(match.lastgroup)
        word = match[kind]
        yield Token(kind, _unquoted(word) if kind == "quoted" else word, *match.span(kind))
        at = match.end()
    yield Token("end", "", len(text), len(text))


def error(text: str, position: int, message: str, hint: str = "") -> FilterError:
    """Return the error at `position` of `text`, with a line that points there."""
    line = text.replace("\n", " ").replace("\t", " ")
    return FilterError(
        f"filter: {message} at column {position + 1}\n  {line}\n  {' ' * position}^",
        position=position,
        hint=hint,
    )


def parse(text: str) -> Expression | None:
    """Return the tree of `text`, or None where it is blank (everything).

    Raises:
        FilterError: `text` is not a filter, names an unknown key, or gives a value that the key
            cannot hold; `position` is the offending column.
    """
    parser = _Parser(text)
    if parser.at("end"):
        return None
    found = parser.any_of(0)
    if not parser.at("end"):
        raise parser.wrong("expected `and`, `or` or the end")
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(tokens(text))
        self.index = 0

    @property
    def now(self) -> Token:
        return self.tokens[self.index]

    def at(self, kind: str, text: str | None = None) -> bool:
        return self.now.kind == kind and (text is None or self.now.text == text)

    def take(self) -> Token:
        token = self.now
        self.index += 1
        return token

    def wrong(self, message: str, hint: str = "") -> FilterError:
        return error(self.text, self.now.start, message, hint)

    def any_of(self, depth: int) -> Expression:
        if depth > _DEPTH:
            raise self.wrong("nested too deeply")
        terms = self.chain("or", self.all_of, depth)
        return terms[0] if len(terms) == 1 else Or(terms)

    def all_of(self, depth: int) -> Expression:
        terms = self.chain("and", self.term, depth)
        return terms[0] if len(terms) == 1 else And(terms)

    def chain(
        self, word: str, part: Callable[[int], Expression], depth: int
    ) -> tuple[Expression, ...]:
        terms = [part(depth)]
        while self.now.is_word(word):
            self.take()
            terms.append(part(depth))
        return tuple(terms)

    def term(self, depth: int) -> Expression:
        if depth > _DEPTH:
            raise self.wrong("nested too deeply")
        if self.now.is_word("not"):
            self.take()
            return Not(self.term(depth + 1))
        if self.at("mark", "("):
            self.take()
            inner = self.any_of(depth + 1)
            self.expect(")")
            return inner
        return self.comparison()

    def comparison(self) -> Expression:
        if not self.at("word") or self.now.text.lower() in WORDS:
            raise self.wrong("expected a key", "write key=value, for example path=cross_az")
        token = self.now
        name = keys.canonical(token.text)
        if name is None:
            similar = keys.nearest(token.text)
            hint = f"did you mean {similar}?" if similar else "docs/costs.md lists all keys"
            raise self.wrong(f"unknown key {token.text!r}", hint)
        self.take()
        if self.now.is_word("not") and self.tokens[self.index + 1].is_word("in"):
            self.take()
            return Not(self.members(name))
        if self.now.is_word("in"):
            return self.members(name)
        if not self.at("op"):
            raise self.wrong(
                f"expected an operator after {name}", f"one of {' '.join(OPERATORS)} in"
            )
        operator = self.take().text
        return Compare(name, operator, self.value(name, operator))

    def members(self, name: str) -> In:
        self.take()
        self.expect("(")
        values = [self.value(name, "=")]
        while self.at("mark", ","):
            self.take()
            values.append(self.value(name, "="))
        self.expect(")")
        return In(name, tuple(values))

    def value(self, name: str, operator: str) -> str:
        if not (self.at("quoted") or self.at("word")):
            raise self.wrong("expected a value", "quote values with spaces or operators in them")
        if self.at("word") and self.now.text.lower() in WORDS:
            raise self.wrong(f"{self.now.text!r} is a keyword", "quote it to use it as a value")
        try:
            keys.find(name).literal(operator, self.now.text)
        except ValueError as problem:
            raise self.wrong(str(problem)) from None
        return self.take().text

    def expect(self, mark: str) -> None:
        if not self.at("mark", mark):
            raise self.wrong(f"expected {mark!r}")
        self.take()


def show(found: Expression | None) -> str:
    """Return the text of a tree; parsing it gives the same tree."""
    match found:
        case None:
            return ""
        case Compare(key, operator, value):
            return f"{key} {operator} {quoted(value)}"
        case In(key, values):
            return f"{key} in ({', '.join(map(quoted, values))})"
        case Not(term):
            return f"not {_grouped(term)}"
        case And(terms):
            return " and ".join(map(_grouped, terms))
        case Or(terms):
            return " or ".join(show(t) if isinstance(t, And) else _grouped(t) for t in terms)


def _grouped(term: Expression) -> str:
    return f"({show(term)})" if isinstance(term, And | Or) else show(term)


def quoted(value: str) -> str:
    """Return a value as it must be written in a filter."""
    if _BARE.match(value) and value.lower() not in WORDS:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def used(found: Expression | None) -> Iterator[str]:
    """Yield the keys a tree names."""
    match found:
        case Compare(key, _, _) | In(key, _):
            yield key
        case Not(term):
            yield from used(term)
        case And(terms) | Or(terms):
            for term in terms:
                yield from used(term)
