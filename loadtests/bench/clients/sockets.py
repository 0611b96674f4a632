"""A websocket client that does as little as Python allows: what a case measures is the server, not its client."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Iterable
from functools import partial
from typing import Final, cast

_TEXT: Final = 0x81
_PING: Final = 0x89
_PONG: Final = b"\x8a\x80\0\0\0\0"
_SHORT: Final = 126
# The mask 0 changes nothing.
_MASK: Final = bytes(4)


def masked(payload: bytes) -> bytes:
    """A text frame of a client, of up to 65,535 bytes."""
    size = len(payload)
    if size < _SHORT:
        return bytes((_TEXT, 0x80 | size)) + _MASK + payload
    return bytes((_TEXT, 0x80 | _SHORT)) + size.to_bytes(2, "big") + _MASK + payload


def opening() -> bytes:
    """The request for a websocket."""
    return (
        b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: %s\r\n\r\n" % base64.b64encode(os.urandom(16))
    )


class Socket(asyncio.Protocol):
    """One connection, whose server sends whole text frames and pings."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._greeted = False
        self._held = b""

    async def connect(self, port: int, receive_buffer: int | None = None) -> None:
        """Asks for a websocket; `opened` is called when there is one. The kernel's buffer may be given in bytes."""
        loop, plain = asyncio.get_running_loop(), socket.socket()
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        await loop.sock_connect(plain, ("127.0.0.1", port))
        await loop.create_connection(partial(_same, self), sock=plain)

    def opened(self) -> None:
        """The handshake is done."""

    def received(self, payloads: list[bytes]) -> None:
        """Texts have come, all of one read."""

    def send(self, payloads: Iterable[bytes]) -> None:
        """Sends texts, each in a frame of its own and all with one write."""
        assert self._transport is not None
        self._transport.write(b"".join(map(masked, payloads)))

    def stop(self) -> None:
        """Reads nothing from now on."""
        assert self._transport is not None
        self._transport.pause_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(opening())

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        if not self._greeted:
            head, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                self._held = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise ConnectionError(head.decode(errors="replace"))
            self._greeted = True
            self.opened()
        payloads, end = self._frames(data)
        self._held = data[end:]
        if payloads:
            self.received(payloads)

    def _frames(self, data: bytes) -> tuple[list[bytes], int]:
        """The texts that are whole, and where they end."""
        payloads: list[bytes] = []
        position, end = 0, len(data)
        while end - position >= 2:
            start, size = position + 2, data[position + 1]
            if size >= _SHORT:
                width = 2 if size == _SHORT else 8
                size = int.from_bytes(data[start : start + width], "big") if end - start >= width else end
                start += width
            stop = start + size
            if stop > end:
                break
            if data[position] == _TEXT:
                payloads.append(data[start:stop])
            elif data[position] == _PING:
                assert self._transport is not None
                self._transport.write(_PONG)
            position = stop
        return payloads, position


def _same(socket: Socket) -> Socket:
    return socket
