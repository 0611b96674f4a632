"""The hub, in virtual time, over a store that counts what is asked of it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any

import pytest

from channels import hub as hub_module
from channels.codec import JSON, MSGPACK
from channels.hub import COMPLETE_AFTER, PORTION, VIEW_ROWS, Hub
from channels.protocol import Delta, Resumed, Snapshot
from channels.ranking import View, rank_rows
from channels.room import Subscription
from channels.wire import DeltaFrames, Label
from storage.types import Board, Query, Row, TopView
from tests.channels.viewer import Viewer
from tests.channels.virtual import run

RATE = 10
TICK = 1 / RATE
READ = 0.001
"""Seconds that the store takes to answer, where it is asked for a portion at most."""
TOP = 50
BOARDS = PORTION // (VIEW_ROWS + TOP)
"""Boards in a portion."""


class AwayError(Exception):
    """The store does not answer."""


def board(number: int = 1, shard: int = 0) -> Board:
    return Board(number, 1, shard, f"board-{number}", "Songs", "song", "updown", -1, 1, False, ("all",))


class Theatre:
    """A hub, its store, and the time at which each thing was read or shown."""

    def __init__(self) -> None:
        self.points: dict[int, dict[str, int]] = {}
        self.versions: dict[int, int] = {}
        self.epoch = "e"
        self.away = False
        self.complete = True
        self.reads: list[tuple[float, int, int]] = []
        self.labelled: list[str] = []
        self.sent: list[tuple[float, int, float]] = []
        self.clock = asyncio.get_running_loop().time
        self.hub = Hub(
            self._views,
            self._labels,
            self.clock,
            rate=RATE,
            unavailable=AwayError,
            on_sent=lambda frames, seconds: self.sent.append((self.clock(), frames, seconds)),
        )
        self.hub.listening()
        self.running = asyncio.create_task(self.hub.run())

    async def _views(self, shard: int, wanted: Sequence[tuple[Board, Query]]) -> list[View | None]:
        self.reads.append((self.clock(), shard, len(wanted)))
        views = [self._view(board.number, query) for board, query in wanted]
        await asyncio.sleep(READ * max(1, sum(query.view.rows for _, query in wanted) / PORTION))
        if self.away:
            raise AwayError("away")
        return views

    def _view(self, number: int, query: Query) -> View | None:
        if number not in self.points:
            return None
        before = 3 if self.complete else None
        rows = rank_rows([Row(item, 0, points, 1, 0, before) for item, points in self.points[number].items()])
        assert isinstance(query.view, TopView)
        shown = rows[: query.view.limit]
        return View.of(self.epoch, self.versions[number], len(rows), shown, incomplete=not self.complete)

    async def _labels(self, board: Board, items: Sequence[str]) -> Mapping[str, Label]:
        self.labelled += items
        return {item: Label(f"Song {item}") for item in items}

    def vote(self, points: int, number: int = 1, *, item: str = "a", told: bool = True) -> None:
        """Sets an item's points, as a batch that was applied does."""
        self.points.setdefault(number, {})[item] = points
        self.versions[number] = self.versions.get(number, 0) + 1
        if told:
            self.tell(number)

    def tell(self, number: int = 1) -> None:
        self.hub.changed(self.epoch, {number: self.versions[number]})

    async def join(self, viewer: Viewer, number: int = 1, *, of: Board | None = None, top: int = TOP) -> Subscription:
        of = of or board()
        held = viewer.view
        subscription, frames = await self.hub.join(
            of, Query(of.number, "all", TopView(top)), viewer, number, name=1,
            epoch=None if held is None else held.epoch, version=None if held is None else held.version,
        )  # fmt: skip
        for frame in frames:
            viewer.write(frame)
        return subscription

    async def fill(self, boards: int) -> list[Viewer]:
        """So many boards with a viewer each."""
        viewers = [Viewer() for _ in range(boards)]
        for number, viewer in enumerate(viewers, 1):
            self.vote(100, number)
            await self.join(viewer, of=board(number))
        await self.quiet()
        return viewers

    def change_all(self, boards: int) -> None:
        """A vote on each of them at once; reads are counted from here."""
        self.reads.clear()
        for number in range(1, boards + 1):
            self.vote(200, number)

    async def changes_seen(self, viewer: Viewer) -> list[float]:
        """When a viewer was shown something, while there are ten votes a tick for ten ticks."""
        shown: list[float] = []
        for points in range(200, 300):
            before = len(viewer.messages)
            self.vote(points)
            await asyncio.sleep(TICK / 10)
            if len(viewer.messages) > before:
                shown.append(self.clock())
        return shown

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits in virtual time."""
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(READ / 10)

    async def quiet(self) -> None:
        """Lets a second pass without anything new."""
        await asyncio.sleep(1)

    def score(self, viewer: Viewer, item: str = "a") -> int:
        assert viewer.view is not None
        return viewer.view.rows[item].points


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def sync(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return sync


@in_virtual_time
async def test_what_a_view_lacks_is_shown_later_though_nothing_changes() -> None:
    theatre = Theatre()
    theatre.complete = False
    theatre.vote(100)
    first, second = Viewer(), Viewer()
    left = await theatre.join(first)
    await asyncio.sleep(2 * COMPLETE_AFTER)
    assert len(theatre.reads) == 2
    theatre.hub.leave(left)
    await asyncio.sleep(2 * COMPLETE_AFTER)
    # Nobody was there for whom it was worth reading; the room was kept, and is not complete.
    await theatre.join(second)
    theatre.complete = True
    await theatre.until(lambda: second.view is not None and second.view.rows["a"].movement == 2)
    assert [type(message) for message in second.messages] == [Snapshot, Snapshot]
    theatre.reads.clear()
    await asyncio.sleep(3 * COMPLETE_AFTER)
    assert theatre.reads == []


@in_virtual_time
async def test_the_first_change_is_shown_at_once_and_later_ones_at_ticks() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    began = theatre.clock()
    shown = len(viewer.messages)
    for n in range(1000):
        theatre.vote(200 + n)
        if n == 0:
            await theatre.until(lambda: len(viewer.messages) > shown)
            assert theatre.clock() - began < 2 * READ
        await asyncio.sleep(0.002)
    seconds = theatre.clock() - began
    assert RATE * seconds * 0.8 < len(viewer.messages) - shown <= RATE * seconds + 1
    reads = [at for at, _, _ in theatre.reads if at > began]
    assert all(second - first >= TICK / 2 for first, second in pairwise(reads))
    await theatre.quiet()
    assert theatre.score(viewer) == 1199
    assert viewer.view == theatre._view(1, Query(1, "all", TopView(50)))


@in_virtual_time
async def test_a_quiet_board_is_not_read() -> None:
    theatre = Theatre()
    theatre.vote(100)
    await theatre.join(Viewer())
    await theatre.quiet()
    reads = len(theatre.reads)
    theatre.tell()
    await theatre.quiet()
    assert len(theatre.reads) == reads


@in_virtual_time
async def test_a_room_whose_last_member_leaves_as_it_changes_does_no_harm() -> None:
    theatre = Theatre()
    theatre.vote(100)
    subscription = await theatre.join(Viewer())
    await theatre.quiet()
    theatre.vote(200)
    theatre.hub.leave(subscription)
    await theatre.quiet()
    viewer = Viewer()
    await theatre.join(viewer)
    assert theatre.score(viewer) == 200
    theatre.vote(300)
    await theatre.quiet()
    assert theatre.score(viewer) == 300


@in_virtual_time
async def test_rooms_of_a_shard_that_are_due_are_read_together() -> None:
    theatre = Theatre()
    boards = [board(number, shard=number % 2) for number in range(1, 7)]
    viewers = [Viewer() for _ in boards]
    for of, viewer in zip(boards, viewers, strict=True):
        theatre.vote(100, of.number)
        await theatre.join(viewer, of=of)
    await theatre.quiet()
    theatre.reads.clear()
    for of in boards:
        theatre.vote(200, of.number)
    await theatre.quiet()
    assert sorted((shard, rooms) for _, shard, rooms in theatre.reads) == [(0, 3), (1, 3)]
    assert [theatre.score(viewer) for viewer in viewers] == [200] * 6
    assert [frames for _, frames, _ in theatre.sent[-2:]] == [3, 3]


@in_virtual_time
async def test_a_crowd_that_joins_one_room_costs_one_read_a_tick() -> None:
    theatre = Theatre()
    theatre.vote(100)
    first = Viewer()
    await theatre.join(first)
    await theatre.quiet()
    theatre.reads.clear()
    began = theatre.clock()
    crowd = [Viewer() for _ in range(500)]
    joins = []
    for n, viewer in enumerate(crowd):
        theatre.vote(200 + n)
        joins.append(asyncio.create_task(theatre.join(viewer)))
        await asyncio.sleep(0.002)
    await asyncio.gather(*joins)
    await theatre.quiet()
    assert len(theatre.reads) <= RATE * (theatre.clock() - began) + 2
    assert {theatre.score(viewer) for viewer in [first, *crowd]} == {699}


@in_virtual_time
async def test_a_crowd_that_comes_to_an_empty_room_at_once_costs_one_read() -> None:
    theatre = Theatre()
    theatre.vote(100)
    crowd = [Viewer() for _ in range(500)]
    await asyncio.gather(*(theatre.join(viewer) for viewer in crowd))
    assert len(theatre.reads) == 1
    assert {theatre.score(viewer) for viewer in crowd} == {100}


@in_virtual_time
async def test_who_joins_after_a_change_was_told_sees_it() -> None:
    theatre = Theatre()
    theatre.vote(100)
    await theatre.join(Viewer())
    for n in range(50):
        theatre.vote(200 + n)
        late = Viewer()
        await theatre.join(late)
        assert theatre.score(late) == 200 + n


@in_virtual_time
async def test_a_change_while_the_first_one_joins_is_not_lost() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    joining = asyncio.create_task(theatre.join(viewer))
    await theatre.until(lambda: bool(theatre.reads))
    theatre.vote(200)
    await joining
    assert theatre.score(viewer) == 100
    await theatre.quiet()
    assert theatre.score(viewer) == 200


@in_virtual_time
async def test_a_newcomer_that_hangs_up_takes_nothing_with_it() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    theatre.vote(200)
    patient = Viewer()
    newcomers = [asyncio.create_task(theatre.join(one, top=3)) for one in (Viewer(), patient, Viewer())]
    reads = len(theatre.reads)
    await theatre.until(lambda: len(theatre.reads) > reads)
    for newcomer in newcomers[::2]:
        newcomer.cancel()
    await asyncio.gather(*newcomers, return_exceptions=True)
    await theatre.quiet()
    assert theatre.score(viewer) == theatre.score(patient) == 200
    assert theatre.hub.viewers() == {0: {1: 2}}


@in_virtual_time
async def test_who_comes_and_goes_without_end_holds_up_nobody() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)

    async def come_and_go(top: int) -> None:
        while True:
            theatre.hub.leave(await theatre.join(Viewer(), top=top))
            await asyncio.sleep(READ)

    restless = [asyncio.create_task(come_and_go(800 + number)) for number in range(200)]
    await theatre.quiet()
    shown = await theatre.changes_seen(viewer)
    assert len(shown) > 8
    assert max(after - before for before, after in pairwise(shown)) < 1.5 * TICK
    for task in restless:
        task.cancel()
    await asyncio.gather(*restless, return_exceptions=True)


@in_virtual_time
async def test_no_newcomer_waits_for_a_hub_that_ends() -> None:
    theatre = Theatre()
    theatre.vote(100)
    newcomer = asyncio.create_task(theatre.join(Viewer()))
    await theatre.until(lambda: bool(theatre.reads))
    theatre.running.cancel()
    with pytest.raises(AwayError):
        await newcomer


@pytest.mark.parametrize("told_first", [True, False])
@in_virtual_time
async def test_a_state_that_somebody_read_before_it_was_announced_is_still_shown(told_first: bool) -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer, other = Viewer(), Viewer()
    await theatre.join(viewer)
    await theatre.join(other, top=10)
    await theatre.quiet()
    theatre.vote(200, told=told_first)
    theatre.hub.learned(1, "e", 2)
    theatre.tell()
    await theatre.quiet()
    assert (theatre.score(viewer), theatre.score(other)) == (200, 200)
    assert theatre.hub.state(1) == ("e", 2)


@in_virtual_time
async def test_a_store_that_was_away_is_shown_when_it_is_back() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    theatre.away = True
    theatre.vote(200)
    with pytest.raises(AwayError):
        await theatre.join(Viewer(), top=3)
    await theatre.quiet()
    assert theatre.score(viewer) == 100
    theatre.away = False
    await theatre.quiet()
    assert theatre.score(viewer) == 200
    assert theatre.sent[-1][2] > 1  # seconds from the change to the screens


@in_virtual_time
async def test_many_boards_are_read_in_portions_of_which_two_are_under_way() -> None:
    theatre = Theatre()
    viewers = await theatre.fill(4 * BOARDS)
    theatre.change_all(len(viewers))
    await theatre.quiet()
    assert all(theatre.score(viewer) == 200 for viewer in viewers)
    assert [count for _, _, count in theatre.reads] == [BOARDS] * 4
    first, second, third, fourth = (at for at, _, _ in theatre.reads)
    assert (first, third) == (second, fourth)
    assert third - first < 2 * READ


@in_virtual_time
async def test_who_watches_much_that_nobody_else_does_holds_up_nobody() -> None:
    theatre = Theatre()
    theatre.vote(100)
    modest = Viewer()
    await theatre.join(modest)
    greedy = [Viewer() for _ in range(600)]
    for number, viewer in enumerate(greedy):
        viewer.watched = 10_000
        await theatre.join(viewer, top=400 + number)
    await theatre.quiet()
    theatre.reads.clear()
    shown = await theatre.changes_seen(modest)
    # All of the others take longer than a tick, and the store is theirs for half of the time at most.
    assert len(shown) > 8
    assert max(after - before for before, after in pairwise(shown)) < 1.5 * TICK
    busy = {round(at, 6) for at, _, _ in theatre.reads}
    assert len(busy) * READ < 0.6 * (shown[-1] - shown[0])
    await theatre.quiet()
    assert {theatre.score(viewer) for viewer in (modest, *greedy)} == {299}


@in_virtual_time
async def test_a_store_that_goes_away_between_two_portions_leaves_no_board_behind() -> None:
    theatre = Theatre()
    viewers = await theatre.fill(4 * BOARDS)
    theatre.change_all(len(viewers))
    await theatre.until(lambda: len(theatre.reads) == 4)
    theatre.away = True
    await theatre.quiet()
    assert sum(theatre.score(viewer) == 200 for viewer in viewers) == 2 * BOARDS
    theatre.away = False
    await theatre.quiet()
    assert all(theatre.score(viewer) == 200 for viewer in viewers)


@in_virtual_time
async def test_one_who_joins_while_the_store_is_away_leaves_the_others_their_change() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    theatre.away = True
    theatre.vote(200)
    with pytest.raises(AwayError):
        await theatre.join(Viewer())
    theatre.away = False
    await theatre.quiet()
    assert theatre.score(viewer) == 200


@pytest.mark.parametrize("linger", [0, 200])
def test_a_board_that_the_store_does_not_have_cannot_be_joined(linger: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without any, the room is forgotten while it is read.
    monkeypatch.setattr(hub_module, "LINGER", linger)

    async def play() -> None:
        theatre = Theatre()
        with pytest.raises(AwayError):
            await theatre.join(Viewer())
        assert theatre.hub.rooms == 0
        theatre.vote(100)
        await theatre.join(Viewer())
        assert theatre.hub.rooms == 1

    run(play())


@in_virtual_time
async def test_a_board_that_the_store_lost_for_a_while_is_shown_again_without_a_word() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    lost, theatre.points = theatre.points, {}
    theatre.hub.doubt()
    await theatre.quiet()
    assert theatre.score(viewer) == 100
    theatre.points, theatre.epoch = lost, "f"
    theatre.vote(200, told=False)
    await theatre.quiet()
    assert theatre.score(viewer) == 200
    assert isinstance(viewer.messages[-1], Snapshot)


@in_virtual_time
async def test_another_epoch_is_shown_as_a_snapshot_and_then_the_room_rests() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer, other = Viewer(), Viewer()
    await theatre.join(viewer)
    await theatre.join(other, top=10)
    await theatre.quiet()
    theatre.epoch = "f"
    theatre.vote(200, told=False)
    # Somebody reads the new state while the old one is what was announced last.
    theatre.hub.learned(1, "f", 2)
    await theatre.quiet()
    assert [type(member.messages[-1]) for member in (viewer, other)] == [Snapshot, Snapshot]
    assert theatre.hub.state(1) == ("f", 2)
    reads = len(theatre.reads)
    await theatre.quiet()
    assert len(theatre.reads) == reads
    theatre.vote(300)
    await theatre.quiet()
    assert isinstance(viewer.messages[-1], Delta)
    assert theatre.score(viewer) == 300


@in_virtual_time
async def test_nothing_is_known_while_announcements_are_not_heard() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    assert theatre.hub.state(1) == ("e", 1)
    theatre.hub.deafened()
    assert theatre.hub.state(1) is None
    theatre.vote(200, told=False)
    await theatre.quiet()
    assert theatre.score(viewer) == 100
    theatre.hub.listening()
    await theatre.quiet()
    assert theatre.score(viewer) == 200
    assert theatre.hub.state(1) == ("e", 2)


@in_virtual_time
async def test_a_change_is_encoded_once_per_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[DeltaFrames] = []

    class Kept(DeltaFrames):
        def __init__(self, message: Delta) -> None:
            super().__init__(message)
            prepared.append(self)

    monkeypatch.setattr("channels.room.DeltaFrames", Kept)
    theatre = Theatre()
    theatre.vote(100)
    viewers = [Viewer([JSON, MSGPACK][n % 2]) for n in range(60)]
    for n, viewer in enumerate(viewers):
        await theatre.join(viewer, n % 3)
    await theatre.quiet()
    theatre.vote(200)
    await theatre.quiet()
    assert {theatre.score(viewer) for viewer in viewers} == {200}
    assert [delta.encodings for delta in prepared] == [2]
    assert len({id(viewer.frames[-1]) for viewer in viewers}) == 6


@in_virtual_time
async def test_labels_are_read_when_an_item_enters() -> None:
    theatre = Theatre()
    theatre.vote(100)
    theatre.vote(90, item="b")
    viewer = Viewer()
    await theatre.join(viewer)
    theatre.vote(300)
    await theatre.quiet()
    theatre.vote(200, item="c")
    await theatre.quiet()
    assert theatre.labelled == ["a", "b", "c"]
    assert viewer.labels == {item: Label(f"Song {item}") for item in "abc"}


@in_virtual_time
async def test_an_empty_room_is_kept_for_those_who_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER", 3)
    theatre = Theatre()
    theatre.vote(100)
    viewer, other = Viewer(), Viewer()
    theatre.hub.leave(await theatre.join(viewer, top=1))
    assert theatre.hub.rooms == 0
    theatre.vote(200)
    await theatre.join(viewer, top=1)
    assert [type(message) for message in viewer.messages] == [Snapshot, Resumed, Delta]
    assert theatre.hub.rooms == 1
    # One that is forgotten is made again, and who left it gets a snapshot.
    for top in (2, 3, 4, 5):
        theatre.hub.leave(await theatre.join(viewer if top == 2 else other, top=top))
        other.view = None
    theatre.vote(300)
    await theatre.join(viewer, top=2)
    assert isinstance(viewer.messages[-1], Snapshot)


@in_virtual_time
async def test_rooms_that_nobody_could_join_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER", 3)
    theatre = Theatre()
    theatre.away = True
    for top in range(1, 20):
        with pytest.raises(AwayError):
            await theatre.join(Viewer(), top=top)
    assert len(theatre.hub._rooms) <= 3


@in_virtual_time
async def test_a_room_that_was_dropped_while_somebody_joined_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER", 1)
    theatre = Theatre()
    theatre.vote(100)
    viewers = [Viewer() for _ in range(4)]
    await asyncio.gather(*(theatre.join(viewer, top=top) for top, viewer in enumerate(viewers, 1)))
    theatre.vote(200)
    await theatre.quiet()
    assert [theatre.score(viewer) for viewer in viewers] == [200] * 4
