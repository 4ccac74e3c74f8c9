"""What a request asks, strictly: every parameter is known, given once, and of its type.

Parameters are fields of a msgspec struct, so that decoding, OpenAPI and documents say the same.
Everything wrong is reported at once, each under its own name.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import FieldInfo, fields

from flowcost import clock
from flowcost.errors import RequestError, UsageError
from flowcost.ledger import keys
from flowcost.ledger.ends import ATTRIBUTE_BY

T = TypeVar("T", bound=Struct)
MOST_KEYS = 8


class Moment:
    """A UTC day or time; a day is its first instant."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^20[1-9]\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
        r"(T([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d)?)?Z?)?$",
        "examples": ["2026-11-01", "2026-11-20T13:00:00Z"],
    }

    def __init__(self, text: str) -> None:
        try:
            self.at = clock.parse(text)
        except (ValueError, OverflowError):
            raise ValueError("not a UTC day or time like 2026-11-20 or 2026-11-20T13:00Z") from None
        if not clock.EARLIEST <= self.at <= clock.LATEST:
            raise ValueError(f"outside {clock.EARLIEST.year} to {clock.LATEST.year}")


class Span:
    """A number of hours or days up to now: `24h`, `7d`."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": "^[1-9][0-9]{0,3}[hd]$",
        "examples": ["24h", "7d"],
    }

    def __init__(self, text: str) -> None:
        number, unit = text[:-1], text[-1:]
        if unit not in ("h", "d") or not number.isascii() or not number.isdigit():
            raise ValueError("not a span like 24h or 7d")
        if not 0 < int(number) <= 9999:
            raise ValueError("between 1 and 9999")
        self.length = int(number) * (clock.HOUR if unit == "h" else timedelta(days=1))


class Names:
    """Group keys with commas between; none at all is one row, the total."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "array",
        "items": {"type": "string", "enum": list(keys.keys())},
        "maxItems": MOST_KEYS,
        "uniqueItems": True,
    }

    def __init__(self, text: str) -> None:
        asked = [name.strip() for name in text.split(",")] if text.strip() else []
        if len(asked) > MOST_KEYS:
            raise ValueError(f"more than {MOST_KEYS} keys")
        try:
            self.names = tuple(keys.find(name).name for name in asked)
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None
        if len(set(self.names)) < len(self.names):
            raise ValueError("a key is given twice")


_CUSTOM = (Moment, Span, Names)


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which charges a view shows, and who pays them."""

    filter: Annotated[
        str,
        Meta(
            description="filter expression, as `path = cross_az and stage = prod`",
            max_length=4096,
            examples=["path = cross_az"],
        ),
    ] = ""
    start: Annotated[Moment, Meta(description="first UTC hour")] | None = field(
        default=None, name="from"
    )
    end: Annotated[Moment, Meta(description="UTC hour after the last")] | None = field(
        default=None, name="to"
    )
    last: (
        Annotated[Span, Meta(description="the last hours or days up to now; instead of from, to")]
        | None
    ) = None
    attribute_by: Annotated[
        str,
        Meta(
            description="which end pays",
            extra_json_schema={"enum": list(ATTRIBUTE_BY)},
        ),
    ] = "local"
    legs: Annotated[
        str,
        Meta(
            description="all that is billed, or only the metered ends that were seen",
            extra_json_schema={"enum": ["all", "observed"]},
        ),
    ] = "all"

    def hours(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the half-open interval; None is open.

        Raises:
            RequestError: it is empty, or given twice.
        """
        start, end = self.start, self.end
        if self.last is not None:
            if start or end:
                raise RequestError({"last": "stands alone: leave out from and to"})
            return clock.hour_of(now - self.last.length), None
        if start and end and start.at >= end.at:
            raise RequestError({"from": "not before `to`, which names the hour after the last"})
        return start.at if start else None, end.at if end else None


def decode(given: Iterable[tuple[str, str]], kind: type[T], *, strict: bool = True) -> T:
    """Return the parameters of a query as a `kind`; not `strict` passes over unknown ones.

    Raises:
        RequestError: what is unknown, missing, given twice or of the wrong type.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    known = {each.encode_name: each for each in fields(kind)}
    for name, text in given:
        if name not in known:
            if strict:
                wrong[_printable(name)] = "unknown parameter"
        elif name in values or name in wrong:
            wrong[name] = "given twice"
        else:
            _take(known[name], text, values, wrong, lax=True)
    return _complete(kind, known, values, wrong)


def decode_body(body: bytes, kind: type[T]) -> T:
    """Return a JSON body as a `kind`.

    Raises:
        RequestError: as `decode`; or the body is not a JSON object.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError({"body": f"not JSON: {error}"}) from None
    if not isinstance(document, Mapping):
        raise RequestError({"body": "not a JSON object"})
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    known = {each.encode_name: each for each in fields(kind)}
    for name, value in document.items():
        if name in known:
            _take(known[name], value, values, wrong, lax=False)
        else:
            wrong[_printable(name)] = "unknown field"
    return _complete(kind, known, values, wrong)


def schema_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    """Return the JSON schema of a custom parameter type (a hook for msgspec)."""
    if kind in _CUSTOM:
        schema: dict[str, Any] = kind.schema
        return schema
    raise NotImplementedError(kind)


def _take(
    known: FieldInfo,
    value: object,
    values: dict[str, Any],
    wrong: dict[str, str],
    *,
    lax: bool,
) -> None:
    name = known.encode_name
    kind = without_none(known.type) if lax else known.type
    try:
        found = msgspec.convert(value, kind, strict=not lax, dec_hook=_decode_custom)
    except (msgspec.ValidationError, OverflowError) as error:
        wrong[name] = str(error)
        return
    choices = _choices(kind)
    if isinstance(found, str) and not _is_whole(kind, found):
        wrong[name] = "ends in a line break"
    elif choices and found not in choices:
        wrong[name] = f"one of {', '.join(choices)}"
    else:
        values[name] = found


def _complete(
    kind: type[T], known: dict[str, FieldInfo], values: dict[str, Any], wrong: dict[str, str]
) -> T:
    for name, each in known.items():
        if each.required and name not in values and name not in wrong:
            wrong[name] = "missing"
    if wrong:
        raise RequestError(wrong)
    return kind(**{known[name].name: value for name, value in values.items()})


def _is_whole(kind: Any, text: str) -> bool:  # noqa: ANN401 - any annotation
    """Return whether a pattern matches all of a text: `$` would pass over a last line break."""
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    patterns = [meta.pattern for meta in metas if isinstance(meta, Meta) and meta.pattern]
    return not (patterns and text.endswith("\n"))


def _choices(kind: Any) -> tuple[str, ...]:  # noqa: ANN401 - any annotation
    """Return the values an annotation's `enum` allows; empty means any."""
    if get_origin(kind) is not Annotated:
        return ()
    extra = [meta.extra_json_schema or {} for meta in get_args(kind)[1:] if isinstance(meta, Meta)]
    return tuple(value for each in extra for value in each.get("enum", ()))


def without_none(kind: Any) -> Any:  # noqa: ANN401 - any annotation
    """Return an optional type without its None: a query cannot spell it."""
    if get_origin(kind) in (Union, types.UnionType):
        rest = tuple(each for each in get_args(kind) if each is not type(None))
        return rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007 - from a tuple
    return kind


def _decode_custom(kind: type, value: object) -> object:
    if kind in _CUSTOM and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(kind)


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 64 else ascii(name[:64])
