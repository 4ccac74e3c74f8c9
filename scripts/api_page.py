"""The reference page of the API, from the table of endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from flowcost.views.api import openapi
from flowcost.views.api.table import endpoints


def api() -> Iterator[str]:
    """Yield every endpoint of the server: who may, what it takes, what it gives."""
    yield from ("# API", "", "`GET /openapi.json` is the OpenAPI 3.1 document. Errors are")
    yield from ("[problem+json](errors.md); every parameter is checked, all at once.",)
    described = openapi.document()["paths"]
    for each in endpoints():
        operation = described[each.path][each.method.lower()]
        yield from ("", f"## {each.method} {each.path}", "", each.summary, "")
        yield from (operation["description"], "")
        if operation["parameters"]:
            yield from ("| parameter | in | type | default | meaning |", "|---|---|---|---|---|")
        for one in operation["parameters"]:
            default = one["schema"].get("default", "")
            shown = ",".join(default) if isinstance(default, list) else default
            kind = _kind(one["schema"])
            yield f"| `{one['name']}` | {one['in']} | {kind} | {shown} | {one['description']} |"
        if each.body is not None:
            yield from ("", "| body | type | meaning |", "|---|---|---|")
            yield from _fields(each.body)
        yield from ("", f"Answers {', '.join(operation['responses'])}.")
        if msgspec.structs.fields(each.gives):
            yield from ("", "| field | type |", "|---|---|")
            for field in msgspec.structs.fields(each.gives):
                yield f"| `{field.encode_name}` | {_type_name(field.type)} |"
            yield from ("", " ".join((each.gives.__doc__ or "").split()))


def _fields(kind: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(field.type)
        yield f"| `{field.encode_name}` | {_kind(schema)} | {schema.get('description', '')} |"


def _kind(schema: dict[str, Any]) -> str:
    choices = schema.get("enum", ())
    if choices and len(choices) <= 8:
        return ", ".join(f"`{choice}`" for choice in choices if choice)
    return str(schema.get("type", "any"))


def _type_name(kind: object) -> str:
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"[\w.]+\.(\w+)", r"\1", text).replace("|", "or")
