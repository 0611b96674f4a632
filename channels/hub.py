"""The hub: which rooms there are, which boards changed, and the tick that shows it.

The first change of a quiet room is shown at once; after that a room is shown changes at the ticks of a common
clock, so that all rooms that are due are read together. Nothing is queued: a room that is due is read as it
then is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from channels.due import ROUND, Due, portions
from channels.ranking import View
from channels.room import Member, Room, Subscription
from channels.wire import Label
from storage.types import Board, Query, TopView

LINGER: Final = 200
"""Empty rooms that are kept, so that whoever comes back soon can resume."""

ROWS: Final = 1_000_000
"""What all rooms may cost together, in rows: some half a gigabyte. One more is refused, those that there are stay."""

COMPLETE_AFTER: Final = 5.0
"""Seconds after which a view that was incomplete is read again, though its board may not have changed."""

PATIENCE: Final = 2.0
"""Seconds that somebody who joins waits for what will pass, such as a store that is being filled."""

_RETRY: Final = 0.25

ReadViews = Callable[[int, Sequence[tuple[Board, Query]]], Awaitable[Sequence[View | None]]]
ReadLabels = Callable[[Board, Sequence[str]], Awaitable[Mapping[str, Label]]]
OnSent = Callable[[int, float], None]

log = structlog.get_logger(__name__)


class Hub:
    """All rooms of one server.

    `views` reads views of one shard's boards as of one moment, `labels` what items are called; what they raise, if
    it is not `passing`, ends a `join`, and is tried again by the tick. `clock` gives seconds and never goes back.
    `on_sent` hears of each portion of a tick: frames handed out, and seconds since the oldest change in it was known.
    """

    def __init__(
        self,
        views: ReadViews,
        labels: ReadLabels,
        clock: Callable[[], float],
        *,
        rate: float,
        unavailable: type[Exception],
        passing: type[Exception],
        on_sent: OnSent = lambda frames, seconds: None,
    ) -> None:
        self._views = views
        self._labels = labels
        self._clock = clock
        self._interval = 1 / rate
        self._unavailable = unavailable
        self._passing = passing
        self._on_sent = on_sent
        self._rooms: dict[Query, Room] = {}
        self._by_board: dict[int, set[Room]] = {}
        self._empty: dict[Query, None] = {}
        self._rows = 0
        self._versions: dict[int, tuple[str, int]] = {}
        self._wake = asyncio.Event()
        self._due = Due(clock, lambda board: self._by_board.get(board, ()), self._current, self._wake.set)
        self._incomplete: set[Room] = set()
        self._listening = False
        self._wanted: dict[Room, asyncio.Future[BaseException | None]] = {}

    @property
    def rooms(self) -> int:
        """Rooms that somebody watches."""
        return len(self._rooms) - len(self._empty)

    def viewers(self) -> dict[int, dict[int, int]]:
        """By shard and board: how many connections watch it, in whatever window or view."""
        found: dict[int, dict[int, int]] = {}
        for board, rooms in self._by_board.items():
            members = {subscription.member for room in rooms for subscription in room.subscriptions()}
            if members:
                found.setdefault(next(iter(rooms)).board.shard, {})[board] = len(members)
        return found

    def state(self, board: int) -> tuple[str, int] | None:
        """The newest (epoch, version) of a board; None where this server can't know it without asking."""
        return self._versions.get(board) if self._listening else None

    def learned(self, board: int, epoch: str, version: int) -> None:
        """Takes note of a state that a board was read in; rooms that have not seen it yet are due."""
        known = self._versions.get(board)
        if known is not None and known[0] == epoch and known[1] >= version:
            return
        if known is None or known[0] == epoch:
            self._versions[board] = epoch, version
        else:
            # Which of two epochs is the newer one can't be told: the next read will.
            del self._versions[board]
        self._due.note(board)

    def changed(self, epoch: str, versions: Mapping[int, int]) -> None:
        """Takes note of boards' new versions; hearing of one twice does no harm."""
        for board, version in versions.items():
            known = self._versions.get(board)
            if known is not None and known[0] == epoch and known[1] >= version:
                continue
            self._versions[board] = epoch, version
            self._due.note(board)

    def deafened(self) -> None:
        """Announcements are not heard from now on."""
        self._listening = False

    def listening(self) -> None:
        """Announcements are heard, but some may have been missed: every room has to be read."""
        self._listening = True
        self.doubt()

    def doubt(self) -> None:
        """What is known of boards' versions may be wrong, so that every room has to be read."""
        self._versions.clear()
        for room in self._rooms.values():
            self._due.mark(room)

    async def join(
        self, board: Board, query: Query, member: Member, number: int, *, name: str | int, epoch: str | None,
        version: int | None,
    ) -> tuple[Subscription, list[bytes]]:  # fmt: skip
        """Lets a member into the room of a view; answers its subscription and the frames to send first.

        The caller writes them without waiting in between, so that no change comes before them.
        """
        room = self._room(board, query)
        if not self._current(room):
            await self._catch_up(room)
            # It may have been forgotten meanwhile, and even made anew by somebody else.
            if self._keep(room) is not room:
                return await self.join(board, query, member, number, name=name, epoch=epoch, version=version)
        if room.view is None:
            if room.empty:
                self._rest(room)
            raise self._unavailable(f"the board {board.slug!r} can't be read now")
        subscription = Subscription(room, member, number)
        room.add(subscription)
        self._empty.pop(query, None)
        self._due.joined(room)
        self._complete_later(room)
        return subscription, room.resume(member.codec, name, number, epoch, version)

    def _complete_later(self, room: Room) -> None:
        """Makes a room due again, in a while, whose view is incomplete."""
        if room.incomplete:
            if not self._incomplete:
                asyncio.get_running_loop().call_later(COMPLETE_AFTER, self._complete)
            self._incomplete.add(room)

    def _complete(self) -> None:
        rooms, self._incomplete = self._incomplete, set()
        for room in rooms:
            self._due.mark(room)

    def _room(self, board: Board, query: Query) -> Room:
        room = self._rooms.get(query)
        if room is None:
            room = Room(board, query, top=isinstance(query.view, TopView))
            if self._rows + room.cost > ROWS:
                raise self._unavailable("too many different views are watched")
            self._rest(self._keep(room))
        return room

    def _keep(self, room: Room) -> Room:
        """Keeps a room, unless there is one for its query; answers the one that is kept."""
        kept = self._rooms.setdefault(room.query, room)
        rooms = self._by_board.setdefault(room.board.number, set())
        if kept is room and room not in rooms:
            rooms.add(room)
            self._rows += room.cost
        return kept

    def leave(self, subscription: Subscription) -> None:
        """Ends a subscription. An empty room is kept for a while."""
        room = subscription.room
        room.remove(subscription)
        if room.empty and room.query in self._rooms:
            self._due.left(room)
            self._rest(room)

    def _rest(self, room: Room) -> None:
        """Keeps a room that nobody is in, at the cost of the one that was empty for longest."""
        self._empty[room.query] = None
        if len(self._empty) > LINGER:
            self._forget(next(iter(self._empty)))

    def _forget(self, query: Query) -> None:
        del self._empty[query]
        room = self._rooms.pop(query)
        rooms = self._by_board[room.board.number]
        rooms.discard(room)
        self._rows -= room.cost
        if not rooms:
            del self._by_board[room.board.number]

    def _current(self, room: Room) -> bool:
        """Whether the room has seen the newest version of its board that is known."""
        known = self._versions.get(room.board.number)
        return room.view is not None and known is not None and known == (room.view.epoch, room.seen_version)

    async def _catch_up(self, room: Room) -> None:
        """Returns when a room was read for somebody who joins.

        At once where nobody watches yet, else at the room's next tick: a crowd that joins costs one read a tick.
        """
        wait = room.not_before - self._clock()
        if wait > 0 and not room.empty:
            await asyncio.sleep(wait)
        patient_until = self._clock() + PATIENCE
        while True:
            told = self._wanted.setdefault(room, asyncio.get_running_loop().create_future())
            self._wake.set()
            # Others may wait for the same.
            error = await asyncio.shield(told)
            if error is None:
                return
            if not isinstance(error, self._passing) or self._clock() >= patient_until:
                raise self._unavailable("boards can't be read now") from error

    def unblocked(self) -> None:
        """Somebody takes frames again: rooms that waited for that are due."""
        self._wake.set()

    async def run(self) -> None:
        """Shows rooms what changed, and reads those that somebody joins, until cancelled."""
        while True:
            now = self._clock()
            due = self._due.now(now)
            if not due and not self._wanted:
                await self._next_tick(now)
                continue
            some, wanted = self._due.round(due), self._next_wanted()
            left = len(some) < len(due) or bool(self._wanted)
            try:
                await self._serve(some, wanted)
                if left:
                    await asyncio.sleep(self._clock() - now)
            except self._unavailable as error:
                log.warning("boards could not be read", error=str(error))
                await asyncio.sleep(_RETRY)

    async def _serve(self, due: Iterable[Room], wanted: dict[Room, asyncio.Future[BaseException | None]]) -> None:
        failed: BaseException | None = None
        try:
            await self._show(list(dict.fromkeys([*due, *wanted])))
        except BaseException as error:
            failed = error
            # Whoever waits behind these would wait in vain.
            wanted |= self._wanted
            self._wanted.clear()
            raise
        finally:
            for told in wanted.values():
                told.set_result(failed)

    def _next_wanted(self) -> dict[Room, asyncio.Future[BaseException | None]]:
        """The rooms that are read next for those who join, in the order in which they came: a round of them at most."""
        taken: dict[Room, asyncio.Future[BaseException | None]] = {}
        rows = 0
        for room in list(self._wanted):
            rows += room.cost
            if taken and rows > ROUND:
                break
            taken[room] = self._wanted.pop(room)
        return taken

    async def _next_tick(self, now: float) -> None:
        """Waits until the next room is due, or another one is marked that may be due sooner."""
        self._wake.clear()
        soonest = self._due.soonest()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if soonest is None else soonest - now):
                await self._wake.wait()

    async def _show(self, rooms: Sequence[Room]) -> None:
        parts = list(portions(rooms))
        coming = iter(parts)

        async def show() -> None:
            for shard, some in coming:
                await self._show_portion(shard, some)

        # Two at a time: while one is handed out, the store reads the next.
        ended = await asyncio.gather(*(show() for _ in parts[:2]), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def _show_portion(self, shard: int, rooms: Sequence[Room]) -> None:
        marked = self._due.take(rooms)
        try:
            views = await self._views(shard, [(room.board, room.query) for room in rooms])
            sent = 0
            for room, view in zip(rooms, views, strict=True):
                if view is not None:
                    sent += await self._advance(room, view)
        except BaseException:
            for room, since in marked.items():
                self._due.mark(room, since)
            raise
        now = self._clock()
        # The first tick of the common clock that is not too soon: half an interval after a change shown at once.
        tick = (now // self._interval + 1) * self._interval
        for room, view in zip(rooms, views, strict=True):
            room.not_before = tick if tick - now >= self._interval / 2 else tick + self._interval
            if view is not None:
                self.learned(room.board.number, view.epoch, view.version)
            if view is None or not self._current(room):
                self._due.mark(room)
            self._complete_later(room)
        if marked:
            self._on_sent(sent, now - min(marked.values()))

    async def _advance(self, room: Room, view: View) -> int:
        missing = room.unlabelled(view)
        if missing:
            found = await self._labels(room.board, missing)
            room.labels.update({item: found.get(item, Label(None)) for item in missing})
        room.seen_version, room.incomplete = view.version, view.incomplete
        return room.advance(view)
