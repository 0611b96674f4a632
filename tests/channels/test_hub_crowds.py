"""The hub, in virtual time: many boards, many who come at once, and those who ask for more than their share."""

import asyncio
from itertools import pairwise

import pytest

from channels import hub as hub_module
from channels.hub import PATIENCE
from channels.room import VIEW_ROWS, Room
from tests.channels import theatre as theatre_module
from tests.channels.theatre import BOARDS, RATE, READ, TICK, TOP, AwayError, Theatre, board, in_virtual_time
from tests.channels.viewer import Viewer


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
async def test_a_vote_costs_the_same_however_many_views_its_board_has(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewers = [Viewer() for _ in range(30)]
    for top, viewer in enumerate(viewers, 1):
        await theatre.join(viewer, top=top)
    await theatre.quiet()
    looked: list[Room] = []
    current = theatre.hub._due._current

    def noted(room: Room) -> bool:
        looked.append(room)
        return current(room)

    monkeypatch.setattr(theatre.hub._due, "_current", noted)
    theatre.vote(200)
    await theatre.until(lambda: all(theatre.score(viewer) == 200 for viewer in viewers))
    theatre.reads.clear()
    looked.clear()
    for points in range(201, 301):
        theatre.vote(points)
        await asyncio.sleep(TICK / 1000)
    # A tenth of a tick: every room waits for the next one, and is looked at once.
    assert theatre.reads == []
    assert len(looked) == len(set(looked)) == 30
    await theatre.quiet()
    assert {theatre.score(viewer) for viewer in viewers} == {300}


@in_virtual_time
async def test_a_room_that_has_seen_a_version_is_not_read_again_for_it() -> None:
    theatre = Theatre()
    theatre.vote(100)
    early, late = Viewer(), Viewer()
    await theatre.join(early)
    await theatre.quiet()
    theatre.vote(200, told=False)
    await theatre.join(late, top=10)  # which is read, and so finds out
    await theatre.quiet()
    assert theatre.score(early) == theatre.score(late) == 200
    theatre.reads.clear()
    theatre.tell()
    await theatre.quiet()
    assert theatre.reads == []
    for points in (300, 400):
        theatre.vote(points)
        await theatre.quiet()
        assert theatre.score(early) == theatre.score(late) == points


@in_virtual_time
async def test_who_joins_waits_for_a_store_that_is_being_filled_but_not_for_ever() -> None:
    theatre = Theatre()
    theatre.vote(100)
    theatre.filling = True
    early, late = Viewer(), Viewer()
    joining = asyncio.create_task(theatre.join(early))
    await asyncio.sleep(PATIENCE / 2)
    theatre.filling = False
    await joining
    assert theatre.score(early) == 100
    theatre.filling, began = True, theatre.clock()
    with pytest.raises(AwayError):
        await theatre.join(late, top=3)
    assert PATIENCE <= theatre.clock() - began < PATIENCE + 1
    theatre.filling, theatre.away, began = False, True, theatre.clock()
    with pytest.raises(AwayError):
        await theatre.join(late, top=4)
    assert theatre.clock() - began < 1


@in_virtual_time
async def test_a_crowd_that_comes_to_an_empty_room_at_once_costs_one_read() -> None:
    theatre = Theatre()
    theatre.vote(100)
    crowd = [Viewer() for _ in range(500)]
    await asyncio.gather(*(theatre.join(viewer) for viewer in crowd))
    assert len(theatre.reads) == 1
    assert {theatre.score(viewer) for viewer in crowd} == {100}


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


@in_virtual_time
async def test_nobody_waits_for_ever_behind_those_who_watch_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theatre_module, "READ", 0.02)
    theatre = Theatre()
    crowd = [Viewer() for _ in range(400)]
    for number, viewer in enumerate(crowd, 2):
        viewer.watched = 30
        theatre.vote(100, number)
        await theatre.join(viewer, of=board(number))
    theatre.vote(100)
    lonely = Viewer()
    await theatre.join(lonely)
    await theatre.quiet()
    lonely.messages.clear()
    for points in range(200, 300):
        for number in range(1, 402):
            theatre.vote(points, number)
        await asyncio.sleep(TICK)
    assert len(lonely.messages) > 10


@in_virtual_time
async def test_different_views_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "ROWS", 3 * (VIEW_ROWS + TOP))
    monkeypatch.setattr(hub_module, "LINGER", 0)
    theatre = Theatre()
    places = []
    for number in range(1, 4):
        theatre.vote(100, number)
        places.append(await theatre.join(Viewer(), of=board(number)))
    theatre.vote(100, 4)
    for _ in range(2):
        with pytest.raises(AwayError):
            await theatre.join(Viewer(), of=board(4))
        await theatre.join(Viewer(), of=board(3))
    theatre.hub.leave(places[0])
    await theatre.join(Viewer(), of=board(4))
    with pytest.raises(AwayError):
        await theatre.join(Viewer(), of=board(1))
