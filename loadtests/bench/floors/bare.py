"""Bare asyncio servers on uvloop: one that answers the handshake, and one that besides writes frames to everyone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import cast

from channels.codec import JSON
from channels.protocol import Delta, Entry
from channels.wire import DeltaFrames
from loadtests.bench.clients.bursts import Burst
from loadtests.bench.lab import item_name
from loadtests.bench.worker import work

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"sec-websocket-key:"


class Bare(asyncio.Protocol):
    """Answers the handshake and then reads without looking."""

    __slots__ = ("_all", "_transport")

    def __init__(self, everyone: list[asyncio.Transport]) -> None:
        self._all = everyone
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._all.append(self._transport)

    def data_received(self, data: bytes) -> None:
        start = data.lower().find(_KEY)
        if start < 0:
            return
        key = data[start + len(_KEY) :].split(b"\r\n", 1)[0].strip()
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())  # noqa: S324  # as RFC 6455 has it
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._transport.write(b"%sSec-WebSocket-Accept: %s\r\n\r\n" % (answer, accept))


class Broadcast:
    """Every connection of a bare server."""

    def __init__(self, server: asyncio.Server, everyone: list[asyncio.Transport]) -> None:
        self._server = server
        self._all = everyone
        self._value = 1000

    @classmethod
    async def open(cls) -> Broadcast:
        """Listens."""
        everyone: list[asyncio.Transport] = []
        loop = asyncio.get_running_loop()
        return cls(await loop.create_server(lambda: Bare(everyone), "127.0.0.1", 0, backlog=4096), everyone)

    async def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    async def run(self, *, seconds: float, rate: float, width: int) -> Burst:
        """Writes so many deltas a second of `width` entries, like those of the server, to everyone."""
        sent: dict[str, float] = {}
        began = time.monotonic()
        for n in range(int(seconds * rate)):
            await asyncio.sleep(began + n / rate - time.monotonic())
            self._value += 1
            sent[f"{self._value:g}"] = time.monotonic()
            data = _frame(self._value, width)
            for transport in self._all:
                transport.write(data)
        await asyncio.sleep(began + seconds - time.monotonic())
        return Burst(sent, 0)


def _frame(value: int, width: int) -> bytes:
    """As `channels` encodes it, so that the bytes are the same."""
    entries = [Entry(item_name(n), 1, value, 1, 0, None) for n in range(width)]
    return DeltaFrames(Delta(0, value - 1, value, entries, [], 5000, 3_000_000_000)).frame(JSON, 1)


if __name__ == "__main__":
    work(Broadcast.open)
