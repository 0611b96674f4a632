"""One websocket after its handshake, below its messages: frames, the buffer, signs of life, and the end.

An asyncio protocol without a task, a queue or a buffer of its own, so that ten thousand idle viewers cost little
and a broadcast is a loop of writes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final

from channels import frames
from channels.codec import Codec
from channels.errors import CLOSE_CODES
from channels.protocol import Bye, ServerMessage

HIGH_WATER: Final = 256 * 1024
"""Bytes in a connection's buffer above which it is passed over."""

FAREWELL: Final = 64 * 1024
"""Bytes that are looked through for a client's answer to a goodbye."""

DISCARDED: Final = 16 * 1024 * 1024
"""Bytes that are thrown away after that, so that whoever was in the middle of sending comes to read the goodbye."""

PIECE: Final = 16 * 1024
"""Bytes that are taken apart before what they say is dealt with: who is to be sent away for it costs no more."""

_CLOSE_WITHIN: Final = 5.0


class Websocket(asyncio.Protocol, ABC):
    """A websocket, for a subclass that hears of what comes over it and of what becomes of it.

    `peers` is uvicorn's set of connections, which it waits for when it stops.
    """

    __slots__ = (
        "_busy",
        "_closing",
        "_farewell",
        "_loop",
        "_out",
        "_parser",
        "_peers",
        "_quiet",
        "_timer",
        "blocked",
        "blocked_since",
        "codec",
        "heard",
        "probed",
        "transport",
    )

    def __init__(self, transport: asyncio.Transport, codec: Codec, peers: set[Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._peers = peers
        self.transport = transport
        self.codec = codec
        self.blocked = False  # whether nothing more must be written now, or ever
        self.blocked_since = 0.0
        self.heard = True
        self.probed = False
        self._busy = False  # with what was read; nothing more is until it is done
        self._closing = False
        self._farewell = FAREWELL
        self._quiet = False
        self._parser = frames.FrameParser(deflate=codec.deflates)
        self._out: list[ServerMessage] = []
        self._timer: asyncio.TimerHandle | None = None
        transport.set_write_buffer_limits(high=HIGH_WATER)

    @abstractmethod
    def received(self, message: frames.Message) -> None:
        """A message has come."""

    @abstractmethod
    def weigh(self, frames: int) -> None:
        """What counts as so many frames has come that are no messages: too many are a flood."""

    @abstractmethod
    def held(self) -> None:
        """Nothing must be written from now on, for a while or for ever."""

    @abstractmethod
    def freed(self) -> None:
        """The client keeps up again."""

    @abstractmethod
    def left(self) -> None:
        """A goodbye is said: what is not dealt with by now will not be."""

    @abstractmethod
    def gone(self) -> None:
        """The connection is lost."""

    # What the transport tells

    def data_received(self, data: bytes) -> None:
        """Reads what the client sent."""
        for start in range(0, len(data), PIECE):
            self._read(data[start : start + PIECE] if len(data) > PIECE else data)

    def _read(self, data: bytes) -> None:
        self.heard = True
        if self._closing and not self._is_farewell(data):
            return
        ping: frames.Ping | None = None
        events = self._parser.feed(data)
        if self._parser.odd:
            self.weigh(self._parser.odd)
        for event in events:
            if isinstance(event, frames.Message):
                if not self._closing:
                    self.received(event)
            elif isinstance(event, frames.Ping):
                ping = event
            elif isinstance(event, frames.Close):
                self._closed_by_client(event.code)
            elif isinstance(event, frames.FrameError):
                self._give_up(event)
        if ping is not None:  # the last one: the standard asks for no more
            self._put(frames.frame(frames.PONG, ping.payload))

    def _is_farewell(self, data: bytes) -> bool:
        """Whether what comes after a goodbye is looked through for the client's answer."""
        looked, self._farewell = self._farewell, self._farewell - len(data)
        if looked >= 0 > self._farewell and not self.transport.is_closing():
            # It will not be found any more: the client's end of stream, which follows on ours, has to do.
            self.transport.write_eof()
        if self._farewell < -DISCARDED:
            self.transport.pause_reading()
        return self._farewell >= 0

    def eof_received(self) -> bool:
        """The client will send no more: the transport closes by itself, and nothing more must be written to it."""
        self._hold()
        self.blocked_since = self._loop.time()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Forgets everything about the client."""
        self._closing = self.blocked = True
        self._stop_timer()
        self.gone()
        self._peers.discard(self)

    def pause_writing(self) -> None:
        """The client does not keep up: nothing is sent, and nothing more is read from it, until it does."""
        self._hold()
        self.blocked_since = self._loop.time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client keeps up again: it is brought up to date."""
        if self._closing or self.transport.is_closing():
            return
        self.blocked = False
        self._read_on()
        self.freed()

    def _hold(self) -> None:
        self.blocked = True
        self.held()

    # In

    def pause(self) -> None:
        """Reads nothing more until `proceed`: what was read takes its time."""
        self._busy = True
        self.transport.pause_reading()

    def proceed(self) -> None:
        """Reads on, if nothing else is in the way."""
        self._busy = False
        self._read_on()

    def hush(self) -> None:
        """Reads nothing more, ever; what was read is still answered."""
        self._quiet = True
        if not self._closing:
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if not (self._busy or self._closing or self._quiet or self.blocked):
            self.transport.resume_reading()

    # Out

    def _put(self, frame: bytes) -> None:
        """Hands a frame to the transport. After a goodbye nothing is sent."""
        if not self._closing and not self.transport.is_closing():
            self.transport.write(frame)

    def send(self, message: ServerMessage) -> None:
        """Sends a message, joined in one frame with all others of this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(message)

    def _flush(self) -> None:
        out = self._out
        if out:
            self._out = []
            self._put(frames.frame(self.codec.opcode, self.codec.encode(out if len(out) > 1 else out[0])))

    def probe(self) -> None:
        """Asks a silent client for a sign of life; gives up one that gave none."""
        if self.heard or self._busy:  # while nothing is read, silence says nothing
            self.heard = self.probed = False
        elif self.probed:
            self._hold()
            self.transport.abort()
        else:
            self.probed = True
            self._put(frames.PING_FRAME)

    # The end

    def expel(self, code: int, message: str, *, retry_after_ms: int | None = None) -> None:
        """Says bye and closes. The client has some seconds to answer."""
        if self._closing:
            return
        kind = CLOSE_CODES.get(code)
        if retry_after_ms is None and kind is not None and kind.retry:
            retry_after_ms = 1000
        self._flush()
        bye = self.codec.encode(Bye(code, message, retry_after_ms))
        self._put(frames.frame(self.codec.opcode, bye) + frames.close_frame(code, message))
        self.left()
        self._end()
        self.transport.resume_reading()

    def _give_up(self, error: frames.FrameError) -> None:
        """Nothing that follows can be read, not even the client's goodbye: its end of stream has to do."""
        if not self._closing:
            self.expel(error.code, error.reason)
            self.transport.write_eof()

    def _closed_by_client(self, code: int) -> None:
        if not self._closing:
            self._flush()
            self._put(frames.close_frame(code) if code != frames.NO_STATUS else frames.frame(frames.CLOSE, b""))
            self._end()
        self.transport.close()

    def _end(self) -> None:
        """Sends nothing more. Whoever does not take what was sent, or does not answer, is cut off."""
        self._closing = self._parser.deaf = True
        self._hold()
        self._stop_timer()
        self._timer = self._loop.call_later(_CLOSE_WITHIN, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
