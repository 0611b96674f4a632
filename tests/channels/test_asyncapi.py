import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from channels.asyncapi import EXAMPLES, document
from channels.codec import JSON, MSGPACK, Codec, Invalid
from channels.errors import CLOSE_CODES, ERRORS
from channels.protocol import CLIENT_MESSAGES, SERVER_MESSAGES

DOCUMENT = document("1.2.3")
CLIENT_TYPES = {str(struct.__struct_config__.tag) for struct in CLIENT_MESSAGES}
SERVER_TYPES = {str(struct.__struct_config__.tag) for struct in SERVER_MESSAGES}
CASES = [(name, example) for name, examples in EXAMPLES.items() for example in examples]


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(target := node.get("$ref"), str):
            yield target
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_structure_is_in_it() -> None:
    messages = DOCUMENT["components"]["messages"]
    assert set(messages) == CLIENT_TYPES | SERVER_TYPES == set(EXAMPLES)
    for struct in CLIENT_MESSAGES + SERVER_MESSAGES:
        assert set(DOCUMENT["components"]["schemas"][struct.__name__]["properties"]) == {
            "type",
            *struct.__struct_encode_fields__,
        }


def test_it_is_json_and_its_references_resolve() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    for reference in references(DOCUMENT):
        node: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_clients_send_what_the_server_receives() -> None:
    operations = DOCUMENT["operations"]
    received = {name for name, operation in operations.items() if operation["action"] == "receive"}
    assert received == CLIENT_TYPES
    answers = {ref.rsplit("/", 1)[1] for name in received for ref in references(operations[name]["reply"]["messages"])}
    unasked = {ref.rsplit("/", 1)[1] for ref in references(operations["tell"]["messages"])}
    assert answers | unasked == SERVER_TYPES


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.subprotocol)
@pytest.mark.parametrize(("name", "example"), CASES)
def test_examples_are_messages(codec: Codec, name: str, example: dict[str, Any]) -> None:
    read = codec.decode if name in CLIENT_TYPES else codec.decode_server
    [message] = read(codec.encode(example))
    assert not isinstance(message, Invalid)
    assert message.__struct_config__.tag == name
    assert example.items() <= msgspec.to_builtins(message).items()


@pytest.mark.parametrize(("name", "example"), CASES)
def test_examples_fit_their_schemas(name: str, example: dict[str, Any]) -> None:
    schema = {**DOCUMENT["components"]["messages"][name]["payload"], "components": DOCUMENT["components"]}
    jsonschema.validate(example, schema)


def test_errors_and_close_codes_are_in_it() -> None:
    assert [error["code"] for error in DOCUMENT["x-errors"]] == list(ERRORS)
    assert [close["code"] for close in DOCUMENT["x-close-codes"]] == list(CLOSE_CODES)
