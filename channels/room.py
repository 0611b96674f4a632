"""A room: everyone who watches one view of one board, and what they have been shown.

State sync with conflation: a room holds the view that its members have. When the board changed, the
difference is encoded once per codec and the same bytes go to every member. Whoever cannot take them now is
passed over and brought up to date when it can: by one merged change while the room remembers, else by a
snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Final, Protocol

from channels.codec import Codec
from channels.delta import Change, diff, merge
from channels.frames import frame
from channels.protocol import Resumed
from channels.ranking import View, renewed
from channels.wire import DeltaFrames, Label, SnapshotFrames, delta_of, snapshot_of
from storage.types import Board, Query

MEMORY: Final = 64
"""Changes that a room remembers: some seconds under load, enough for a reconnect."""

VIEW_ROWS: Final = 10
"""What a view costs the store, however few rows it has, in rows."""

MEMORY_ROWS: Final = 2000
"""Rows in those changes: a room of a thousand rows that all move remembers two of them."""

MERGED: Final = 8
"""Versions from which a delta to the present is kept: a crowd that comes back, or reads on, was cut off at a few."""


class Member(Protocol):
    """A connection, as rooms need it."""

    codec: Codec
    blocked: bool
    """Whether its buffer is over the mark, or it is going: then nothing must be written to it. A member that comes to
    be blocked tells its subscriptions (`hold`)."""

    @property
    def transport(self) -> Transport:
        """What takes its frames: the same object all the time."""

    @property
    def watched(self) -> int:
        """What all that it watches costs, in rows."""


class Transport(Protocol):
    """The way to one member."""

    def write(self, frame: bytes, /) -> object:
        """Takes bytes. Never waits, never raises."""


class Subscription:
    """One connection's place in a room. `behind` is the version it holds while it is not up to date."""

    __slots__ = ("behind", "member", "number", "room")

    def __init__(self, room: Room, member: Member, number: int) -> None:
        self.room = room
        self.member = member
        self.number = number
        self.behind: int | None = None

    def hold(self) -> None:
        """Passes the member over until it catches up: it takes nothing now."""
        self.room.hold(self)

    def catch_up(self) -> None:
        """Brings a member that was passed over up to date."""
        self.room.release(self)
        if self.behind is None or self.room.view is None:
            return
        held, self.behind = self.behind, None
        for prepared in self.room.missed(self.member.codec, self.number, held):
            self.member.transport.write(prepared)


class _Group:
    """Subscriptions that get the same bytes: those that take them now, with their transports, and those that don't.

    A loop over thousands is as fast as few objects are touched, each being a miss of the processor's cache: so it
    goes over a list of transports that is kept until somebody comes or goes.
    """

    __slots__ = ("_listed", "_taking", "held")

    def __init__(self) -> None:
        self._taking: dict[Subscription, Transport] = {}
        self._listed: list[Transport] | None = None
        self.held: dict[Subscription, None] = {}

    def __len__(self) -> int:
        return len(self._taking) + len(self.held)

    def __iter__(self) -> Iterator[Subscription]:
        return chain(self._taking, self.held)

    def any(self) -> Subscription:
        """One of them."""
        return next(iter(self._taking or self.held))

    @property
    def stalled(self) -> bool:
        """Whether nobody takes anything now."""
        return not self._taking

    def add(self, subscription: Subscription) -> None:
        """Lets in somebody who takes what comes."""
        self._taking[subscription] = subscription.member.transport
        self._listed = None

    def pop(self, subscription: Subscription) -> bool:
        """Lets go of somebody who took what came; answers whether it was there."""
        if self._taking.pop(subscription, None) is None:
            return False
        self._listed = None
        return True

    def deliver(self, data: bytes, prev: int) -> int:
        """Hands bytes to everyone who takes them, and notes that the others stay behind at version `prev`."""
        for subscription in self.held:
            if subscription.behind is None:
                subscription.behind = prev
        transports = self._listed
        if transports is None:
            transports = self._listed = list(self._taking.values())
        # Whose buffer is full with this one tells at once, and is held: then the next list is another one.
        for transport in transports:
            transport.write(data)
        return len(transports)


class Room:
    """One view of one window of a board."""

    def __init__(self, board: Board, query: Query, *, top: bool) -> None:
        self.board = board
        self.query = query
        self.top = top
        self.cost = VIEW_ROWS + query.view.rows
        """What reading it costs, in rows."""
        self.members = 0
        """How many subscriptions there are."""
        self.view: View | None = None
        self.labels: dict[str, Label] = {}
        self.seen_version = 0
        self.incomplete = False
        self.not_before = 0.0
        self._changes: deque[Change] = deque()
        self._rows_kept = 0
        self._groups: dict[tuple[Codec, int], _Group] = {}
        self._snapshot: SnapshotFrames | None = None
        self._merged: dict[int, DeltaFrames] = {}
        self._replaced: int | None = None
        """The version that was shown with less than it has: to members a snapshot made up for that."""

    @property
    def burden(self) -> float:
        """What all that somebody in it watches costs, here and elsewhere, for each one who is in it."""
        group = next(iter(self._groups.values()))
        return group.any().member.watched / self.members

    @property
    def empty(self) -> bool:
        """Whether nobody watches."""
        return not self._groups

    @property
    def stalled(self) -> bool:
        """Whether nobody in the room can take anything now."""
        for group in self._groups.values():  # noqa: SIM110  # asked of thousands of rooms before each round
            if not group.stalled:
                return False
        return True

    def subscriptions(self) -> Iterator[Subscription]:
        """Everyone in the room."""
        for group in self._groups.values():
            yield from group

    def add(self, subscription: Subscription) -> None:
        """Lets a subscription in."""
        group = self._groups.setdefault(_key(subscription), _Group())
        self.members += 1
        if subscription.member.blocked:
            group.held[subscription] = None
        else:
            group.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Lets a subscription go."""
        key = _key(subscription)
        group = self._groups.get(key)
        if group is None:
            return
        if subscription in group.held:
            del group.held[subscription]
        elif not group.pop(subscription):
            return
        self.members -= 1
        if not group:
            del self._groups[key]

    def hold(self, subscription: Subscription) -> None:
        """Passes a member over from now on."""
        group = self._groups.get(_key(subscription))
        if group is not None and group.pop(subscription):
            group.held[subscription] = None

    def release(self, subscription: Subscription) -> None:
        """Passes a member over no more."""
        group = self._groups.get(_key(subscription))
        if group is not None and subscription in group.held:
            del group.held[subscription]
            group.add(subscription)

    def unlabelled(self, view: View) -> list[str]:
        """Items of a coming view that the room has no label for; it has one for each of the present view."""
        before = {} if self.view is None else self.view.rows
        return [row.item for row in renewed(before, view.rows) if row.item not in self.labels]

    def advance(self, view: View) -> int:
        """Shows everyone the new view; answers how many frames were handed to transports.

        Labels of its rows must be in `labels`. A view that looks the same is not shown: members stay at
        their version, from which the next change will start.
        """
        old = self.view
        if old is None or old.epoch != view.epoch:
            return self._replace(view)
        change = diff(old, view)
        if change is None:
            return 0
        if old.version == view.version:
            return self._replace(view)
        self._set(view)
        self._remember(change)
        for item in change.left:
            self.labels.pop(item, None)
        return self._broadcast(change)

    def _set(self, view: View) -> None:
        self.view = view
        self._snapshot = None
        self._merged.clear()

    def _remember(self, change: Change) -> None:
        self._changes.append(change)
        self._rows_kept += len(change.rows)
        while len(self._changes) > MEMORY or (self._rows_kept > MEMORY_ROWS and len(self._changes) > 1):
            self._rows_kept -= len(self._changes.popleft().rows)

    def _broadcast(self, change: Change) -> int:
        prepared = DeltaFrames(delta_of(change, self.labels))
        groups = list(self._groups.items())
        return sum(group.deliver(prepared.frame(codec, number), change.prev) for (codec, number), group in groups)

    def _replace(self, view: View) -> int:
        """Another epoch, or the same version with what it lacked: no delta leads to it."""
        old = self.view
        self._replaced = view.version if old is not None and old.epoch == view.epoch else None
        self._set(view)
        self._changes.clear()
        self._rows_kept = 0
        self.labels = {item: label for item, label in self.labels.items() if item in view.rows}
        if old is None:
            return 0
        groups = list(self._groups.items())
        for _, group in groups:
            for subscription in group.held:
                subscription.behind = -1
        return sum(group.deliver(self.snapshot(codec, None, number), -1) for (codec, number), group in groups)

    def snapshot(self, codec: Codec, client_id: str | int | None, number: int) -> bytes:
        """A frame with the whole view."""
        assert self.view is not None
        if self._snapshot is None:
            message = snapshot_of(self.view, self.labels, self.board.slug, self.query.window)
            self._snapshot = SnapshotFrames(message)
        return self._snapshot.frame(codec, client_id, number)

    def missed(self, codec: Codec, number: int, held: int) -> list[bytes]:
        """Frames that take a member from version `held` to the present."""
        assert self.view is not None
        if held == self.view.version:
            return []
        since = self._since(held)
        return [self.snapshot(codec, None, number) if since is None else since.frame(codec, number)]

    def _since(self, version: int) -> DeltaFrames | None:
        """What takes members from a version to the present; None where the room does not remember that far."""
        if version not in self._merged:
            change = self.change_since(version)
            if change is None:
                return None
            if len(self._merged) >= MERGED:
                self._merged.clear()
            self._merged[version] = DeltaFrames(delta_of(change, self.labels))
        return self._merged[version]

    def change_since(self, version: int) -> Change | None:
        """All that happened since a version as one change; None where the room does not remember that far."""
        if self.view is None or version == self._replaced:
            return None
        changes: list[Change] = []
        for change in reversed(self._changes):
            changes.append(change)
            if change.prev == version:
                return merge(changes[::-1], self.view)
        return None

    def resume(
        self, codec: Codec, client_id: str | int, number: int, epoch: str | None, version: int | None
    ) -> list[bytes]:
        """What answers a `subscribe`: a snapshot, or, for who holds a state that is remembered, what it missed."""
        assert self.view is not None
        if epoch != self.view.epoch or version is None or not self._leads_on(version):
            return [self.snapshot(codec, client_id, number)]
        resumed = codec.encode(Resumed(client_id, number, epoch, version))
        return [frame(codec.opcode, resumed), *self.missed(codec, number, version)]

    def _leads_on(self, version: int) -> bool:
        """Whether who holds a version of this epoch can be brought up to date without a snapshot."""
        assert self.view is not None
        current = version == self.view.version and version != self._replaced
        return current or self._since(version) is not None


def _key(subscription: Subscription) -> tuple[Codec, int]:
    return subscription.member.codec, subscription.number
