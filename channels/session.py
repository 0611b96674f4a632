"""What one websocket connection may do: the contract's rules about order and pace. Pure: the clock is an argument."""

from __future__ import annotations

from typing import Final

from channels.codec import Invalid
from channels.errors import FLOODING, NOT_PROTOCOL, PlauditError
from channels.protocol import DEFAULT_TOP, CastVote, ClientMessage, Hello, Retract, Subscribe
from storage.types import AroundView, ItemsView, TopView, ViewSpec

MAX_SUBSCRIPTIONS: Final = 100
"""Views that one connection may watch at a time."""

ODD_FRAMES: Final = 1000
"""Control frames and fragments that a connection may send in a second however few messages it may send."""

MAX_ROWS: Final = 10_000
"""Rows that those views may have together: every one is read, compared and sent at each tick."""


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

    __slots__ = (
        "_allowance",
        "_as_of",
        "_held",
        "_numbers",
        "_rate",
        "greeted",
        "may_vote",
        "rows",
        "views",
    )

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._allowance = rate
        self._as_of = now
        self._held = 0.0
        self._numbers = 0
        self.greeted = False
        self.may_vote = False
        self.views = 0
        """That it watches."""
        self.rows = 0
        """In these views, at most."""

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
        elif isinstance(message, Subscribe):
            self._check_measure(view_of(message))

    def _check_measure(self, view: ViewSpec) -> None:
        """What a connection watches costs the server at every tick."""
        if self.views >= MAX_SUBSCRIPTIONS:
            raise PlauditError("invalid", f"A connection may watch {MAX_SUBSCRIPTIONS} views at a time")
        if self.rows + view.rows > MAX_ROWS:
            raise PlauditError("invalid", f"A connection may watch {MAX_ROWS:,} rows at a time, over all its views")

    def watch(self, view: ViewSpec) -> None:
        """Counts a view that the connection watches from now on."""
        self.views += 1
        self.rows += view.rows

    def unwatch(self, view: ViewSpec) -> None:
        """Counts it no more."""
        self.views -= 1
        self.rows -= view.rows

    def next_number(self) -> int:
        """A number for a new subscription, never used before on this connection."""
        self._numbers += 1
        return self._numbers

    @property
    def most_waiting(self) -> int:
        """Messages that may wait behind one that takes its time: more than it may send, but not without end."""
        return int(4 * self._rate) + 10_000

    def held(self, seconds: float) -> None:
        """Notes that nothing was read for so long: what was sent meanwhile comes at once, and is no flood."""
        self._held += seconds * self._rate

    def weigh(self, frames: int, now: float) -> None:
        """Counts at `now` what is no message: control frames, fragments, and what unpacking costs. Raises Expelled.

        It counts like messages, but a second's worth of messages is never less than ODD_FRAMES of these.
        """
        self._spend(frames * min(1.0, self._rate / ODD_FRAMES), now)

    def _pace(self, now: float) -> None:
        self._spend(1, now)
        if self._allowance < 0:
            raise PlauditError("too_fast", f"At most {self._rate:g} messages a second", 1000)

    def _spend(self, messages: float, now: float) -> None:
        allowance = self._allowance + (now - self._as_of) * self._rate
        self._as_of = now
        if allowance <= self._rate:
            self._held = 0.0
        self._allowance = min(self._rate + self._held, allowance) - messages
        if self._allowance < -self._rate:
            raise Expelled(FLOODING, "far more messages than a connection may send")


def view_of(message: Subscribe) -> ViewSpec:
    """The view that a subscription asks for."""
    if message.items is not None:
        return ItemsView(tuple(sorted(set(message.items))))
    if message.around is not None:
        return AroundView(message.around, message.span)
    return TopView(message.top or DEFAULT_TOP)
