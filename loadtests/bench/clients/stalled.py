"""Viewers who stop reading. Their receive buffers are small, so that the server soon notices."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import cast

from loadtests.bench.clients.sockets import masked, opening
from loadtests.bench.worker import work

_RECEIVED = 4096
_VIEWS = 20


class Stalled:
    """Connections that nobody reads from."""

    def __init__(self, writers: Sequence[asyncio.StreamWriter]) -> None:
        self._writers = writers

    @classmethod
    async def open(cls, *, port: int, board: str, count: int) -> Stalled:
        """Connects, watches the board in some views at a time, and reads nothing from then on."""
        return cls([await _connect(port, board) for _ in range(count)])

    async def count(self) -> int:
        """How many there are."""
        return len(self._writers)


async def _connect(port: int, board: str) -> asyncio.StreamWriter:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=2)
    writer.write(opening())
    # Each view is another room, so each is a delta of its own.
    wanted = [
        b'{"type":"subscribe","id":%d,"board":"%s","top":%d}' % (n, board.encode(), 50 + n) for n in range(_VIEWS)
    ]
    writer.write(masked(b'[{"type":"hello","id":0},%s]' % b",".join(wanted)))
    await reader.readexactly(1)
    cast("asyncio.Transport", writer.transport).pause_reading()
    return writer


if __name__ == "__main__":
    work(Stalled.open)
