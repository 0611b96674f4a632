"""The AsyncAPI 3 document of the websocket, generated from the protocol's structures.

Nothing about a message is written here a second time but an example of it, which a test decodes.
"""

import inspect
from typing import Any

import msgspec
from msgspec import Struct

from channels.codec import CODECS
from channels.errors import CLOSE_CODES, ERRORS
from channels.frames import MAX_SIZE
from channels.protocol import CLIENT_MESSAGES, SERVER_MESSAGES

_ENTRY = {
    "item": "suno_123",
    "rank": 1,
    "score": 12.5,
    "up_votes": 14,
    "down_votes": 1,
    "movement": 2,
    "title": "Glass Rivers",
    "artist": "Vela",
}
_CHANGED = {key: value for key, value in _ENTRY.items() if key not in ("title", "artist")}
_STATE = {"epoch": "b7f3c1", "version": 482}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "hello": [
        {"type": "hello", "id": 1, "token": "plaudit_..."},
        {"type": "hello", "id": 1, "tenant": "aimusicstore"},
    ],
    "vote": [
        {
            "type": "vote",
            "id": 2,
            "board": "songs",
            "item": "suno_123",
            "vote": "up",
            "comment": "that bridge",
        },
        {"type": "vote", "id": "a-3", "board": "esc-2024", "item": "ch", "value": 12},
    ],
    "retract": [{"type": "retract", "id": 4, "board": "songs", "item": "suno_123"}],
    "subscribe": [
        {"type": "subscribe", "id": 5, "board": "songs", "window": "day", "top": 10},
        {"type": "subscribe", "id": 6, "board": "songs", "items": ["suno_123", "udio_9"], **_STATE},
        {"type": "subscribe", "id": 7, "board": "songs", "around": "suno_123", "span": 3},
    ],
    "unsubscribe": [{"type": "unsubscribe", "id": 8, "sub": 1}],
    "ping": [{"type": "ping", "id": 9}],
    "welcome": [
        {
            "type": "welcome",
            "id": 1,
            "session": "s-5f2c",
            "agent_id": "critic-7",
            "tier": "free",
            "quota_remaining": 99,
            "heartbeat": 25,
            "server_time": 1767225600000,
        }
    ],
    "ack": [
        {
            "type": "ack",
            "id": 2,
            "status": "applied",
            "seq": 90210,
            "score": 13,
            "up_votes": 14,
            "down_votes": 1,
            "quota_remaining": 98,
        }
    ],
    "error": [
        {
            "type": "error",
            "id": 2,
            "code": "overloaded",
            "message": "Overloaded, nothing was counted",
            "temporary": True,
            "retry_after_ms": 500,
        },
        {"type": "error", "id": None, "code": "invalid", "message": "...", "temporary": False},
    ],
    "snapshot": [
        {
            "type": "snapshot",
            "id": 5,
            "sub": 1,
            "board": "songs",
            "window": "day",
            **_STATE,
            "total": 40,
            "entries": [_ENTRY],
            "digest": 1480268357,
        }
    ],
    "resumed": [{"type": "resumed", "id": 5, "sub": 1, **_STATE}],
    "delta": [
        {
            "type": "delta",
            "sub": 1,
            "prev": 481,
            "version": 482,
            "entries": [_CHANGED],
            "left": ["udio_9"],
            "total": 40,
            "digest": 1480268357,
        }
    ],
    "pong": [{"type": "pong", "id": 9, "server_time": 1767225600000}],
    "bye": [{"type": "bye", "code": 1012, "message": "the server restarts", "retry_after_ms": 1000}],
}

_REPLIES = {
    "hello": ("welcome", "error"),
    "vote": ("ack", "error"),
    "retract": ("ack", "error"),
    "subscribe": ("snapshot", "resumed", "error"),
    "unsubscribe": ("ack", "error"),
    "ping": ("pong",),
}
_UNASKED = ("delta", "error", "bye")


def document(version: str) -> dict[str, Any]:
    """The whole document, ready to be written as JSON. `version` is the application's."""
    schemas, names = _schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Plaudit",
            "version": version,
            "description": "Votes in, live rankings out. A frame holds one message or an array of messages.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "plaudit": {
                "address": "/ws",
                "description": f"Subprotocols: {', '.join(CODECS)}. A frame is at most {MAX_SIZE} bytes.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": {"method": "GET"}},
                "x-subprotocols": list(CODECS),
            }
        },
        "operations": _operations(),
        "components": {
            "messages": {name: _message(name, struct) for name, struct in names.items()},
            "schemas": schemas,
        },
        "x-errors": [kind._asdict() for kind in ERRORS.values()],
        "x-close-codes": [kind._asdict() for kind in CLOSE_CODES.values()],
    }


def _schemas() -> tuple[dict[str, Any], dict[str, type[Struct]]]:
    """The schemas of all messages and what they are made of, and the structures by their `type`."""
    structs = CLIENT_MESSAGES + SERVER_MESSAGES
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    return schemas, {str(struct.__struct_config__.tag): struct for struct in structs}


def _message(name: str, struct: type[Struct]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": inspect.getdoc(struct),
        "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
        "examples": [{"payload": example} for example in EXAMPLES[name]],
    }


def _operations() -> dict[str, Any]:
    channel = {"$ref": "#/channels/plaudit"}
    operations: dict[str, Any] = {
        name: {
            "action": "receive",
            "channel": channel,
            "messages": [_in_channel(name)],
            "reply": {"channel": channel, "messages": [_in_channel(reply) for reply in replies]},
        }
        for name, replies in _REPLIES.items()
    }
    operations["tell"] = {
        "action": "send",
        "channel": channel,
        "messages": [_in_channel(name) for name in _UNASKED],
    }
    return operations


def _in_channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/plaudit/messages/{name}"}
