"""Frames that are no messages: few of them are answered, and too many end the connection, not the service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from app import websocket as websocket_module
from app.connection import Connection
from app.websocket import FAREWELL
from loadtests.bench.clients.sockets import masked, opening
from tests.app.sockets import WITHIN, Message, OpenStage, Stage

PING = b"\x89\x80\0\0\0\0"
PONG = b"\x8a\x80\0\0\0\0"
BEGUN = b"\x01\x80\0\0\0\0"
FRAGMENT = b"\x00\x80\0\0\0\0"
LET_GO = 4.0
"""Seconds, fewer than a client has for its answer to a goodbye."""
HELLO = masked(b'{"type":"hello","id":1}')


class Raw:
    """A connection whose bytes are a test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, stage: Stage, more: bytes = b"") -> AsyncIterator["Raw"]:
        """After its handshake, with which it sends `more`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        try:
            async with asyncio.timeout(WITHIN):
                writer.write(opening() + more)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                yield cls(reader, writer)
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        return first & 0x0F, await self._reader.readexactly(size)

    async def until(self, opcode: int) -> bytes:
        """The payload of the next frame with this opcode."""
        while True:
            found, payload = await self.frame()
            if found == opcode:
                return payload

    async def rest(self) -> bytes:
        """All that still comes."""
        return await self._reader.read()

    def close(self) -> None:
        self._writer.close()

    async def message(self) -> Message:
        found: Message = msgspec.json.decode(await self.until(1))
        return found


async def expelled(stage: Stage, client: Raw) -> Connection:
    """The server's end of a connection that it has closed for flooding."""
    client.send(HELLO)
    await client.message()
    (connection,) = stage.services.gateway._connections
    client.send(PING * 3000)
    await client.until(8)
    return connection


async def test_what_comes_with_the_handshake_is_read(stage: Stage) -> None:
    async with Raw.connect(stage, HELLO + masked(b'{"type":"ping","id":2}')) as client:
        assert [answer["type"] for answer in msgspec.json.decode(await client.until(1))] == ["welcome", "pong"]


async def test_of_pings_that_come_at_once_the_last_is_answered(stage: Stage) -> None:
    async with Raw.connect(stage) as client:
        client.send(b"".join(b"\x89\x81\0\0\0\0" + name for name in (b"a", b"b", b"c")) + HELLO)
        found = [await client.frame() for _ in range(2)]
        assert (10, b"c") in found
        assert {opcode for opcode, _ in found} == {1, 10}


@pytest.mark.parametrize("flood", [PING * 3000, PONG * 3000, BEGUN + FRAGMENT * 3000, PING * 50_000])
async def test_a_flood_of_frames_ends_the_connection(open_stage: OpenStage, flood: bytes) -> None:
    async with open_stage(messages_per_second=100) as stage, stage.viewer() as other, Raw.connect(stage) as client:
        client.send(HELLO)
        assert (await client.message())["type"] == "welcome"
        client.send(flood)
        bye = await client.message()
        assert (bye["type"], bye["code"]) == ("bye", 4429)
        assert bye["retry_after_ms"]
        assert int.from_bytes((await client.until(8))[:2], "big") == 4429
        assert (await other.ask("ping"))["type"] == "pong"


async def test_a_message_in_many_fragments_is_one_message(open_stage: OpenStage) -> None:
    async with open_stage(messages_per_second=5) as stage, Raw.connect(stage) as client:
        client.send(HELLO)
        await client.message()
        letters = b'{"type":"ping","id":2}'
        first, *middle, last = [b"\x81\0\0\0\0" + bytes([letter]) for letter in letters]
        client.send(b"\x01" + first + b"".join(b"\x00" + part + PING for part in middle) + b"\x80" + last)
        assert (await client.message())["type"] == "pong"


async def test_who_goes_on_after_a_goodbye_is_let_go_at_once(open_stage: OpenStage) -> None:
    """The end of its stream has to do for an answer that nobody looks for any more."""
    async with open_stage(messages_per_second=100) as stage, Raw.connect(stage) as client:
        connection = await expelled(stage, client)
        client.send(PING * (FAREWELL // len(PING) + 1))
        assert await client.rest() == b""
        client.close()
        async with asyncio.timeout(LET_GO):
            await stage.until(lambda: connection not in stage.services.gateway._connections)


async def test_who_never_ends_is_not_read_for_ever(open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "DISCARDED", 100_000)
    async with open_stage(messages_per_second=100) as stage, Raw.connect(stage) as client:
        connection = await expelled(stage, client)
        client.send(PING * 40_000)
        await stage.until(lambda: not connection.transport.is_reading())


async def test_who_is_in_the_middle_of_a_large_message_is_let_go_at_once(stage: Stage) -> None:
    async with Raw.connect(stage, HELLO) as client:
        await client.message()
        (connection,) = stage.services.gateway._connections
        size = 8_000_000
        client.send(b"\x81\xff" + size.to_bytes(8, "big") + bytes(4 + size))
        assert int.from_bytes((await client.until(8))[:2], "big") == 1009
        assert await client.rest() == b""
        client.close()
        async with asyncio.timeout(LET_GO):
            await stage.until(lambda: connection not in stage.services.gateway._connections)


async def test_no_websocket_begins_before_the_requests_in_front_of_it_are_answered(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + opening() + HELLO)
    whole = await reader.read()
    writer.close()
    assert b" 101 " not in whole
    assert whole.startswith(b"HTTP/1.1 400 ")


async def test_what_comes_with_a_refused_handshake_is_not_answered(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(opening().replace(b"/ws", b"/nowhere") + b"\x89\x81\0\0\0\0x")
    whole = await reader.read()
    writer.close()
    assert whole.startswith(b"HTTP/1.1 4")
