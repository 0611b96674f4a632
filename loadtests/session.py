"""One websocket client that stays connected: made by one greenlet, used by another."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final

import gevent
from gevent.event import Event

from channels.backoff import full_jitter
from channels.codec import Codec
from channels.protocol import CastVote, ClientMessage, Ping, Retract
from loadtests.ballots import Ballot
from loadtests.checks import PATIENCE, CheckFailed, Watch
from loadtests.connection import Connection
from loadtests.conversation import WS, Conversation, OnAnswer
from loadtests.report import Beacon, Report

_SWEEP: Final = 1.0
"""Seconds between two looks at what is missing."""


class Session:
    """A client and its connections, one after the other. `run` keeps it connected until its greenlet is killed.

    With a `token` it is an agent's, else a viewer's of `tenant`.
    """

    def __init__(
        self,
        url: str,
        codec: Codec,
        report: Report,
        beacon: Beacon,
        *,
        token: str | None = None,
        tenant: str | None = None,
        watches: Sequence[Watch] = (),
        on_answer: OnAnswer = lambda pending, answer, now: None,
    ) -> None:
        self._url = url
        self._codec = codec
        self._report = report
        self._token = token
        self._tenant = tenant
        self._connection: Connection | None = None
        self._cut = False
        self._ready = Event()
        self.conversation = Conversation(report, beacon, watches, on_answer)

    # What a user does

    def vote(self, ballot: Ballot, statuses: Sequence[str], codes: Sequence[str] = ()) -> None:
        """Sends a vote that is to end in one of these statuses or errors. Waits for a connection, not for an answer."""
        self._submit(ballot.message(self.conversation.next_id()), statuses, codes)

    def retract(self, ballot: Ballot) -> None:
        """Takes a ballot back that stands, in the same manner."""
        self._submit(Retract(self.conversation.next_id(), ballot.board.slug, ballot.item), ["retracted"])

    def ping(self) -> None:
        """Asks for a sign of life, in the same manner."""
        self._submit(Ping(self.conversation.next_id()))

    def cut(self) -> None:
        """Cuts the connection off; `run` connects again at once."""
        if self._connection is not None and self._ready.is_set():
            self._cut = True
            self.conversation.lost(time.perf_counter())
            self._connection.abort()

    def close(self) -> None:
        """Closes the connection, for good if `run` has been ended."""
        self._ready.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _submit(
        self, message: CastVote | Retract | Ping, statuses: Sequence[str] = (), codes: Sequence[str] = ()
    ) -> None:
        while self._connection is None or not self._ready.is_set():
            self._ready.wait()
        self.conversation.expect(message, time.perf_counter(), statuses, codes)
        self._send(self._connection, [message])

    @staticmethod
    def _send(connection: Connection, messages: Sequence[ClientMessage]) -> None:
        try:
            connection.send(messages)
        except OSError:
            # Whoever reads hears of it too, and sends what is unanswered on the next connection.
            connection.abort()

    # Connections

    def run(self) -> None:
        """Connects, and connects again."""
        attempt = 0
        while True:
            started = time.perf_counter()
            try:
                connection = self._open(started)
            except (OSError, CheckFailed) as error:
                self._report.failed(WS, "connect", error, time.perf_counter() - started)
                self.conversation.end(time.perf_counter())
                self.close()
                attempt += 1
                gevent.sleep(full_jitter(attempt, random.random))
                continue
            attempt = 0
            try:
                self._read(connection)
            except (OSError, CheckFailed) as error:
                if not self._cut:
                    self._report.failed(WS, "connection", error)
            self.conversation.end(time.perf_counter())
            self.close()
            # A herd comes back all at once; anybody else as the contract asks.
            if not self._cut:
                gevent.sleep(full_jitter(0, random.random))

    def _open(self, started: float) -> Connection:
        """Connects, says hello, and asks for whatever is open."""
        self._cut = False
        self._connection = connection = Connection.open(self._url, self._codec)
        connection.send([self.conversation.hello(self._token, self._tenant, started)])
        welcome = False
        while not welcome:
            if time.perf_counter() - started > PATIENCE:
                raise CheckFailed(f"no welcome within {PATIENCE:g} seconds")
            for message in connection.receive():
                welcome = self.conversation.welcomed(message, agent=self._token is not None)
        now = time.perf_counter()
        self._report.timed(WS, "connect", now - started)
        connection.send(self.conversation.begin(now))
        self._ready.set()
        return connection

    def _read(self, connection: Connection) -> None:
        swept = time.perf_counter()
        while True:
            before = connection.received
            messages = connection.receive()
            size = (connection.received - before) // max(1, len(messages))
            now = time.perf_counter()
            for message in messages:
                answers = self.conversation.take(message, now, size)
                if answers:
                    self._send(connection, answers)
            if now - swept > _SWEEP:
                swept = now
                self.conversation.sweep(now)
