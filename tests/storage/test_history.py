"""What is kept of the past of rankings, and for how long; who watches, over all servers."""

import pytest

from storage.archive import Archive
from storage.calendar import DAY_MS
from storage.errors import NotFound
from storage.flusher import Flusher
from storage.history import DEPTH, HOURS_KEPT, History
from storage.live import VIEWERS_FOR, LiveStore
from storage.timekeeper import Timekeeper
from storage.types import Row
from tests.storage.house import SONGS, House
from tests.storage.shard import HOUR, MINUTE, NOON


async def times(history: History, board: int, now: int) -> list[int]:
    """Moments of all samples, as minutes before now, rising."""
    lines = await history.lines(board, "all", now - HOURS_KEPT, now, top=1, item_id=None, samples=200_000)
    return [(at - now) // MINUTE for at in lines.times]


async def test_minutes_are_kept_for_a_day_and_hours_for_a_season(house: House, archive: Archive) -> None:
    history = History(archive)
    board = house.songs.number
    item = SONGS[0]
    kept_at = [-3 * DAY_MS, -3 * DAY_MS + MINUTE, -DAY_MS - 1 * MINUTE, -DAY_MS + MINUTE, -MINUTE]
    for ago in [-HOURS_KEPT - HOUR, *kept_at]:
        await history.add(board, "all", NOON + ago, [Row(item, 1, 100, 1, 0)])
    await history.thin(house.shard + 1, NOON)
    assert len(await times(history, board, NOON)) == len(kept_at) + 1
    await history.thin(house.shard, NOON)
    # 12:01 of three days ago and 11:59 of yesterday: only the former hour has an earlier sample.
    assert await times(history, board, NOON) == [-3 * 1440, -1440 - 1, -1440 + 1, -1]


async def test_the_last_that_is_known_is_never_forgotten(house: House, archive: Archive) -> None:
    history = History(archive)
    for window in ("all", "day"):
        await history.add(house.songs.number, window, NOON, [Row(SONGS[0], 1, 100, 1, 0)])
    await history.thin(house.shard, NOON + 2 * HOURS_KEPT)
    later = NOON + 2 * HOURS_KEPT
    lines = await history.lines(house.songs.number, "all", later - HOUR, later, top=1, item_id=None, samples=2)
    assert (lines.times, [line.points for line in lines.items]) == ([later - HOUR], [[100]])


async def test_a_sample_is_no_deeper_than_charts_need(house: House, archive: Archive) -> None:
    history = History(archive)
    rows = [Row(item, 1, 100, 1, 0) for item in SONGS]
    many = rows + [Row(f"nobody-{n}", 1, 100, 1, 0) for n in range(DEPTH)]
    await history.add(house.songs.number, "all", NOON, many)
    async with archive.connection() as connection:
        assert await connection.fetchval("select cardinality(items) from rank_history") == len(rows)
    await history.add(house.songs.number, "all", NOON + 1, [])
    lines = await history.lines(house.songs.number, "all", NOON - 1, NOON + 2, top=100, item_id=None, samples=9)
    assert len(lines.times) == 1
    assert {line.item_id for line in lines.items} == set(SONGS)


async def test_an_item_that_is_not_on_the_board(house: House, archive: Archive) -> None:
    with pytest.raises(NotFound):
        await History(archive).lines(house.songs.number, "all", 0, NOON, top=1, item_id="none", samples=2)


async def test_viewers_are_counted_over_all_servers_that_live(live: LiveStore) -> None:
    assert await live.share_viewers(0, "a", {}, NOON) == {}
    assert await live.share_viewers(0, "a", {1: 5, 2: 1}, NOON) == {1: 5, 2: 1}
    assert await live.share_viewers(0, "b", {1: 2}, NOON + 1) == {1: 7, 2: 1}
    assert await live.share_viewers(1, "b", {}, NOON + 1) == {}
    assert await live.share_viewers(0, "b", {1: 2}, NOON + VIEWERS_FOR) == {1: 2}
    assert await live.share_viewers(0, "b", {}, NOON + VIEWERS_FOR) == {}


async def test_the_timekeeper_keeps_every_window_of_a_board_that_changed(house: House, archive: Archive) -> None:
    keeper = Timekeeper(Flusher(house.shard, house.live, archive), house.live, archive, lambda: house.now)
    await house.cast(house.vote("ann", "fugue", 1))
    for minute in range(3):
        await keeper.tick(NOON + minute * MINUTE)
    for window in set(house.songs.windows) - {"trending"}:
        lines = await History(archive).lines(
            house.songs.number, window, NOON - HOUR, NOON + HOUR, top=1, item_id=None, samples=60
        )
        # Nothing but trending changed after the first minute, so that nothing was kept.
        assert lines.times == [NOON]
        assert [(line.item_id, line.ranks, line.points) for line in lines.items] == [("fugue", [1], [100])]


async def test_a_step_ends_with_its_end_and_what_stood_at_the_beginning_came_before(
    house: House, archive: Archive
) -> None:
    history = History(archive)
    for minute in (0, 1, 10, 11, 20):
        await history.add(house.songs.number, "all", NOON + minute * MINUTE, [Row(SONGS[0], 1, minute * 100, 1, 0)])
    lines = await history.lines(house.songs.number, "all", NOON, NOON + 20 * MINUTE, top=1, item_id=None, samples=2)
    assert [(at - NOON) // MINUTE for at in lines.times] == [0, 10, 20]
    assert [line.points for line in lines.items] == [[0, 1000, 2000]]
