"""Websocket payloads to messages and back, for both subprotocols.

The rare path (a message that is understood but wrong) takes a frame apart message by message, so that one bad
vote gets an `error` of its own while its neighbours stand. Only what can't be understood at all ends the
connection.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from channels.errors import ErrorCode
from channels.protocol import CLIENT_MESSAGES, ClientId, ClientMessage, ServerMessage

TEXT: Final = 0x1
BINARY: Final = 0x2

MAX_MESSAGES: Final = 1000
"""Messages in one frame at most."""

# ValidationError is a DecodeError; bad UTF-8 and deep nesting come out of msgspec as what Python calls them.
MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_TYPES = frozenset(str(cls.__struct_config__.tag) for cls in CLIENT_MESSAGES)


class NotProtocol(Exception):
    """A payload that holds no messages: the connection closes with 4400. The text says what was wrong."""


class Invalid(Struct, frozen=True):
    """A message of a known type with something wrong in it: answered by an `error` with this code.

    `id` is the client's where that much was right, else None.
    """

    id: str | int | None
    message: str
    type: str = ""
    code: ErrorCode = "invalid"


class _Envelope(Struct):
    type: str
    id: Raw = Raw()


class Codec:
    """One subprotocol: its name, the opcode of its frames, and its two directions."""

    def __init__(
        self,
        subprotocol: str,
        opcode: int,
        decoder: Callable[[Any], Any],
        encode: Callable[[Any], bytes],
        join: Callable[[Sequence[bytes]], bytes],
        check_text: Callable[[bytes | memoryview], None],
    ) -> None:
        self.subprotocol = subprotocol
        self.opcode = opcode
        self.encode = encode
        """Encodes one message, or a list of them, as one payload."""
        self.join = join
        """Puts messages that are encoded already into one payload, as an array."""
        self.deflates = False
        """Whether frames are compressed that many get."""
        self._check_text = check_text
        self._client: Callable[[bytes | memoryview], ClientMessage | list[ClientMessage]]
        self._client = decoder(ClientMessage | list[ClientMessage])
        self._one: Callable[[Raw], ClientMessage] = decoder(ClientMessage)
        self._server: Callable[[bytes | memoryview], ServerMessage | list[ServerMessage]]
        self._server = decoder(ServerMessage | list[ServerMessage])
        self._raw: Callable[[bytes | memoryview], Raw] = decoder(Raw)
        self._raws: Callable[[bytes | memoryview], list[Raw]] = decoder(list[Raw])
        self._envelope: Callable[[Raw], _Envelope] = decoder(_Envelope)
        self._id: Callable[[Raw], str | int] = decoder(ClientId)

    def __repr__(self) -> str:
        return f"<Codec {self.subprotocol}{' deflated' * self.deflates}>"

    @cached_property
    def deflating(self) -> "Codec":
        """The same subprotocol for clients that take compressed frames, always the same object."""
        deflating = copy(self)
        deflating.deflates = True
        return deflating

    def decode(self, payload: bytes | memoryview) -> Sequence[ClientMessage | Invalid]:
        """The messages of one frame's payload, at least one, in order.

        Raises NotProtocol for what is not well formed, not an object or a filled array of objects, or without
        a known `type`. A frame of too many messages holds none that is valid. Bytes that are not UTF-8 are
        refused in every field that is read; ignored fields are not looked into.
        """
        try:
            messages = self._client(payload)
        except msgspec.ValidationError:
            return self._decode_each(payload)
        except MALFORMED as error:
            raise NotProtocol(str(error)) from error
        if not isinstance(messages, list):
            return (messages,)
        if not messages:
            raise NotProtocol("an empty array holds no message")
        if len(messages) > MAX_MESSAGES:
            return [_one_too_many(message) for message in messages]
        return messages

    def decode_server(self, payload: bytes | memoryview) -> list[ServerMessage]:
        """What a client reads: the messages of one frame from the server. Raises NotProtocol."""
        try:
            messages = self._server(payload)
        except MALFORMED as error:
            raise NotProtocol(str(error)) from error
        return messages if isinstance(messages, list) else [messages]

    def _decode_each(self, payload: bytes | memoryview) -> Sequence[ClientMessage | Invalid]:
        try:
            # The first error ended the fast path: whether the rest is well formed is not known yet.
            self._raw(payload)
            self._check_text(payload)
        except MALFORMED as error:
            raise NotProtocol(str(error)) from error
        try:
            raws = self._raws(payload)
        except msgspec.ValidationError:
            return [self._decode_one(Raw(payload))]
        found = [self._decode_one(raw) for raw in raws]
        return found if len(found) <= MAX_MESSAGES else [_one_too_many(message) for message in found]

    def _decode_one(self, raw: Raw) -> ClientMessage | Invalid:
        try:
            envelope = self._envelope(raw)
        except MALFORMED as error:
            raise NotProtocol(str(error)) from error
        if envelope.type not in _TYPES:
            raise NotProtocol(f"unknown type {envelope.type!r:.60}")
        try:
            return self._one(raw)
        except msgspec.ValidationError as error:
            return Invalid(self._usable_id(envelope.id), str(error).replace("`$.", "`"), envelope.type)
        except MALFORMED as error:
            raise NotProtocol(str(error)) from error

    def _usable_id(self, raw: Raw) -> str | int | None:
        try:
            return self._id(raw)
        except MALFORMED:
            return None


def _one_too_many(message: ClientMessage | Invalid) -> Invalid:
    kind = message.type if isinstance(message, Invalid) else str(message.__struct_config__.tag)
    return Invalid(message.id, f"A frame holds at most {MAX_MESSAGES:,} messages", kind, "too_large")


def _json_decoder(of: Any) -> Callable[[Any], Any]:
    return msgspec.json.Decoder(of).decode


def _msgpack_decoder(of: Any) -> Callable[[Any], Any]:
    return msgspec.msgpack.Decoder(of).decode


def _join_json(parts: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(parts) + b"]"


def _join_msgpack(parts: Sequence[bytes]) -> bytes:
    size = len(parts)
    head = bytes((0x90 | size,)) if size < 16 else b"\xdc" + size.to_bytes(2, "big")
    return head + b"".join(parts)


def _check_utf8(payload: bytes | memoryview) -> None:
    str(payload, "utf-8")


def _no_check(payload: bytes | memoryview) -> None:
    """A msgpack payload is not text as a whole; its strings are checked where they are read."""


JSON: Final = Codec("plaudit.v1.json", TEXT, _json_decoder, msgspec.json.Encoder().encode, _join_json, _check_utf8)
MSGPACK: Final = Codec(
    "plaudit.v1.msgpack", BINARY, _msgpack_decoder, msgspec.msgpack.Encoder().encode, _join_msgpack, _no_check
)
CODECS: Final = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}
"""By subprotocol, in the server's order of preference: JSON is also for clients that name none."""
