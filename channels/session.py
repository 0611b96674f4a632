"""What one websocket connection may do: the contract's rules about order and pace. Pure: the clock is an argument."""

from __future__ import annotations

from typing import Final

from channels.codec import Invalid
from channels.errors import FLOODING, NOT_PROTOCOL, PlauditError
from channels.protocol import CastVote, ClientMessage, Hello, Retract, Subscribe

MAX_SUBSCRIPTIONS: Final = 100
"""Views that one connection may watch at a time."""


class Expelled(Exception):
    """The connection has to be closed with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Session:
    """The rules of one connection.

    `rate` is the messages a second that it may send; a second's worth may come at once. Whoever has a
    second's worth refused on top of that is flooding.
    """

    __slots__ = ("_allowance", "_as_of", "_numbers", "_rate", "greeted", "may_vote", "subscriptions")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._allowance = rate
        self._as_of = now
        self._numbers = 0
        self.greeted = False
        self.may_vote = False
        self.subscriptions = 0

    def admit(self, message: ClientMessage | Invalid, now: float) -> None:
        """Lets a message pass at `now` (seconds, of a clock that never goes back).

        Raises PlauditError for one that is to be answered by an error, Expelled for one that ends the
        connection.
        """
        self._pace(now)
        if isinstance(message, Hello):
            if self.greeted:
                raise PlauditError("invalid", "hello has been said already")
            return
        if isinstance(message, Invalid):
            if not self.greeted and message.type != "hello":
                raise Expelled(NOT_PROTOCOL, "hello must be the first message")
            raise PlauditError(message.code, message.message)
        if not self.greeted:
            raise Expelled(NOT_PROTOCOL, "hello must be the first message")
        if isinstance(message, CastVote | Retract):
            if not self.may_vote:
                raise PlauditError("unauthorized", "A viewer may not vote: say hello with an agent's key")
        elif isinstance(message, Subscribe) and self.subscriptions >= MAX_SUBSCRIPTIONS:
            raise PlauditError("invalid", f"A connection may watch {MAX_SUBSCRIPTIONS} views at a time")

    def next_number(self) -> int:
        """A number for a new subscription, never used before on this connection."""
        self._numbers += 1
        return self._numbers

    def _pace(self, now: float) -> None:
        allowance = self._allowance + (now - self._as_of) * self._rate
        self._as_of = now
        self._allowance = (min(self._rate, allowance)) - 1
        if self._allowance < 0:
            if self._allowance < -self._rate:
                raise Expelled(FLOODING, "far more messages than a connection may send")
            raise PlauditError("too_fast", f"At most {self._rate:g} messages a second", 1000)
