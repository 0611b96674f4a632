"""What no client should send, and how the contract says that it ends. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from channels.codec import JSON, Codec
from channels.errors import BAD_TOKEN, FLOODING, FRAME_TOO_LARGE, NOT_PROTOCOL
from channels.frames import MAX_SIZE, frame
from channels.protocol import CastVote, ClientMessage, Hello, Subscribe

_PROTOCOL_ERROR: Final = 1002
_PING: Final = b"\x89\x80\0\0\0\0"
_BEGUN: Final = b"\x01\x80\0\0\0\0"
_FRAGMENT: Final = b"\x00\x80\0\0\0\0"
_FLOOD: Final = 30_000

Making = Callable[[Codec, Random], bytes]


class Garbage(NamedTuple):
    """Something to send on a fresh connection: a frame's payload, or bytes instead of frames; then a close code."""

    name: str
    code: int
    payload: Making
    framed: bool = True


def _noise(_codec: Codec, random: Random) -> bytes:
    # The first byte is no JSON, and in MessagePack the one that is never used.
    return b"\xc1" + random.randbytes(random.randrange(2000))


def _unmasked(codec: Codec, _random: Random) -> bytes:
    return frame(codec.opcode, codec.encode(Hello(1)))


def _deep(codec: Codec, _random: Random) -> bytes:
    return b"[" * 30_000 if codec is JSON else b"\x91" * 30_000


def _bits(head: bytes) -> Making:
    return lambda _codec, random: head + random.randbytes(4)


def _message(message: ClientMessage) -> Making:
    return lambda codec, _random: codec.encode(message)


GARBAGE = (
    Garbage("noise", NOT_PROTOCOL, _noise),
    Garbage("half a message", NOT_PROTOCOL, lambda codec, _random: codec.encode(Hello(1))[:-3]),
    Garbage("deep nesting", NOT_PROTOCOL, _deep),
    Garbage("no object", NOT_PROTOCOL, lambda codec, random: codec.encode(random.randrange(1000))),
    Garbage("an empty array", NOT_PROTOCOL, lambda codec, _random: codec.encode([])),
    Garbage("an unknown type", NOT_PROTOCOL, lambda codec, _random: codec.encode({"type": "sudo", "id": 1})),
    Garbage("a vote before hello", NOT_PROTOCOL, _message(CastVote(1, "songs", "x", "up"))),
    Garbage("a subscription before hello", NOT_PROTOCOL, _message(Subscribe(1, "songs"))),
    Garbage("a key that is none", BAD_TOKEN, _message(Hello(1, "plaudit_0123456789abcdefghijklmnopqrstuv"))),
    Garbage("too large a frame", FRAME_TOO_LARGE, lambda _codec, _random: bytes(MAX_SIZE + 1)),
    Garbage("a flood of pings", FLOODING, lambda _codec, _random: _PING * _FLOOD, framed=False),
    Garbage("a flood of fragments", FLOODING, lambda _codec, _random: _BEGUN + _FRAGMENT * _FLOOD, framed=False),
    Garbage("an unmasked frame", _PROTOCOL_ERROR, _unmasked, framed=False),
    Garbage("reserved bits", _PROTOCOL_ERROR, _bits(b"\xf1\x80"), framed=False),
    Garbage("an unknown opcode", _PROTOCOL_ERROR, _bits(b"\x83\x80"), framed=False),
)


class BadMessage(NamedTuple):
    """A message of an agent that gets an error of its own and ends nothing."""

    name: str
    code: str
    message: dict[str, object]


def bad_messages(board: str, item: str) -> list[BadMessage]:
    """Messages that are understood and wrong; each with id 1."""
    vote: dict[str, object] = {"type": "vote", "id": 1, "board": board, "item": item}
    return [
        BadMessage("an unknown board", "unknown_board", vote | {"board": "load-no-such-board", "vote": "up"}),
        BadMessage("an unknown item", "unknown_item", vote | {"item": "load-no-such-item", "value": 1}),
        BadMessage("no choice", "invalid", vote),
        BadMessage("two choices", "invalid", vote | {"vote": "up", "value": 1}),
        BadMessage("a value far outside", "invalid", vote | {"value": 2**40}),
        BadMessage("a field too many", "invalid", vote | {"vote": "up", "weight": 1000}),
        BadMessage("a comment too long", "invalid", vote | {"vote": "up", "comment": "x" * 2001}),
        BadMessage("a view of nothing", "invalid", {"type": "subscribe", "id": 1, "board": board, "top": 0}),
        BadMessage("too many items", "invalid", {"type": "subscribe", "id": 1, "board": board, "items": [item] * 101}),
        BadMessage("no such subscription", "invalid", {"type": "unsubscribe", "id": 1, "sub": 99}),
    ]
