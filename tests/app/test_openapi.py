"""The OpenAPI document, and the page made of it."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from channels.asyncapi import document as asyncapi
from channels.errors import ERRORS
from tests.app.conftest import House
from tests.app.contract import Contract

CALLS = {
    ("post", "/api/v1/vote"),
    ("delete", "/api/v1/vote"),
    ("post", "/api/v1/votes"),
    ("get", "/api/v1/me"),
    ("get", "/api/v1/me/votes"),
    ("get", "/api/v1/boards"),
    ("get", "/api/v1/boards/{board}"),
    ("get", "/api/v1/boards/{board}/items/{item_id}"),
    ("get", "/api/v1/boards/{board}/items/{item_id}/comments"),
    ("get", "/api/v1/boards/{board}/history"),
    ("get", "/api/v1/boards/{board}/activity"),
    ("get", "/api/v1/boards/{board}/events"),
    ("get", "/api/v1/trending"),
    ("get", "/api/v1/top/daily"),
    ("get", "/api/v1/songs"),
    ("get", "/api/v1/tools"),
    ("get", "/api/v1/songs/{id}"),
    ("get", "/api/v1/tools/{id}"),
    ("post", "/api/v1/agents"),
    ("post", "/api/v1/agents/{agent_id}/keys"),
    ("delete", "/api/v1/agents/{agent_id}/keys/{key_id}"),
    ("post", "/api/v1/songs"),
    ("post", "/api/v1/tools"),
    ("post", "/api/v1/boards"),
    ("post", "/api/v1/boards/{board}/items"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/docs"),
    ("get", "/schema/openapi.json"),
    ("get", "/schema/asyncapi.json"),
}


async def served(house: House) -> Any:
    return (await house.door.get("/schema/openapi.json")).json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_it_has_every_call_of_the_contract(house: House) -> None:
    document = await served(house)
    assert {(method, path) for method, path, _ in operations(document)} == CALLS
    names = [operation["operationId"] for *_, operation in operations(document)]
    assert len(names) == len(set(names))


async def test_its_references_resolve(house: House) -> None:
    document = await served(house)
    for reference in set(references(document)):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


async def test_its_examples_are_of_their_schemas(house: House) -> None:
    document = await served(house)
    contract = Contract(document)
    checked = 0
    for *_, operation in operations(document):
        for part in [operation.get("requestBody", {}), *operation["responses"].values()]:
            for media in part.get("content", {}).values():
                values = [example["value"] for example in media.get("examples", {}).values()]
                for value in [*values, *([media["example"]] if "example" in media else [])]:
                    contract.validate(media["schema"], value)
                    checked += 1
    assert checked > 50


async def test_every_path_parameter_is_described(house: House) -> None:
    for _, path, operation in operations(await served(house)):
        described = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


async def test_every_error_is_somewhere(house: House) -> None:
    told = {
        code
        for *_, operation in operations(await served(house))
        for response in operation["responses"].values()
        for code in response.get("content", {}).get("application/problem+json", {}).get("examples", ())
    }
    assert told == set(ERRORS)


async def test_the_sockets_document(house: House) -> None:
    document = (await house.door.get("/schema/asyncapi.json")).json()
    assert document == asyncapi(document["info"]["version"])


class Links(HTMLParser):
    """What a page refers to and what it can be pointed at by."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.names.add(value)
            if name in {"href", "src"} and value:
                self.links.add(value)


async def test_the_page_needs_nothing_but_itself(house: House) -> None:
    response = await house.door.get("/docs")
    page = Links()
    page.feed(response.text)
    assert "script" not in page.tags
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= page.names
    assert {link for link in page.links if not link.startswith("#")} == {
        "/schema/openapi.json",
        "/schema/asyncapi.json",
        "data:,",
    }
    # Problems point here with their `type`.
    assert set(ERRORS) <= page.names
    assert {operation["operationId"] for *_, operation in operations(await served(house))} <= page.names
