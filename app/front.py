"""What a connection meets first: uvicorn's HTTP protocol, with limits of what comes before a request is whole.

A request that arrives in one piece, as nearly all do, sets no timer and costs a few attributes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.answers import HEADERS_OF_ALL, as_bytes
from app.express import Express
from app.house import House
from app.problems import MEDIA_TYPE, problem_body
from app.shortcut import Shortcut
from channels.errors import ErrorCode, PlauditError

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line and its header fields."""

MAX_IGNORED: Final = 64 * 1024
"""Bytes of a body that may come after the request was answered, before the connection is closed."""

MAX_WAITING: Final = 16
"""Requests that may wait for the answer to an earlier one of their connection."""

HEAD_WITHIN: Final = 10.0
"""Seconds from a connection's start, or a further request's first byte, to the end of the request's head."""

BODY_WITHIN: Final = 60.0
"""Seconds for a body."""

READ_WITHIN: Final = 30.0
"""Seconds in which a client has to take something of what waits for it."""

LINGER: Final = 2.0
"""Seconds in which a client that is sent away may read why."""

_IDLE, _HEAD, _BODY, _GONE = range(4)

# What uvicorn warns of is the client's doing: a line each would let anyone fill the log.
_LOGGER: Final = logging.getLogger("uvicorn.error.front")
_LOGGER.setLevel(logging.ERROR)


def front_class(house: House, express: Express) -> type[asyncio.Protocol]:
    """The class that uvicorn makes of every connection."""
    return type("Front", (_Front,), {"house": house, "express": express})


class _GoneError(Exception):
    """Tells the parser that the rest of a piece is worth nothing."""


class _Door:
    """What an answer's cycle has of the transport. Closing it is the protocol's affair."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(
        self, write: Callable[[bytes], None], close: Callable[[], None], is_closing: Callable[[], bool]
    ) -> None:
        self.write = write
        self.close = close
        self.is_closing = is_closing


class _Front(Shortcut):
    house: House

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.logger = _LOGGER
        self._stage = _IDLE
        self._piece = 0  # bytes of the piece that is being read
        self._first = 0  # bytes of the piece in which the request began
        self._read = 0  # bytes of the pieces after the one in which the request began
        self._ignored = 0
        self._timer: asyncio.TimerHandle | None = None
        self._left_over = 0  # bytes that the client had not taken when it was last looked
        self._impatience: asyncio.TimerHandle | None = None
        self._counted = False
        self._answered: RequestResponseCycle | None = None  # what is under way, or was last; `cycle` is the newest

    # What the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Counts the connection, and gives it some seconds for a first request."""
        super().connection_made(transport)
        self._door = _Door(transport.write, self._close, transport.is_closing)
        self._counted = True
        if self.house.enter(self._address):
            self._timer = self.loop.call_later(HEAD_WITHIN, self._late)
        else:
            self._send_away(503, "overloaded", "Too many connections; come back later")

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts it no more."""
        self._leave()
        self._give_up()
        self._door.close = self.transport.close  # which, unlike ours, keeps nothing of the connection
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on, for as long as what comes is worth it."""
        if self._stage == _GONE:
            return
        self._piece = len(data)
        self._read += self._piece
        super().data_received(data)
        if self._stage == _HEAD and (self._read > MAX_HEAD or self._is_head_too_large()):
            self._refuse_head()
        elif self._timer is None and self._stage in {_HEAD, _BODY}:
            self._timer = self.loop.call_later(HEAD_WITHIN if self._stage == _HEAD else BODY_WITHIN, self._late)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio's; uvicorn's answers nothing
        """The client asks nothing more. What it asked is answered first; who ends a stream has gone.

        Where nothing is to be answered the transport closes by itself when all is sent.
        """
        self._expect_reading()
        answered = self._answered
        begun = answered is None or answered.response_started or answered.response_complete
        waits = self._lane is not None or (self._between and not begun and self._stage != _GONE)
        if waits:
            self.shutdown()
        return waits

    def pause_writing(self) -> None:
        """The client does not keep up: it has its time for that."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """It does again, or has the rest of an end to read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_impatience()

    # What uvicorn tells

    def on_response_complete(self) -> None:
        """An answer is written. It may have been the last one."""
        super().on_response_complete()
        self._see_out()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more came for a while."""
        super().timeout_keep_alive_handler()
        self._see_out()

    def on_shortcut(self) -> None:
        """A first request came in time."""
        self._stop_timer()

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._stage == _GONE:
            raise _GoneError
        self._stage = _HEAD
        self._first = self._piece
        self._read = 0
        self._stop_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._is_head_too_large():
            self._refuse_head()
        elif len(self.pipeline) >= MAX_WAITING:
            # uvicorn stops reading as soon as one waits, but a single piece may hold thousands.
            self._send_away(400, "invalid", f"At most {MAX_WAITING} requests may wait for an earlier one's answer")
        if self._stage == _GONE:
            return
        self._stage = _BODY
        self._stop_timer()
        self._ignored = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._stage == _GONE:
            return
        super().on_body(body)
        if self.cycle.response_complete:
            self._ignored += len(body)
            if self._ignored > MAX_IGNORED:
                self._linger()

    def on_message_complete(self) -> None:
        if self._stage == _GONE:
            return
        self._stage = _IDLE
        self._stop_timer()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is a websocket, or no connection at all."""
        if self._stage == _GONE:
            return
        if self._is_answering() or self.flow.write_paused:
            self._send_away(400, "invalid", "A websocket can't begin before the requests in front of it are answered")
            return
        self._stage = _GONE
        self._leave()
        upgrade = sys.exception()
        super().handle_websocket_upgrade()
        # What came with the handshake belongs to the websocket, where there is one; uvicorn would throw it away.
        handshake = self.transport.get_protocol()
        if isinstance(upgrade, httptools.HttpParserUpgrade) and getattr(handshake, "successor", None) is not None:
            rest = self._parsed[upgrade.args[0] :]
            if rest:
                cast("asyncio.Protocol", handshake).data_received(rest)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request."""
        if self._stage != _GONE:
            self._send_away(400, "invalid", msg)

    # Ends

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _is_answering(self) -> bool:
        """Whether an answer is under way; only then may other requests wait for theirs."""
        return self._answered is not None and not self._answered.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        cycle.transport = cast("asyncio.Transport", self._door)
        super()._start_asgi_task(cycle, app)

    def _is_head_too_large(self) -> bool:
        # The piece in which it began may hold other requests too: only a sum tells.
        if self._first + self._read <= MAX_HEAD:
            return False
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD

    def _refuse_head(self) -> None:
        self._send_away(431, "too_large", f"A request's header section is at most {MAX_HEAD:,} bytes")

    def _late(self) -> None:
        """The client took too long. One that sent nothing is not answered: it asked for nothing."""
        self._timer = None
        if self._stage == _IDLE:
            self.transport.close()
        else:
            self._send_away(408, "invalid", "The request was not whole in time")

    def _send_away(self, status: int, code: ErrorCode, detail: str) -> None:
        """Answers, where no other answer is on its way, and closes."""
        if self._answered is None or self._answered.response_complete or not self._answered.response_started:
            self.transport.write(_response(status, PlauditError(code, detail)))
        self._linger()

    def _close(self) -> None:
        """The last answer is written. Its client may still be sending the body, and reads when it has done so."""
        if self._stage == _BODY:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Says nothing more and reads nothing more, but throws away what comes: a reset would take the answer along."""
        self._stage = _GONE
        self._stop_timer()
        self._give_up()
        if not self.transport.is_closing():
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.flow.resume_reading()
            self._timer = self.loop.call_later(LINGER, self.transport.abort)

    def _give_up(self) -> None:
        """Whoever works on a request finds its client gone; those that wait are not begun."""
        self.pipeline.clear()
        cycle = self._answered
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _see_out(self) -> None:
        # A transport that closes sends what it holds first, however long nobody reads it.
        if self.transport.is_closing():
            self._expect_reading()

    def _expect_reading(self) -> None:
        if self._impatience is None and (left_over := self.transport.get_write_buffer_size()):
            self._left_over = left_over
            self._impatience = self.loop.call_later(READ_WITHIN, self._judge_reading)

    def _judge_reading(self) -> None:
        self._impatience = None
        if self.transport.get_write_buffer_size() < self._left_over:
            self._expect_reading()
        else:
            self.transport.abort()

    def _leave(self) -> None:
        self._stop_timer()
        self._stop_impatience()
        if self._counted:
            self._counted = False
            self.house.leave(self._address)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_impatience(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None


def _response(status: int, error: PlauditError) -> bytes:
    body = problem_body(error, status)
    headers = {
        **HEADERS_OF_ALL,
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "connection": "close",
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = "5"
    return as_bytes(status, headers, body)
