"""Frames that are no messages: few of them are answered, and too many end the connection, not the service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from app.websocket import FAREWELL
from loadtests.bench.clients.sockets import masked, opening
from tests.app.sockets import Message, OpenStage, Stage

PING = b"\x89\x80\0\0\0\0"
PONG = b"\x8a\x80\0\0\0\0"
BEGUN = b"\x01\x80\0\0\0\0"
FRAGMENT = b"\x00\x80\0\0\0\0"
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
            writer.write(opening() + more)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            yield cls(reader, writer)
        finally:
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

    async def message(self) -> Message:
        found: Message = msgspec.json.decode(await self.until(1))
        return found


async def test_what_comes_with_the_handshake_is_read(stage: Stage) -> None:
    async with Raw.connect(stage, HELLO + masked(b'{"type":"ping","id":2}')) as client:
        assert [answer["type"] for answer in msgspec.json.decode(await client.until(1))] == ["welcome", "pong"]


async def test_of_pings_that_come_at_once_the_last_is_answered(stage: Stage) -> None:
    async with Raw.connect(stage) as client:
        client.send(b"".join(b"\x89\x81\0\0\0\0" + name for name in (b"a", b"b", b"c")) + HELLO)
        found = [await client.frame() for _ in range(2)]
        assert (10, b"c") in found
        assert {opcode for opcode, _ in found} == {1, 10}


@pytest.mark.parametrize("flood", [PING * 1000, PONG * 1000, BEGUN + FRAGMENT * 1000, PING * 50_000])
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


async def test_who_goes_on_after_a_goodbye_is_not_read(open_stage: OpenStage) -> None:
    async with open_stage(messages_per_second=100) as stage, Raw.connect(stage) as client:
        client.send(HELLO)
        await client.message()
        (connection,) = stage.services.gateway._connections
        client.send(PING * 1000)
        await client.until(8)
        assert connection.transport.is_reading()
        client.send(PING * (FAREWELL // len(PING) + 1))
        await stage.until(lambda: not connection.transport.is_reading())
