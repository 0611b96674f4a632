"""uvicorn's HTTP protocol, but for requests whose head was understood before: those are answered at once.

Only a request that arrives whole, in one piece, between others, may take the short way. It is the same bytes to
the same connection: what the parser made of them the first time holds.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.answers import HttpReply
from app.express import LONGEST, Express, Lane

_END: Final = b"\r\n\r\n"
_HELD: Final = 64 * 1024


class Shortcut(HttpToolsProtocol):
    """`express` knows what heads mean."""

    express: Express

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._between = True  # requests
        self._requests = 0  # that began in the piece which is being read
        self._head: bytes | None = None  # of a request that came whole and may be learned from
        self._body_length = 0
        self._lane: Lane | None = None  # of the request that is being answered
        self._held = b""  # what came after it
        self._parsed = b""  # what uvicorn's parser is given now
        self._answered_at = 0.0
        self._ending = False

    def data_received(self, data: bytes) -> None:
        """Takes the short way, or the long one."""
        if self._lane is not None or self._held:
            self._hold(data)
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        self._head = None
        if self._is_free() and self._is_answered(data):
            return
        self._requests = 0
        self._parsed = data
        super().data_received(data)
        self._parsed = b""

    def _is_free(self) -> bool:
        """Whether all that came before is answered, and the client takes its answers."""
        cycle: RequestResponseCycle | None = self.cycle
        return self._between and not self.flow.write_paused and (cycle is None or cycle.response_complete)

    def _is_answered(self, data: bytes) -> bool:
        end = data.find(_END) + len(_END)
        # The parser passes over empty lines before a request: what ends at the first one is no head then.
        if not len(_END) <= end <= LONGEST or data[0] in b"\r\n":
            return False
        head = data[:end]
        length = len(data) - end
        lane = self.express.find(head)
        if lane is None:
            self._head, self._body_length = head, length
            return False
        if lane.length != length:
            return False
        self._lane = lane
        if lane.plan(data[end:], self._respond):
            self.on_shortcut()
            return True
        self._lane = None
        return False

    def on_shortcut(self) -> None:
        """A request has taken the short way."""

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD:
            self.flow.pause_reading()

    def _respond(self, reply: HttpReply) -> None:
        lane, self._lane = self._lane, None
        if lane is None or self.transport.is_closing():
            return
        date = {name.decode(): value.decode() for name, value in self.server_state.default_headers}
        self.transport.write(self.express.complete(reply, lane, date))
        if self._ending:
            self.transport.close()
            return
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_for_more(self.timeout_keep_alive)
        if self._held:
            # Not from in here: whoever answers, answers others too, and what a stranger sent must not hurt them.
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        held, self._held = self._held, b""
        if not held or self.transport.is_closing():
            return
        self.flow.resume_reading()
        try:
            self.data_received(held)
        except Exception:
            self.transport.abort()
            raise

    # What the parser and uvicorn tell

    def on_message_begin(self) -> None:
        self._between = False
        self._requests += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Learns from a request that came whole and had been alone."""
        head, self._head = self._head, None
        if head is not None and self._between and self._requests == 1 and self.cycle.keep_alive:
            self.express.learn(head, self._body_length, self.cycle.scope)
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that was idle for too long: the short way does not wind the clock for each request."""
        idle = self.loop.time() - self._answered_at
        if self._lane is not None:
            self._wait_for_more(self.timeout_keep_alive)
        elif idle < self.timeout_keep_alive:
            self._wait_for_more(self.timeout_keep_alive - idle)
        else:
            super().timeout_keep_alive_handler()

    def _wait_for_more(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for an answer any more."""
        self._lane = None
        self._held = b""
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Ends the connection once what was asked is answered."""
        if self._lane is None:
            super().shutdown()
        else:
            self._ending = True
