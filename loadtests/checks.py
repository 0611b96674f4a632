"""What a client may rely on, checked message by message. Pure: the clock is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import Final, NamedTuple

from channels.delta import apply
from channels.protocol import (
    DEFAULT_SPAN,
    Ack,
    CastVote,
    ClientMessage,
    Delta,
    Error,
    Resumed,
    Retract,
    Snapshot,
    Subscribe,
)
from channels.ranking import View, order_key, rank_rows
from channels.wire import change_of, view_of
from storage.types import Row, Window

PATIENCE: Final = 10.0
"""Seconds after which an answer, or an acknowledged vote on a screen, counts as missing."""


class CheckFailed(Exception):
    """The server broke its contract. `what` is one of a few sentences, so that failures can be counted by it."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.detail = detail


class Rise(NamedTuple):
    """An item whose ballots became more with a delta."""

    item: str
    before: int
    after: int


def ballots_of(row: Row) -> int:
    """Ballots that an item has."""
    return row.up + row.down


class Watch:
    """One view of a board, as a client keeps it. Whatever fails a check leaves it without a view."""

    def __init__(
        self,
        board: str,
        window: Window = "all",
        *,
        top: int | None = None,
        items: Sequence[str] | None = None,
        around: str | None = None,
    ) -> None:
        self.board = board
        self.window: Window = window
        self.view: View | None = None
        self._top = top
        self._items = items
        self._around = around

    @property
    def rows(self) -> int:
        """Rows that it asks for."""
        if self._top is not None:
            return self._top
        return 2 * DEFAULT_SPAN + 1 if self._items is None else len(self._items)

    def subscribe(self, message_id: int) -> Subscribe:
        """The message that starts the subscription, or resumes it where a view is held."""
        epoch, version = (None, None) if self.view is None else (self.view.epoch, self.view.version)
        items = None if self._items is None else list(self._items)
        return Subscribe(
            message_id, self.board, self.window, self._top, items, self._around, epoch=epoch, version=version
        )

    def snapshot(self, message: Snapshot) -> None:
        """Takes the whole view. Raises CheckFailed."""
        held, self.view = self.view, None
        if (message.board, message.window) != (self.board, self.window):
            raise CheckFailed("a snapshot of something else than was asked for", f"{message.board} {message.window}")
        # Nobody asked for this one: it goes on from what was sent before on the same connection.
        if message.id is None and held and held.epoch == message.epoch and message.version < held.version:
            raise CheckFailed("a version went back", f"{held.version}, then {message.version}")
        view = view_of(message, top=self._top is not None)
        if len(view.rows) != len(message.entries):
            raise CheckFailed("an item twice in one snapshot")
        if self._top is not None and list(view.rows.values()) != rank_rows(view.rows.values()):
            raise CheckFailed("a ranking out of order, or with wrong ranks", f"{message.board} {message.version}")
        self.view = self._sound(view, message)

    def resumed(self, message: Resumed) -> None:
        """Takes word that what is held stands. Raises CheckFailed."""
        held, self.view = self.view, None
        if held is None or (held.epoch, held.version) != (message.epoch, message.version):
            raise CheckFailed("resumed from a state that was not held", f"{message.epoch} {message.version}")
        self.view = held

    def delta(self, message: Delta) -> list[Rise]:
        """Takes a change; says whose ballots it made more. Raises CheckFailed."""
        held, self.view = self.view, None
        if held is None:
            raise CheckFailed("a delta before any snapshot")
        if message.prev != held.version:
            raise CheckFailed("a delta that does not start where the last one ended", f"{held.version}, {message.prev}")
        if message.version <= message.prev:
            raise CheckFailed("a version that did not rise", f"{message.prev}, then {message.version}")
        view = apply(change_of(message, held), held)
        for entry in message.entries:
            row = view.rows.get(entry.item)
            if row is None or row.rank != entry.rank:
                raise CheckFailed("a rank that does not follow from the scores", f"{entry}, here {row}")
        self.view = self._sound(view, message)
        return list(_rises(held, message))

    def _sound(self, view: View, message: Snapshot | Delta) -> View:
        """The view, where it is one that this subscription may show."""
        if view.digest != message.digest:
            raise CheckFailed("a digest that does not hold", f"{self.board} {view.version}: {message.digest}")
        for above, below in pairwise(view.rows.values()):
            in_order = order_key(above) < order_key(below)
            if not in_order or (above.rank == below.rank) is not (above.points == below.points):
                raise CheckFailed("a ranking out of order, or with wrong ranks", f"{above}, then {below}")
        if self._top is not None and len(view.rows) != min(self._top, view.total):
            raise CheckFailed("more or fewer entries than the view has", f"{len(view.rows)} of {view.total}")
        if self._items is not None and view.rows.keys() != set(self._items):
            raise CheckFailed("more or fewer entries than the view has", f"{list(view.rows)}")
        if self._around is not None and self._around not in view.rows:
            raise CheckFailed("a view around an item that is not in it", self._around)
        return view


def _rises(held: View, message: Delta) -> Iterator[Rise]:
    for entry in message.entries:
        before, after = held.rows.get(entry.item), entry.up_votes + entry.down_votes
        if before is not None and ballots_of(before) < after:
            yield Rise(entry.item, ballots_of(before), after)


class Pending(NamedTuple):
    """A message that waits for its answer.

    `statuses` and `codes` are the acks and errors that are right. `after_seq` is the highest seq that this agent
    had been told when it sent the message (at `sent`, in seconds).
    """

    message: ClientMessage
    sent: float
    statuses: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    after_seq: int = 0


# What a message that is sent again after a lost connection may get as well: the first one did count.
_REPEATED_VOTE: Final = frozenset({"unchanged"})
_REPEATED_RETRACTION: Final = frozenset({"no_ballot"})


class Answers:
    """Every message of one client is answered exactly once, and rightly."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._last = 0
        self._waiting: dict[int, Pending] = {}
        self._given_up: set[int] = set()

    @property
    def waiting(self) -> int:
        """Messages that were not answered yet."""
        return len(self._waiting)

    def next_id(self) -> int:
        """An id that was never used before."""
        self._last = next(self._ids)
        return self._last

    def expect(self, pending: Pending) -> None:
        """Notes a message that is about to be sent."""
        self._waiting[int(pending.message.id)] = pending

    def take(self, message_id: str | int | None) -> Pending | None:
        """What was answered; None where the answer had been given up. Raises CheckFailed for one too many."""
        if not isinstance(message_id, int) or not 0 < message_id <= self._last:
            raise CheckFailed("an answer to a message that was never sent", f"id {message_id}")
        pending = self._waiting.pop(message_id, None)
        if pending is None and message_id not in self._given_up:
            raise CheckFailed("a second answer to one message", f"id {message_id}")
        self._given_up.discard(message_id)
        return pending

    def again(self, now: float) -> list[ClientMessage]:
        """What has to be sent again on a new connection: votes and retractions; the rest is forgotten."""
        kept = {}
        for message_id, pending in self._waiting.items():
            if isinstance(pending.message, CastVote):
                kept[message_id] = pending._replace(sent=now, statuses=pending.statuses | _REPEATED_VOTE)
            elif isinstance(pending.message, Retract):
                kept[message_id] = pending._replace(sent=now, codes=pending.codes | _REPEATED_RETRACTION)
        self._waiting = kept
        self._given_up.clear()
        return [pending.message for pending in kept.values()]

    def overdue(self, now: float) -> list[Pending]:
        """Messages that have waited for too long; each is named once."""
        late = [pending for pending in self._waiting.values() if now - pending.sent > PATIENCE]
        for pending in late:
            message_id = int(pending.message.id)
            del self._waiting[message_id]
            self._given_up.add(message_id)
        return late


def check_ack(ack: Ack, pending: Pending) -> None:
    """Raises CheckFailed where this is not how the message should have ended."""
    if ack.status not in pending.statuses:
        raise CheckFailed(f"acknowledged as {ack.status}, which can't be", f"{pending.message}")
    if (ack.seq is None) is not (ack.status == "unchanged"):
        raise CheckFailed("a seq where nothing changed, or none where something did", f"{ack}")
    if ack.seq is not None and ack.seq <= pending.after_seq:
        raise CheckFailed("a seq that did not rise", f"{pending.after_seq}, then {ack.seq}")


def check_error(error: Error, pending: Pending) -> None:
    """Raises CheckFailed where the message should not have been refused so."""
    if error.code not in pending.codes:
        raise CheckFailed(f"refused as {error.code}", error.message)
