"""All that one websocket client has said and heard, over all its connections, and whether it is right.

No I/O and no clock: `now` is in seconds, of a clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from channels.protocol import (
    Ack,
    Bye,
    CastVote,
    ClientMessage,
    Delta,
    Error,
    Hello,
    Ping,
    Pong,
    Resumed,
    Retract,
    ServerMessage,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from loadtests.checks import PATIENCE, Answers, CheckFailed, Pending, Watch, ballots_of, check_ack, check_error
from loadtests.report import Beacon, Report

WS: Final = "WS"
"""What Locust shows as the method of all that goes over websockets."""

OnAnswer = Callable[[Pending, Ack | Error, float], None]


class Conversation:
    """One client's messages. Failed checks go to the report; those after which nothing holds are raised too.

    `on_answer` hears of every answer to a vote or a retraction, right or wrong, and when it came.
    """

    def __init__(
        self,
        report: Report,
        beacon: Beacon,
        watches: Sequence[Watch],
        on_answer: OnAnswer = lambda pending, answer, now: None,
    ) -> None:
        self._report = report
        self._beacon = beacon
        self._watches = watches
        self._on_answer = on_answer
        self._answers = Answers()
        self._asked: dict[int, tuple[Watch, float]] = {}
        self._subs: dict[int, Watch] = {}
        self._left: set[int] = set()
        self._unseen: dict[tuple[Watch, str], tuple[int, float]] = {}
        self._seq = 0
        self._lost_at: float | None = None

    @property
    def waiting(self) -> int:
        """Messages that were not answered yet."""
        return self._answers.waiting

    # Out

    def next_id(self) -> int:
        """An id for a message."""
        return self._answers.next_id()

    def expect(
        self, message: ClientMessage, now: float, statuses: Sequence[str] = (), codes: Sequence[str] = ()
    ) -> None:
        """Notes a message that is about to be sent, and which acks or errors are right answers to it."""
        self._answers.expect(Pending(message, now, frozenset(statuses), frozenset(codes), self._seq))

    def expect_shown(self, board: str, item: str, ballots: int, now: float) -> None:
        """A vote was acknowledged that made an item have so many ballots: whoever watches it is to see them."""
        for watch in self._watches:
            if watch.board == board and watch.window == "all" and watch.view and item in watch.view.rows:
                self._unseen[watch, item] = ballots, now

    def hello(self, token: str | None, tenant: str | None, now: float) -> Hello:
        """The first message of a connection."""
        message = Hello(self.next_id(), token, tenant)
        self.expect(message, now)
        return message

    def begin(self, now: float) -> list[ClientMessage]:
        """What a connection begins with after its welcome: votes without an answer, and every watched view."""
        return [*self._answers.again(now), *(self._subscribe(watch, now) for watch in self._watches)]

    def look_in(self, watch: Watch, sub: int, now: float) -> list[ClientMessage]:
        """Subscribes and leaves at once, `sub` being the number that the server is expected to give."""
        subscribe = self._subscribe(watch, now)
        leave = Unsubscribe(self.next_id(), sub)
        self.expect(leave, now)
        return [subscribe, leave]

    def lost(self, now: float) -> None:
        """From now on the client is behind, until all its views are there again."""
        if self._lost_at is None:
            self._lost_at = now

    def end(self, now: float) -> None:
        """The connection is gone, and with it all that it had subscribed to."""
        self.lost(now)
        self._asked.clear()
        self._subs.clear()
        self._left.clear()

    def _subscribe(self, watch: Watch, now: float) -> Subscribe:
        message = watch.subscribe(self.next_id())
        self.expect(message, now)
        self._asked[int(message.id)] = watch, now
        return message

    # In

    def welcomed(self, message: ServerMessage, *, agent: bool) -> bool:
        """Takes a message that comes before the welcome, or is it. Raises CheckFailed."""
        if isinstance(message, Bye):
            return False  # the close frame that follows says the same
        if not isinstance(message, Welcome) or (message.agent_id is not None) is not agent:
            raise CheckFailed("a hello without its welcome", str(message))
        self._answers.take(message.id)
        return True

    def take(self, message: ServerMessage, now: float, size: int) -> list[ClientMessage]:
        """Takes a message of so many bytes; answers what is to be sent because of it.

        Raises CheckFailed where the connection is no use any more.
        """
        match message:
            case Ack() | Pong() | Error(id=int() | str()):
                self._answered(message, now, size)
            case Snapshot(id=None):
                self._replaced(message, size)
            case Snapshot() | Resumed():
                self._subscribed(message, now, size)
            case Delta():
                return self._changed(message, now, size)
            case Error():
                raise CheckFailed(f"an error about no message: {message.code}", message.message)
            case Welcome():
                raise CheckFailed("a second welcome")
            case Bye():
                pass  # the close frame that follows says the same
        return []

    def sweep(self, now: float) -> None:
        """Reports what has been missing for too long."""
        for pending in self._answers.overdue(now):
            name = type(pending.message).__name__
            error = CheckFailed(f"no answer within {PATIENCE:g} seconds", str(pending.message))
            self._report.failed(WS, f"answer to {name}", error, now - pending.sent)
        for (watch, item), (ballots, acked) in list(self._unseen.items()):
            row = watch.view.rows.get(item) if watch.view else None
            late = now - acked > PATIENCE
            if watch.view and (row is None or ballots_of(row) >= ballots or late):
                del self._unseen[watch, item]
                if row is not None and ballots_of(row) < ballots:
                    error = CheckFailed(f"an acknowledged vote not shown within {PATIENCE:g} seconds", str(row))
                    self._report.failed(WS, "delta", error)

    def _answered(self, answer: Ack | Error | Pong, now: float, size: int) -> None:
        try:
            pending = self._answers.take(answer.id)
        except CheckFailed as error:
            self._report.failed(WS, "answer", error)
            return
        if pending is None:
            return  # reported as missing before it came
        seconds = now - pending.sent
        match pending.message, answer:
            case (CastVote() | Retract(), Ack() | Error()):
                self._voted(pending, answer, now, size)
            case Unsubscribe(sub=sub), Ack():
                self._left.discard(sub)
            case Ping(), Pong():
                self._report.timed(WS, "ping", seconds, size)
            case message, _:
                self._asked.pop(int(message.id), None)
                what = answer.code if isinstance(answer, Error) else "a message of another kind"
                wrong = CheckFailed(f"answered by {what}", str(answer))
                self._report.failed(WS, f"answer to {type(message).__name__}", wrong, seconds)

    def _voted(self, pending: Pending, answer: Ack | Error, now: float, size: int) -> None:
        name = "vote ack" if isinstance(pending.message, CastVote) else "retraction ack"
        try:
            if isinstance(answer, Ack):
                check_ack(answer, pending)
                self._seq = max(self._seq, answer.seq or 0)
            else:
                check_error(answer, pending)
            self._report.timed(WS, name, now - pending.sent, size)
        except CheckFailed as error:
            self._report.failed(WS, name, error, now - pending.sent)
        self._on_answer(pending, answer, now)

    def _subscribed(self, message: Snapshot | Resumed, now: float, size: int) -> None:
        self._answers.take(message.id)
        watch, asked = self._asked.pop(int(message.id or 0), (None, 0.0))
        if watch is None:
            raise CheckFailed("a view that was not asked for", f"id {message.id}")
        self._subs[message.sub] = watch
        if isinstance(message, Snapshot):
            watch.snapshot(message)
        else:
            watch.resumed(message)
        if self._lost_at is None:
            self._report.timed(WS, "subscribe", now - asked, size)
        elif not self._asked:
            self._report.timed(WS, "catch-up after reconnect", now - self._lost_at, size)
            self._lost_at = None

    def _replaced(self, message: Snapshot, size: int) -> None:
        """A snapshot in place of deltas: the client had fallen too far behind, or live state was rebuilt."""
        if message.sub in self._left:
            return
        if message.sub not in self._subs:
            raise CheckFailed("a snapshot of no subscription", f"sub {message.sub}")
        self._subs[message.sub].snapshot(message)
        self._report.counted(WS, "snapshot in place of deltas", size)

    def _changed(self, message: Delta, now: float, size: int) -> list[ClientMessage]:
        if message.sub in self._left:
            return []
        watch = self._subs.get(message.sub)
        if watch is None:
            raise CheckFailed("a delta of no subscription", f"sub {message.sub}")
        try:
            rises = watch.delta(message)
        except CheckFailed as error:
            self._report.failed(WS, "delta", error)
            return self._subscribe_anew(message.sub, watch, now)
        self._report.counted(WS, "delta", size)
        if watch.window == "all" and (sent := self._beacon.oldest(watch.board, rises)) is not None:
            self._report.timed(WS, "delta age", now - sent, size)
        return []

    def _subscribe_anew(self, sub: int, watch: Watch, now: float) -> list[ClientMessage]:
        """What a client does that has diverged. Should the snapshot be wrong too, that is raised."""
        del self._subs[sub]
        self._left.add(sub)
        leave = Unsubscribe(self.next_id(), sub)
        self.expect(leave, now)
        return [leave, self._subscribe(watch, now)]
