"""The OpenAPI 3.1 document, made from the table of endpoints."""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flowcost import __version__
from flowcost.views import problems
from flowcost.views.api.endpoint import Endpoint
from flowcost.views.api.parameters import Names, schema_of, without_none
from flowcost.views.api.table import endpoints

PATH = "/openapi.json"
_REF = "#/components/schemas/{name}"
_REFUSALS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_CONTENT = "application/json"
_BINARY = {"type": "string", "format": "binary"}


def route() -> Route:
    """Return the route of the document; it says nothing that needs a principal."""
    return Route(PATH, _serve, methods=["GET"], name="openapi")


async def _serve(request: Request) -> Response:  # noqa: ARG001 - one document for all
    return Response(_encoded(), media_type=_CONTENT, headers={"cache-control": "no-cache"})


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """Return the document."""
    kinds: set[type[Struct]] = {problems.Problem, *(each.gives for each in endpoints())}
    kinds |= {each.body for each in endpoints() if each.body is not None}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(
        ordered, schema_hook=schema_of, ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints():
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Flowcost",
            "version": __version__,
            "summary": "Which workload pays for which bytes, over which path, at which rate.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "flowcost_session"},
            },
        },
    }


def _operation(each: Endpoint) -> dict[str, Any]:
    who = "a cluster's agents" if each.role is None else f"{each.role.name.lower()} or above"
    found: dict[str, Any] = {
        "operationId": each.operation,
        "tags": [each.path.split("/")[2]],
        "summary": each.summary,
        "description": f"For {who}. {(each.handler.__doc__ or '').strip()}",
        "security": [{"bearer": []}] if each.role is None else [{"bearer": []}, {"session": []}],
        "parameters": [_parameter(each, field) for field in fields(each.takes)],
        "responses": _responses(each),
    }
    if each.conditional:
        found["parameters"].append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "ETag of an answer you have; 304 if it still holds",
                "schema": {"type": "string"},
            }
        )
    if each.consumes:
        found["requestBody"] = {"required": True, "content": {each.consumes: {"schema": _BINARY}}}
    if each.body is not None:
        schema = {"$ref": _REF.format(name=each.body.__name__)}
        found["requestBody"] = {"required": True, "content": {_CONTENT: {"schema": schema}}}
    return found


def _parameter(each: Endpoint, field: FieldInfo) -> dict[str, Any]:
    in_path = f"{{{field.encode_name}}}" in re.sub(r":\w+}", "}", each.path)
    kind = without_none(field.type)
    schema = msgspec.json.schema(kind, schema_hook=schema_of)
    found = {
        "name": field.encode_name,
        "in": "path" if in_path else "query",
        "required": field.required,
        "description": schema.pop("description", ""),
        "schema": schema,
    }
    if schema.get("type") == "array":
        found |= {"style": "form", "explode": False}
    default = field.default
    if default is not NODEFAULT and default is not None:
        schema["default"] = list(default.names) if isinstance(default, Names) else default
    return found


def _responses(each: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": problems.phrase(each.status)}
    if each.status != HTTPStatus.NO_CONTENT:
        success["content"] = {
            _CONTENT: {"schema": {"$ref": _REF.format(name=each.gives.__name__)}},
            **{media: {"schema": _BINARY} for media in each.formats},
        }
    found = {str(each.status.value): success}
    if each.conditional:
        found["304"] = {"description": "the answer you have still holds"}
    refusals = {*_REFUSALS, *each.refusals}
    if fields(each.takes) or each.body is not None:
        refusals.add(HTTPStatus.BAD_REQUEST)
    if each.body is not None:
        refusals.add(HTTPStatus(413))
    for status in sorted(refusals):
        schema = {"$ref": _REF.format(name=problems.Problem.__name__)}
        content = {problems.TYPE: {"schema": schema}}
        found[str(status.value)] = {"description": problems.phrase(status), "content": content}
    return found
