"""The documentation as a page: plain HTML from the OpenAPI document.

The renderers that Litestar brings load their scripts from other hosts; this page needs nothing but itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any, Final

from channels.errors import ERRORS

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid #8884; border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem; }
summary { cursor: pointer; }
summary code { font-weight: 600; }
.method { display: inline-block; min-width: 4rem; font-weight: 700; }
pre { background: #8881; padding: .75rem; border-radius: 6px; overflow-x: auto; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Node = Mapping[str, Any]


def page(document: Node) -> bytes:
    """The whole page."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(document["info"]["title"])}</title>',
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>",
        *(f"<p>{_text(part)}</p>" for part in document["info"]["description"].split("\n\n")),
        '<p><a href="/schema/openapi.json">OpenAPI</a> · <a href="/schema/asyncapi.json">AsyncAPI</a></p>',
        *_sections(document),
        *_errors(),
        *_structures(document),
        "</body></html>",
    ]
    return "\n".join(parts).encode()


def _sections(document: Node) -> Iterator[str]:
    operations = [
        (path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    order = {tag: n for n, tag in reversed(list(enumerate(operation["tags"][0] for *_, operation in operations)))}
    operations.sort(key=lambda found: order[found[2]["tags"][0]])
    for tag, group in groupby(operations, key=lambda found: found[2]["tags"][0]):
        yield f"<h2>{escape(tag)}</h2>"
        for path, method, operation in group:
            yield from _operation(path, method, operation)


def _operation(path: str, method: str, operation: Node) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{method.upper()}</span> '
    yield f"<code>{escape(path)}</code> {_text(operation['summary'])}</summary>"
    if "description" in operation:
        yield f"<p>{_text(operation['description'])}</p>"
    if operation.get("security", [{}])[0]:
        yield f"<p>Needs an {escape(next(iter(operation['security'][0])))} key.</p>"
    if operation["parameters"]:
        rows = [(p["name"], p["in"], _constraint(p), p.get("description", "")) for p in operation["parameters"]]
        yield from _table(("parameter", "in", "value", ""), rows)
    if "requestBody" in operation:
        media = operation["requestBody"]["content"]["application/json"]
        yield f"<h4>Body: {_shape(media['schema'])}</h4>"
        yield from (_example(example["value"]) for example in media["examples"].values())
    for status, response in operation["responses"].items():
        yield from _response(status, response)
    yield "</details>"


def _response(status: str, response: Node) -> Iterator[str]:
    media: Node = next(iter(response.get("content", {}).values()), {})
    shape = _shape(media["schema"]) if "schema" in media else ""
    yield f"<h4>{escape(status)} {shape}</h4><p>{_text(response['description'])}</p>"
    if "example" in media:
        yield _example(media["example"])


def _errors() -> Iterator[str]:
    yield "<h2>Errors</h2><table><tr><th>code</th><th>status</th><th>temporary</th><th>when</th></tr>"
    for kind in ERRORS.values():
        cells = f"<td>{kind.status}</td><td>{'yes' if kind.temporary else 'no'}</td><td>{escape(kind.title)}</td>"
        yield f'<tr id="{kind.code}"><td><code>{kind.code}</code></td>{cells}</tr>'
    yield "</table>"


def _structures(document: Node) -> Iterator[str]:
    yield "<h2>Structures</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        yield f"<p>{_text(schema.get('description', ''))}</p>"
        needed = set(schema.get("required", ()))
        rows = [
            (field, _constraint({"schema": of, "required": field in needed}), of.get("description", ""))
            for field, of in schema.get("properties", {}).items()
        ]
        yield from _table(("field", "value", ""), rows)
        yield "</details>"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for first, *rest in rows:
        yield (
            f"<tr><td><code>{escape(first)}</code></td>" + "".join(f"<td>{_text(cell)}</td>" for cell in rest) + "</tr>"
        )
    yield "</table>"


def _constraint(described: Node) -> str:
    """A schema in a few words."""
    schema = described["schema"]
    words = [_kind(schema)]
    words += [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "up to"), ("default", "default"))
        if schema.get(key) is not None
    ]
    return ", ".join(words + (["required"] if described.get("required") else []))


def _kind(schema: Node) -> str:
    if "$ref" in schema:
        return f"`{_name(schema)}`"
    if "enum" in schema:
        return " | ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_kind(option) for option in schema["anyOf"])
    if schema.get("type") == "array" and "items" in schema:
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("format") or schema.get("type") or "any")


def _shape(schema: Node) -> str:
    """A schema by name, linked to where it is described."""
    if "$ref" in schema:
        return f'<a href="#schema-{escape(_name(schema))}">{escape(_name(schema))}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(option) for option in schema["anyOf"])
    if schema.get("type") == "array" and "items" in schema:
        return f"array of {_shape(schema['items'])}"
    return escape(_kind(schema))


def _name(schema: Node) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _example(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _text(text: str) -> str:
    """Text with its `code` marked up."""
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(escape(text).split("`")))
