"""What all attackers have in common. What they get must be the contract's answer, and nobody else may notice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from channels.codec import Codec
from channels.protocol import Hello, ServerMessage, Welcome
from loadtests.checks import PATIENCE, CheckFailed
from loadtests.connection import Connection
from loadtests.users import Visitor

ATTACK: Final = "ATTACK"
"""What Locust shows as the method of attacks."""


def greeted(url: str, codec: Codec, token: str | None, *, receive_buffer: int | None = None) -> Connection:
    """A connection that was welcomed. Raises OSError, CheckFailed."""
    connection = Connection.open(url, codec, receive_buffer=receive_buffer)
    try:
        connection.send([Hello(0, token)])
        answer = answer_to(0, connection)
    except BaseException:
        connection.close()
        raise
    if not isinstance(answer, Welcome):
        connection.close()
        raise CheckFailed("a hello without its welcome", str(answer))
    return connection


def answer_to(message_id: int, connection: Connection) -> ServerMessage:
    """The next message, which has to be the answer to this id. Raises ConnectionEnded, CheckFailed."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        for message in connection.receive():
            if getattr(message, "id", None) != message_id:
                raise CheckFailed("an answer to something else", str(message))
            return message
    raise CheckFailed(f"no answer within {PATIENCE:g} seconds")


class Attacker(Visitor):
    """Attacks again and again, each time on connections of its own."""

    abstract = True
    weight = 1

    def wait_time(self) -> float:
        """The time between two attacks."""
        return 2.0

    def attack(self, name: str, act: Callable[[], float | None]) -> None:
        """Does it. Whatever it raises is a failure: an attack that ends as it should raises nothing.

        Its time is that of all of it, unless it answers the seconds that matter.
        """
        started = time.perf_counter()
        try:
            seconds = act()
        except (OSError, CheckFailed) as error:
            self.report.failed(ATTACK, name, error, time.perf_counter() - started)
        else:
            self.report.timed(ATTACK, name, time.perf_counter() - started if seconds is None else seconds)
