"""Clients that send too much, send garbage, or stop reading."""

from __future__ import annotations

import contextlib
import time
from typing import Final

import gevent
from locust import task
from websockets.frames import CloseCode

from channels.errors import FLOODING
from channels.protocol import Ack, ClientMessage, Error, Ping, Pong
from loadtests.attack import Attacker, answer_to, greeted
from loadtests.checks import PATIENCE, CheckFailed
from loadtests.connection import Connection, ConnectionEnded
from loadtests.garbage import GARBAGE, BadMessage, Garbage, bad_messages

_PIECE: Final = 500
"""Messages of a flood that are sent at a time."""


class Flooder(Attacker):
    """Sends far more than a connection may, pings or one vote over and over: it is refused, then thrown out."""

    needs_key = True

    @task
    def flood(self) -> None:
        """Sends it all as fast as it goes."""
        self.attack("flood", self._flood)

    def _flood(self) -> None:
        stage = self.stage
        connection = greeted(stage.options.host, stage.codec(), stage.agent().key)
        sender = gevent.spawn(self._send, connection, votes=stage.random.random() < 0.5)
        try:
            refused, code = _tally(connection, stage.options.flood)
        finally:
            connection.close()
            sender.join()
        # Whoever is thrown out while it still sends may lose the last words.
        if code not in {None, FLOODING} and not (code == CloseCode.ABNORMAL_CLOSURE and refused):
            raise CheckFailed(f"a flood ended with {code}")
        if not refused:
            raise CheckFailed("a flood that was not refused")

    def _send(self, connection: Connection, *, votes: bool) -> None:
        """All of it, until the connection ends."""
        stage = self.stage
        ballot = stage.playground().ballot(stage.playground().items[0], stage.random)
        with contextlib.suppress(OSError):
            for start in range(1, stage.options.flood + 1, _PIECE):
                ids = range(start, min(start + _PIECE, stage.options.flood + 1))
                messages: list[ClientMessage] = [ballot.message(n) if votes else Ping(n) for n in ids]
                connection.send(messages)


def _tally(connection: Connection, total: int) -> tuple[int, int | None]:
    """How many messages were refused, and how the connection ended; None where it outlived them all."""
    answered: set[int] = set()
    refused = 0
    last = time.perf_counter()
    while len(answered) < total:
        try:
            messages = connection.receive()
        except ConnectionEnded as end:
            return refused, end.code
        if messages:
            last = time.perf_counter()
        elif time.perf_counter() - last > PATIENCE:
            raise CheckFailed(f"no answer within {PATIENCE:g} seconds", f"{len(answered)} of {total} answered")
        for message in messages:
            if not isinstance(message, Pong | Ack | Error) or not isinstance(message.id, int):
                continue
            if message.id in answered:
                raise CheckFailed("a second answer to one message", str(message))
            answered.add(message.id)
            if isinstance(message, Error):
                if message.code not in {"too_fast", "overloaded"}:
                    raise CheckFailed(f"a flood refused as {message.code}")
                refused += 1
    return refused, None


class GarbageSender(Attacker):
    """Sends what no client should: it is thrown out with the right code, or gets an error and stays."""

    needs_key = True

    def on_start(self) -> None:
        """Begins with any piece of it."""
        self._next = self.stage.random.randrange(len(GARBAGE))

    def wait_time(self) -> float:
        """The time between two pieces."""
        return 0.2

    @task(3)
    def throw(self) -> None:
        """The next kind of garbage."""
        self._next = (self._next + 1) % len(GARBAGE)
        garbage = GARBAGE[self._next]
        self.attack(f"garbage: {garbage.name}", lambda: self._throw(garbage))

    def _throw(self, garbage: Garbage) -> None:
        stage = self.stage
        connection = Connection.open(stage.options.host, stage.codec())
        try:
            thrown = garbage.payload(connection.codec, stage.random)
            if garbage.framed:
                connection.send_payload(thrown)
            else:
                connection.send_bytes(thrown)
            code = _end_of(connection)
        finally:
            connection.close()
        if code != garbage.code:
            raise CheckFailed(f"garbage that ended with {code}, not {garbage.code}", garbage.name)

    @task(1)
    def be_wrong(self) -> None:
        """Messages of an agent that are understood, and wrong."""
        self.attack("bad messages", self._be_wrong)

    def _be_wrong(self) -> None:
        stage = self.stage
        playground = stage.playground()
        connection = greeted(stage.options.host, stage.codec(), stage.agent().key)
        try:
            for bad in bad_messages(playground.slug, playground.items[0]):
                self._say(connection, bad)
        finally:
            connection.close()

    def _say(self, connection: Connection, bad: BadMessage) -> None:
        connection.send_payload(connection.codec.encode(bad.message))
        answer = answer_to(1, connection)
        if not isinstance(answer, Error) or answer.code != bad.code:
            raise CheckFailed(f"{bad.name} did not get the error {bad.code}", str(answer))


def _end_of(connection: Connection) -> int:
    """The code that a connection ends with."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        try:
            connection.receive()
        except ConnectionEnded as end:
            return end.code
    raise CheckFailed(f"not thrown out within {PATIENCE:g} seconds")
