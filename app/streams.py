"""Boards as server-sent events: rooms' frames, handed to whoever reads a long answer over HTTP.

A stream is a member of a room like a websocket, and is passed over like one while its reader does not keep up:
it holds a few frames at most, and gets one merged delta or a snapshot when they are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from channels.codec import JSON
from channels.errors import PlauditError
from channels.frames import payload_of
from channels.hub import Hub
from channels.room import Subscription
from storage.types import Board, Query

SUB: Final = 1
"""The number of the only subscription of a stream."""

WAITING: Final = 256 * 1024
"""Bytes of frames that wait for a reader above which it is passed over."""

_LULL: Final = b": still here\n\n"
_HEADERS: Final = {
    "cache-control": "no-store",
    # nginx would hold events back until it has a buffer full of them.
    "x-accel-buffering": "no",
}


class Reader:
    """A member of one room, whose frames are taken one after the other."""

    codec = JSON

    def __init__(self, unblocked: Callable[[], None]) -> None:
        self._unblocked = unblocked
        self.blocked = False
        self.closed = False
        self._subscription: Subscription | None = None
        self._frames: list[tuple[bytes, str]] = []
        self._size = 0
        self._wake = asyncio.Event()

    @property
    def transport(self) -> Reader:
        """What takes the room's frames: itself."""
        return self

    @property
    def watched(self) -> int:
        """What its view costs, in rows."""
        return 0 if self._subscription is None else self._subscription.room.cost

    def attach(self, subscription: Subscription, first: Sequence[bytes]) -> None:
        """Takes a place in a room, and the frames to begin with."""
        self._subscription = subscription
        for frame in first:
            self.write(frame)

    def write(self, frame: bytes) -> None:
        """Keeps a frame for the reader, with the epoch in which it was written."""
        assert self._subscription is not None
        assert self._subscription.room.view is not None
        self._frames.append((frame, self._subscription.room.view.epoch))
        self._size += len(frame)
        if self._size > WAITING and not self.blocked:
            self.blocked = True
            self._subscription.hold()
        self._wake.set()

    def close(self) -> None:
        """Lets the reader go when what is under way to it is sent; it comes back with the state that it then holds."""
        self.closed = True
        self._wake.set()

    async def take(self, patience: float) -> bytes:
        """All events that wait; after `patience` seconds without any, or at the end, a comment."""
        if not self._frames and not self.closed:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), patience)
        taken, self._frames, self._size = self._frames, [], 0
        return b"".join([_event(frame, epoch) for frame, epoch in taken]) or _LULL

    def taken(self) -> None:
        """What was taken is on its way: a reader that was passed over is brought up to date."""
        if self.blocked and self._size <= WAITING and self._subscription is not None:
            self.blocked = False
            self._subscription.catch_up()
            self._unblocked()


class Streams:
    """All streams of a server. `limit` bounds their number; `jitter` gives numbers in [0, 1)."""

    def __init__(self, hub: Hub, heartbeat: float, limit: int, jitter: Callable[[], float]) -> None:
        self._hub = hub
        self._heartbeat = heartbeat
        self._limit = limit
        self._jitter = jitter
        self._readers: set[Reader] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many are open."""
        return len(self._readers)

    def close(self) -> None:
        """Ends every stream, and lets no new one begin."""
        self._closed = True
        for reader in self._readers:
            reader.close()

    async def open(self, board: Board, query: Query, epoch: str | None, version: int | None) -> EventStream:
        """A stream for the caller to send; with the epoch and the version that the reader holds it resumes.

        Raises PlauditError `overloaded`, and StorageError where the board can't be read.
        """
        if self._closed or len(self._readers) >= self._limit:
            raise PlauditError("overloaded", "No further streams now", 5000)
        reader = Reader(self._hub.unblocked)
        self._readers.add(reader)
        try:
            joined = await self._hub.join(board, query, reader, SUB, name=SUB, epoch=epoch, version=version)
        except BaseException:
            self._readers.discard(reader)
            raise
        reader.attach(*joined)
        if self._closed:
            reader.close()

        def leave() -> None:
            self._readers.discard(reader)
            self._hub.leave(joined[0])

        # Each comes back after a time of its own: a crowd that was cut off together does not come together.
        return EventStream(reader, leave, self._heartbeat, 1000 + round(self._jitter() * 4000))


class EventStream(ASGIResponse):
    """The answer in which a reader's events go out, until either side ends it."""

    def __init__(self, reader: Reader, leave: Callable[[], None], heartbeat: float, retry: int) -> None:
        super().__init__(media_type="text/event-stream", headers=_HEADERS)
        self._reader = reader
        self._leave = leave
        self._heartbeat = heartbeat
        self._retry = retry

    _should_set_content_length = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as ASGI has it
        """Sends until the reader goes, or is let go. One that does not read is cut off by its connection."""
        try:
            await self.start_response(send)
            gone = asyncio.create_task(_gone(receive))
            sending = asyncio.create_task(self._send(send))
            try:
                await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                sending.cancel()
                await asyncio.gather(gone, sending, return_exceptions=True)
        finally:
            self._leave()

    async def _send(self, send: Send) -> None:
        part = f"retry: {self._retry}\n\n".encode()
        while True:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            self._reader.taken()
            if self._reader.closed:
                break
            part = await self._reader.take(self._heartbeat)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Head(msgspec.Struct):
    type: str
    version: int
    epoch: str = ""


_decode_head = msgspec.json.Decoder(_Head).decode


@lru_cache(maxsize=32)
def _event(frame: bytes, epoch: str) -> bytes:
    """A frame as an event, made once for all who get it. Its id is the state that the reader then holds."""
    payload = payload_of(frame)
    head = _decode_head(payload)
    named = (head.type.encode(), (head.epoch or epoch).encode(), head.version)
    return b"event: %b\nid: %b-%d\ndata: %b\n\n" % (*named, payload)
