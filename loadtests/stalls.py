"""A viewer that stops reading, for a while or for good."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import gevent
from locust import task
from websockets.frames import CloseCode

from channels.errors import NOT_READING
from channels.protocol import ClientMessage, Ping
from loadtests.attack import Attacker
from loadtests.checks import PATIENCE, CheckFailed, Watch
from loadtests.connection import Connection, ConnectionEnded
from loadtests.conversation import Conversation
from loadtests.report import Beacon, FailuresOnly
from loadtests.users import MAX_ROWS, fitting, views_of

_NARROW: Final = 4096
"""Bytes that the client's own buffer takes."""

_FILL: Final = 6_000_000
"""Bytes that are asked for and not read: more than the kernel takes from the server (4 MiB on Linux)."""

_ENTRY: Final = 100
"""Bytes of an item in a snapshot, at least about so many."""

_SHORT: Final = (3.0, 6.0, 12.0)
_LONG: Final = 45.0
"""Seconds without reading. The server has to bear the short ones; 30 are too long, and it may take some to notice."""


class StalledViewer(Attacker):
    """Asks for far more than it reads. When it reads on it has to be up to date; after too long it is thrown out."""

    @task
    def stop_reading(self) -> None:
        """For longer and longer, each time on a new connection."""
        for seconds in _SHORT:
            self.attack("stop reading, then catch up", partial(self._pause, seconds))
        self.attack("stop reading for good", self._stall)

    def _pause(self, seconds: float) -> float:
        connection, conversation = self._ask()
        try:
            gevent.sleep(seconds)
            woken = time.perf_counter()
            self._catch_up(connection, conversation)
            return time.perf_counter() - woken
        finally:
            connection.close()

    def _stall(self) -> None:
        connection, _ = self._ask()
        try:
            gevent.sleep(_LONG)
            deadline = time.perf_counter() + PATIENCE
            while time.perf_counter() < deadline:
                connection.receive()
                gevent.sleep(0)
        except ConnectionEnded as end:
            # Its last words may be lost with all that was never read.
            if end.code not in {NOT_READING, CloseCode.ABNORMAL_CLOSURE}:
                raise CheckFailed(f"a client that stopped reading ended with {end.code}") from end
        else:
            raise CheckFailed("a client that stopped reading was not thrown out")
        finally:
            connection.close()

    def _ask(self) -> tuple[Connection, Conversation]:
        """A connection that watches a board in many ways, and has asked for much more and read nothing."""
        stage = self.stage
        board = stage.boards()[0]
        whole = max(1, min(1000, len(board.items)))
        watches = fitting(views_of(board, stage.options.top), MAX_ROWS - whole)
        # Its times would say how long it slept: only its failures count.
        conversation = Conversation(FailuresOnly(self.fire), Beacon(), watches)
        connection = Connection.open(stage.options.host, stage.codec(), receive_buffer=_NARROW)
        try:
            now = time.perf_counter()
            connection.send([conversation.hello(None, stage.options.tenant or None, now)])
            welcome = False
            while not welcome:
                welcome = any(conversation.welcomed(message, agent=False) for message in connection.receive())
            times = min(2000, _FILL // (_ENTRY * whole))
            messages: list[ClientMessage] = conversation.begin(now)
            for sub in range(len(watches) + 1, len(watches) + 1 + times):
                messages += conversation.look_in(Watch(board.slug, top=whole), sub, now)
            connection.send(messages)
        except BaseException:
            connection.close()
            raise
        return connection, conversation

    def _catch_up(self, connection: Connection, conversation: Conversation) -> None:
        """Reads until every question is answered; each delta on the way has to fit."""
        now = time.perf_counter()
        ping = Ping(conversation.next_id())
        conversation.expect(ping, now)
        connection.send([ping])
        connection.widen()
        while conversation.waiting and time.perf_counter() - now < PATIENCE:
            for message in connection.receive():
                connection.send(conversation.take(message, time.perf_counter(), 0))
            # There is much to read, and others share the process.
            gevent.sleep(0)
        if conversation.waiting:
            raise CheckFailed(f"not caught up within {PATIENCE:g} seconds", f"{conversation.waiting} unanswered")
