"""A TOML document becomes structs: strict, and every fault is told at once, with its place.

Fields are `Annotated` with their words. Beside what msgspec takes, a `Path` is a text (relative
to the document's folder), a `timedelta` is a span like `15s`, `30m`, `2h`, `3d`, and a `Secret` is
a table that names where it is. A section may be a struct, a table of structs by name, or an array
of them.
"""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeGuard

import msgspec
from msgspec import Meta, Struct

from flowcost.secret import Secret

SPAN = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Place(Struct, frozen=True):
    """One value of a document: its TOML path, its type, what it says, and its default."""

    path: str
    type: Any
    description: str
    default: Any


def places(kind: type[Struct], path: str = "") -> Iterator[Place]:
    """Yield every key of a document, in order; what repeats has `NAME` or `[]` in its path."""
    for field in msgspec.structs.fields(kind):
        inner, description = _plain(field.type)
        here = f"{path}.{field.encode_name}".lstrip(".")
        default = field.default
        if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        element, suffix = _element(inner)
        if _is_section(inner):
            yield from places(inner, here)
        elif element is not None:
            yield from places(element, here + suffix)
        else:
            yield Place(here, inner, description, default)


def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    properties, required = {}, []
    for field in msgspec.structs.fields(kind):
        inner, description = _plain(field.type)
        element, suffix = _element(inner)
        if _is_section(inner):
            entry = schema_of(inner)
        elif element is not None and suffix == "[]":
            entry = {"type": "array", "items": schema_of(element)}
        elif element is not None:
            entry = {"type": "object", "additionalProperties": schema_of(element)}
        else:
            entry = msgspec.json.schema(field.type, schema_hook=_schema_hook)
            if entry.get("format") == "duration":
                entry = {"type": "string", "pattern": f"^{SPAN.pattern}$"}
        properties[field.encode_name] = {**entry, "description": description}
        if field.required:
            required.append(field.encode_name)
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**whole, "required": required} if required else whole


def _schema_hook(kind: type) -> dict[str, Any]:
    if kind is Path:
        return {"type": "string"}
    raise NotImplementedError(kind)


def fields_of(
    kind: type[Struct], value: object, path: str, base: Path | None, problems: list[str]
) -> dict[str, Any]:
    """Return the fields of a section that are given and right; add faults to `problems`."""
    if not isinstance(value, dict):
        problems.append(f"{path or 'document'}: a section [{path}], not {_word(value)}")
        return {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found = {}
    for name, given in value.items():
        here = f"{path}.{name}".lstrip(".")
        if name not in fields:
            problems.append(f"{here}: no such key{_near(name, fields)}")
        else:
            found[fields[name].name] = _value(fields[name].type, given, here, base, problems)
    for name, field in fields.items():
        if field.required and name not in value:
            problems.append(f"{path}.{name}: missing".lstrip("."))
    return found


def _value(kind: object, value: object, path: str, base: Path | None, problems: list[str]) -> Any:  # noqa: ANN401 - what `kind` says
    inner, _ = _plain(kind)
    element, _ = _element(inner)
    if inner is Secret and isinstance(value, str):
        problems.append(f"{path}: a secret is named, as {{ file = '…' }} or {{ env = '…' }}")
        return None
    if _is_section(inner):
        return fields_of(inner, value, path, base, problems)
    if element is not None and isinstance(value, dict):
        return {
            name: fields_of(element, one, f"{path}.{name}", base, problems)
            for name, one in value.items()
        }
    if element is not None and isinstance(value, list):
        return [
            fields_of(element, one, f"{path}[{place}]", base, problems)
            for place, one in enumerate(value)
        ]
    try:
        return msgspec.convert(_span(inner, value), kind, dec_hook=_hook(base))
    except (msgspec.ValidationError, ValueError) as error:
        problems.append(f"{path}: {_said(error)}, not {value!r}")
        return None


def override(
    kind: type[Struct], values: dict[str, Any], name: str, text: str, problems: list[str]
) -> None:
    """Lay a variable over `values`: its name says where (`PREFIX__SECTION__KEY`), its text what."""
    names = name.lower().split("__")[1:]
    target = values
    for place, part in enumerate(names):
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        if part not in fields:
            problems.append(f"{name}: no such key{_near(part, fields)}")
            return
        inner, _ = _plain(fields[part].type)
        if place == len(names) - 1:
            given = _from_text(inner, text)
            target[fields[part].name] = _value(fields[part].type, given, name, None, problems)
            return
        if not _is_section(inner):
            problems.append(f"{name}: {'.'.join(names[: place + 1])} is no section")
            return
        kind, target = inner, target.setdefault(fields[part].name, {})


def _from_text(kind: object, text: str) -> object:
    """Return a variable's value: text where text is wanted, else as TOML reads it."""
    repeated = typing.get_origin(kind) in (tuple, list, dict)
    choices = () if repeated else typing.get_args(kind) or (kind,)
    if str in choices or Path in choices or timedelta in choices:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def frozen(kind: type[Struct], values: dict[str, Any], path: str, problems: list[str]) -> Any:  # noqa: ANN401 - a `kind`
    """Return the struct of checked values; what its `__post_init__` refuses is a fault too."""
    made = {}
    for field in msgspec.structs.fields(kind):
        if field.name not in values:
            continue
        inner, _ = _plain(field.type)
        element, _ = _element(inner)
        value = values[field.name]
        here = f"{path}.{field.encode_name}".lstrip(".")
        if _is_section(inner):
            value = frozen(inner, value, here, problems)
        elif element is not None and isinstance(value, dict):
            value = {
                name: frozen(element, one, f"{here}.{name}", problems)
                for name, one in value.items()
            }
        elif element is not None:
            value = tuple(
                frozen(element, one, f"{here}[{place}]", problems)
                for place, one in enumerate(value)
            )
        made[field.name] = value
    try:
        return kind(**made)
    except (TypeError, ValueError) as error:
        problems.append(f"{path or 'document'}: {error}")
        return None


# -- types ----------------------------------------------------------------------------------------


def _plain(kind: object) -> tuple[Any, str]:
    """Return a field's type without its annotation, and the annotation's words."""
    if typing.get_origin(kind) is Annotated:
        inner, *notes = typing.get_args(kind)
        words = [note.description for note in notes if isinstance(note, Meta) and note.description]
        return inner, " ".join(words)
    return kind, ""


def _is_section(kind: object) -> TypeGuard[type[Struct]]:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _element(kind: object) -> tuple[type[Struct] | None, str]:
    """Return the section that a table or an array of tables repeats, and how its path is told."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is dict and _is_section(arguments[1]):
        return arguments[1], ".NAME"
    if origin in (tuple, list) and arguments and _is_section(arguments[0]):
        return arguments[0], "[]"
    return None, ""


def _span(kind: object, value: object) -> object:
    choices = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if timedelta in choices and isinstance(value, str):
        found = SPAN.fullmatch(value)
        if not found:
            raise ValueError("Expected a span like 15s, 30m, 2h or 3d")
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    return value


def _hook(base: Path | None) -> Callable[[type, object], object]:
    def decode(kind: type, value: object) -> object:
        if kind is Path and isinstance(value, str) and value:
            return base / value if base else Path(value)
        raise ValueError("Expected a path" if kind is Path else f"Expected {kind.__name__}")

    return decode


def _said(error: Exception) -> str:
    text = str(error).partition(" - at `$")[0]
    return f"{text[0].lower()}{text[1:]}"


def _word(value: object) -> str:
    return {list: "an array", str: "a text", bool: "a flag", int: "a number"}.get(
        type(value), "a value"
    )


def _near(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(known)}"


def span_text(span: timedelta) -> str:
    """Return a span as the configuration spells it."""
    seconds = int(span.total_seconds())
    unit = next(name for name in "dhms" if seconds % _SECONDS[name] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"
