"""Holds every answer against the OpenAPI document that the server itself serves."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
import jsonschema


class Contract:
    """What the served document says of answers and of bodies."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        # Clients must ignore fields that they don't know; the server must not have any that it does not tell of.
        self._strict = _closed({"components": document["components"]})

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """The operation that a request is for. Literal paths win over templates."""
        for template in sorted(self.document["paths"], key=lambda known: known.count("{")):
            pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in _parts(template))
            if re.fullmatch(pattern, path):
                found: dict[str, Any] = self.document["paths"][template][method.lower()]
                return found
        raise KeyError(path)

    def check(self, response: httpx.Response) -> None:
        """Raises where an answer is not as documented."""
        path = response.request.url.raw_path.partition(b"?")[0].decode()
        described = self.operation(response.request.method, path)["responses"][str(response.status_code)]
        for name in described.get("headers", {}):
            required = name in {"ETag", "Retry-After"}
            assert name in response.headers or not required, name
        if "content" not in described:
            assert response.content == b""
            return
        media_type = response.headers["content-type"].partition(";")[0]
        media = described["content"][media_type]
        if media_type.endswith("json"):
            self.validate(media["schema"], response.json())
        if media_type == "application/problem+json":
            assert response.json()["code"] in media["examples"]

    def validate(self, schema: Mapping[str, Any], value: object) -> None:
        """Raises where a value is not of the schema, or has fields that the schema does not know."""
        checker = jsonschema.Draft202012Validator({**self._strict, **_closed(schema)})
        checker.validate(value)


class Door:
    """A client whose every answer is held against the contract."""

    def __init__(self, client: httpx.AsyncClient, contract: Contract, key: str | None = None) -> None:
        self._client = client
        self._contract = contract
        self._key = key

    def with_key(self, key: str | None) -> "Door":
        """The same door for somebody else."""
        return Door(self._client, self._contract, key)

    async def call(self, method: str, path: str, body: Any = None, **rest: Any) -> httpx.Response:
        """Sends JSON, or bytes as they are."""
        headers = dict(rest.pop("headers", {}))
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        response = await self._client.request(method, path, content=content, headers=headers, **rest)
        self._contract.check(response)
        return response

    async def get(self, path: str, **rest: Any) -> httpx.Response:
        return await self.call("GET", path, **rest)

    async def post(self, path: str, body: Any = None, **rest: Any) -> httpx.Response:
        return await self.call("POST", path, body, **rest)

    async def delete(self, path: str, **rest: Any) -> httpx.Response:
        return await self.call("DELETE", path, **rest)


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code of problem details."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    return response.status_code, problem["code"]


def _parts(template: str) -> list[str]:
    return re.split(r"({\w+})", template)


def _closed(node: Any) -> Any:
    """A schema that refuses what it does not name."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
