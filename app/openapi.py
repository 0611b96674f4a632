"""The OpenAPI 3.1 document, made from the routes' `Call`s and the structures that they decode and encode.

Litestar's own generator reads handlers' signatures; ours decode bodies themselves, so that a bad vote of a
batch is one bad result. One source for decoder and document is what keeps them the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from msgspec import NODEFAULT

from app.calls import Answer, Call
from app.problems import MEDIA_TYPE
from app.shapes.common import Name, Problem
from app.shapes.votes import VoteError, VoteResult
from channels.errors import ERRORS

_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = ("internal",)
_WITH_STORES: Final = ("overloaded", "unauthorized", "too_fast")
_RETRY_AFTER: Final = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}

_PATH: Final[dict[str, tuple[Any, str]]] = {
    "board": (Name, "a board's slug"),
    "item_id": (Name, "an item's id"),
    "agent_id": (Name, "an agent's id"),
    "key_id": (int, "the key's number"),
    "id": (Name, "the id"),
}

_HEADERS: Final[dict[str, Any]] = {
    "ETag": {"description": "Epoch and version of the board.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": 'What is left of the day: "daily";r=votes;t=seconds. Absent where the tier has no limit.',
        "schema": {"type": "string"},
        "example": '"daily";r=99;t=3600',
    },
    "RateLimit-Policy": {
        "description": 'The tier\'s quota: "daily";q=votes;w=seconds. Absent where the tier has no limit.',
        "schema": {"type": "string"},
        "example": '"daily";q=100;w=86400',
    },
    "Retry-After": {"description": "Seconds after which to come back.", "schema": {"type": "integer"}},
}

_TEXT: Final = """Votes in, live rankings out.

An agent authenticates with `Authorization: Bearer <api key>`; reading needs no key. A call acts on its key's
tenant; without a key on the tenant that `?tenant=` names, or else on the installation's default tenant.
Errors are RFC 9457 problem details with a `code`. A field that a JSON object names twice has its last value, here and
over the websocket; a parameter that a query names twice is refused. The websocket is described at
`/schema/asyncapi.json`."""


def document(app: Litestar, version: str) -> dict[str, Any]:
    """The document of every route that has a `Call`, ready to be written as JSON."""
    calls = list(_calls(app))
    schema_of, components = _schemas([call for *_, call in calls])
    paths: dict[str, dict[str, Any]] = {}
    for path, method, name, call in calls:
        paths.setdefault(path, {})[method.lower()] = _operation(path, name, call, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Plaudit", "version": version, "description": _TEXT, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": _HEADERS,
            "securitySchemes": {
                "agent": {"type": "http", "scheme": "bearer", "description": "An agent's API key."},
                "admin": {"type": "http", "scheme": "bearer", "description": "The tenant's admin key."},
            },
        },
    }


def _calls(app: Litestar) -> Iterator[tuple[str, str, str, Call]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and isinstance(handler.opt.get("call"), Call):
                path = re.sub(r":\w+}", "}", route.path)
                for method in sorted(handler.http_methods):
                    yield path, method, handler.handler_name, handler.opt["call"]


class _Schemas:
    """Schemas by type, for types that can't be keys of a dictionary too."""

    def __init__(self, types: list[Any], schemas: Iterable[dict[str, Any]]) -> None:
        self._pairs = list(zip(types, schemas, strict=True))

    def __call__(self, of: Any) -> dict[str, Any]:
        return next(schema for known, schema in self._pairs if known == of)


def _schemas(calls: list[Call]) -> tuple[_Schemas, dict[str, Any]]:
    types: list[Any] = [Problem, VoteResult, VoteError]
    types += [answer.shape for call in calls for answer in call.answers.values() if answer.shape is not None]
    types += [call.body for call in calls if call.body is not None]
    types += [shape for shape, _ in _PATH.values()]
    types += [field.type for call in calls if call.query for field in msgspec.structs.fields(call.query)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for schema in components.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    return _Schemas(types, schemas), components


def _operation(path: str, name: str, call: Call, schema_of: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [call.tag],
        "summary": call.summary,
        "parameters": [*_path_parameters(path, schema_of), *_query_parameters(call, schema_of)],
        "responses": _responses(path, call, schema_of),
    }
    if call.text:
        operation["description"] = call.text
    if call.key is not None:
        operation["security"] = [{call.key: []}]
    elif call.tenant:
        operation["security"] = [{}, {"agent": []}, {"admin": []}]
    if call.body is not None:
        content = {"schema": schema_of(call.body), "examples": _examples(call.examples)}
        operation["requestBody"] = {"required": call.body_needed, "content": {"application/json": content}}
    return operation


def _path_parameters(path: str, schema_of: _Schemas) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        shape, text = _PATH[name]
        yield {"name": name, "in": "path", "required": True, "description": text, "schema": schema_of(shape)}


def _query_parameters(call: Call, schema_of: _Schemas) -> Iterator[dict[str, Any]]:
    for field in msgspec.structs.fields(call.query) if call.query is not None else ():
        schema = dict(schema_of(field.type))
        needed = field.default is NODEFAULT and field.default_factory is NODEFAULT
        if not needed:
            schema["default"] = field.default
        yield {"name": field.encode_name, "in": "query", "required": needed, "schema": schema}
    if call.tenant:
        text = "Whose, where no key is given; else the installation's default tenant."
        yield {"name": "tenant", "in": "query", "required": False, "description": text, "schema": {"type": "string"}}


def _responses(path: str, call: Call, schema_of: _Schemas) -> dict[str, Any]:
    responses = {str(status): _response(answer, schema_of) for status, answer in call.answers.items()}
    codes = {*call.errors, *_ALWAYS, *(_WITH_STORES if call.stores else ())}
    if "{" in path or call.tenant:
        codes.add("invalid")  # a part of a path may be no name at all, and a tenant may be named twice
    for status in sorted({ERRORS[code].status for code in codes}):
        kinds = [kind for kind in ERRORS.values() if kind.code in codes and kind.status == status]
        examples = {kind.code: {"value": _problem(kind.code)} for kind in kinds}
        responses[str(status)] = {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
            "headers": _RETRY_AFTER if status in {429, 503} else {},
            "content": {MEDIA_TYPE: {"schema": schema_of(Problem), "examples": examples}},
        }
    return responses


def _response(answer: Answer, schema_of: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.text}
    if answer.headers:
        described["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers}
    if answer.shape is not None:
        media: dict[str, Any] = {"schema": schema_of(answer.shape)}
        if answer.example is not None:
            media["example"] = answer.example
        described["content"] = {answer.media_type: media}
    return described


def _examples(examples: Any) -> dict[str, Any]:
    return {name: {"value": value} for name, value in examples.items()}


def _problem(code: str) -> dict[str, Any]:
    kind = ERRORS[code]
    problem = Problem(f"/docs#{code}", kind.title, kind.status, kind.title, kind.code, kind.temporary)
    built: dict[str, Any] = msgspec.to_builtins(problem)
    return built
