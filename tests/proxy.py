"""A TCP proxy that stands before a server and breaks the connections to it, in every way that networks have."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK: Final = 65536
_PARTING: Final = 1.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Address = str | tuple[str, int]
"""A socket in the file system, or host and port."""


class Proxy:
    """Forwards connections on `port` of 127.0.0.1 to `upstream`, for as long as it is entered.

    Nothing is lost but what a fault loses: while `silence` lasts, bytes wait and are delivered afterwards, as TCP
    does after a partition, even those of a client that has gone meanwhile.
    """

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.port = 0
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._portion = 0
        self._refusing = False
        self._cut_replies = 0
        self._was_cut = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        pairs = list(self._pairs)
        self.resume()
        self.reset()
        if pairs:
            # One that is cancelled before its connection has ended would be complained of.
            await asyncio.wait(pairs, timeout=_PARTING)
        for task in pairs:
            task.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._pairs)

    def refuse(self) -> None:
        """Ends every connection, and further ones at once: as if nothing listened."""
        self._refusing = True
        self.reset()

    def accept(self) -> None:
        """The end of `refuse`."""
        self._refusing = False

    def cut(self) -> None:
        """Closes every connection in order."""
        for writers in list(self._pairs.values()):
            for writer in writers:
                writer.close()

    def reset(self) -> None:
        """Breaks every connection off: both sides get a reset, and what was under way is gone."""
        for writers in list(self._pairs.values()):
            for writer in writers:
                _reset(writer)

    def silence(self) -> None:
        """A black hole: connections stay, new ones are taken, and nothing arrives any more."""
        self._open.clear()

    def resume(self) -> None:
        """The end of `silence`: what was held back arrives."""
        self._open.set()

    def slow(self, delay: float = 0.0, portion: int = 0) -> None:
        """From now on everything is late by `delay` seconds; with `portion`, only so many bytes come at a time."""
        self._delay, self._portion = delay, portion

    def cut_replies(self, count: int = 1) -> None:
        """Breaks off each of the next `count` replies in the middle, and its connection with it."""
        self._cut_replies = count
        self._was_cut.clear()

    async def replies_cut(self) -> None:
        """Returns when the last of `cut_replies` has happened."""
        await self._was_cut.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Up to Python 3.11 asyncio shows a traceback for a connection's task that ends by being cancelled.
        with suppress(asyncio.CancelledError):
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await _connect(self.upstream)
        except OSError:
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = writer, far_writer
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer, replies=False))
                both.create_task(self._pump(far_reader, writer, replies=True))
        except* OSError:
            pass
        finally:
            del self._pairs[task]
            for end in (writer, far_writer):
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(_CHUNK):
            await self._open.wait()
            if self._delay and not self._portion:
                await asyncio.sleep(self._delay)
            if replies and self._cut_replies and len(data) > 1:
                await self._break_off(writer, data)
            sent = 0
            while sent < len(data):
                # What is left goes at once when it is fast again.
                portion = self._portion or len(data)
                writer.write(data[sent : sent + portion])
                sent += portion
                await writer.drain()
                if self._portion:
                    await asyncio.sleep(self._delay)
        await self._open.wait()
        # What the far side still has to say is let through before its end.
        with suppress(OSError):
            writer.write_eof()

    async def _break_off(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self._cut_replies -= 1
        writer.write(data[: len(data) // 2])
        await writer.drain()
        if not self._cut_replies:
            self._was_cut.set()
        raise ConnectionResetError("broken off in the middle")


def unix_socket(url: str) -> str:
    """The socket behind the address of an embedded server, of either kind."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    query = parse_qs(parts.query)
    return f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"


async def _connect(upstream: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(upstream, str):
        return await asyncio.open_unix_connection(upstream)
    return await asyncio.open_connection(*upstream)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
