"""What time alone does to boards: days end, trends fade, ranks of an hour ago are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from storage.history import HOURS_KEPT
from storage.hold import Hold
from storage.samples import Samples
from storage.timekeeper import Timekeeper
from storage.types import Changed, Query, Ranking, Row, Sample, Window
from storage.verify import verify_shard
from tests.storage.house import SONGS, House
from tests.storage.shard import DAY, HOUR, MINUTE, NOON

MIDNIGHT = NOON + 12 * HOUR
"""At the end of a Tuesday in June."""


@pytest.fixture
def keeper(house: House) -> Timekeeper:
    return Timekeeper(house.flusher(), house.live, house.archive, lambda: house.now)


async def version(house: House) -> int:
    return (await house.ranking(house.songs, "all")).version


async def points(house: House, window: Window) -> dict[str, int]:
    return {row.item: row.points for row in (await house.ranking(house.songs, window)).rows if row.points}


async def test_midnight_empties_the_day(house: House, keeper: Timekeeper) -> None:
    house.now = MIDNIGHT - 1
    await house.cast(house.vote("ann", "aria", 1), house.vote("bob", "fugue", -1))
    await keeper.tick(house.now)
    before = await version(house)
    assert (await house.ranking(house.songs, "day")).rows[0] == Row("aria", 1, 100, 1, 0)

    await keeper.tick(MIDNIGHT)
    assert await version(house) == before + 1
    day = await house.ranking(house.songs, "day")
    counts = {"aria": (1, 0), "fugue": (0, 1)}
    # An item without a vote is ranked; counts are those of all time.
    assert day.rows == [Row(item, 1, 0, *counts.get(item, (0, 0))) for item in sorted(SONGS)]
    assert day.total == len(SONGS)
    for window in ("all", "week", "month"):
        assert await points(house, window) == {"aria": 100, "fugue": -100}


async def test_boards_on_which_nothing_happened_are_not_read(
    house: House, keeper: Timekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Query] = []
    real = house.live.read

    async def noted(shard: int, queries: Sequence[Query]) -> list[Ranking | None]:
        read.extend(queries)
        return await real(shard, queries)

    monkeypatch.setattr(house.live, "read", noted)
    await house.cast(house.vote("ann", "aria", 1))
    for minute in range(3):
        # A trending score comes to rest only when a sample of the hour before does.
        await keeper.tick(NOON + minute * MINUTE)
    read.clear()
    before = await house.live.versions(house.shard, [house.songs.number])
    await keeper.tick(NOON + 3 * MINUTE)
    boards = {query.board for query in read}
    assert boards <= {house.songs.number}
    await house.cast(house.vote("bob", "aria", 1))
    await keeper.tick(NOON + 4 * MINUTE)
    assert {query.window for query in read if query.board == house.songs.number} == set(house.songs.windows)
    assert (await house.live.versions(house.shard, [house.songs.number, 999])).keys() == before.keys()


async def test_weeks_end_on_sundays_and_months_on_their_last_day(house: House, keeper: Timekeeper) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    windows: tuple[Window, ...] = ("day", "week", "month")
    left = {}
    for nights in (0, 1, 5, 6, 14, 15):
        await keeper.tick(MIDNIGHT + (nights - 1) * DAY)
        left[nights] = {window for window in windows if await points(house, window)}
        assert [report.differences for report in await verify_shard(house.live, house.archive, house.shard)] == [()] * 3
    assert left == {
        0: {"day", "week", "month"},
        1: {"week", "month"},
        5: {"week", "month"},
        6: {"month"},
        14: {"month"},
        15: set(),
    }
    assert await points(house, "all") == {"aria": 100}


async def test_a_vote_from_a_slower_clock_belongs_to_the_new_day(house: House, keeper: Timekeeper) -> None:
    """Two servers' clocks differ by a second at midnight: no day has a vote that its events lack."""
    await keeper.tick(MIDNIGHT)
    house.now = MIDNIGHT - 1000
    await house.cast(house.vote("ann", "aria", 1))
    assert await points(house, "day") == {"aria": 100}
    assert await house.live.quota_used(house.shard, MIDNIGHT // DAY, house.agents["ann"]) == 1
    await house.flush()
    assert [report.differences for report in await verify_shard(house.live, house.archive, house.shard)] == [()] * 3


async def test_what_changes_is_announced_and_what_does_not_is_not(house: House, keeper: Timekeeper) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    heard: asyncio.Queue[Changed | None] = asyncio.Queue()

    async def listen() -> None:
        async for message in house.live.changes([house.shard]):
            heard.put_nowait(message)

    listening = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(10):
            assert await heard.get() is None
            before = await version(house)
            # The same minute: nothing. Two later ones: what trends, once it shows. A new day: what had one.
            await keeper.tick(NOON)
            await keeper.tick(NOON + MINUTE)
            await keeper.tick(NOON + 3 * MINUTE)
            message = await heard.get()
            assert message is not None
            assert (message.shard, message.epoch, message.seq) == (house.shard, house.known.epoch, 1)
            assert message.versions == {house.songs.number: before + 1}
            await keeper.tick(MIDNIGHT)
            message = await heard.get()
            assert message is not None
            assert house.songs.number in message.versions
    finally:
        listening.cancel()
        await asyncio.wait({listening})


async def test_trends_fade_by_half_in_six_hours_and_newer_votes_overtake(house: House, keeper: Timekeeper) -> None:
    await house.cast(*[house.vote(agent, "aria", 1) for agent in house.agents])
    house.now = NOON + 12 * HOUR
    await house.cast(house.vote("ann", "Blues", 1), house.vote("bob", "Blues", 1), house.vote("cyd", "elegy", -1))
    seen = []
    for passed in (0, 6, 12, 18, 48, 60):
        await keeper.tick(house.now + passed * HOUR)
        seen.append(await points(house, "trending"))
    assert seen == [
        {"Blues": 200, "aria": 100, "elegy": -100},
        {"Blues": 100, "aria": 50, "elegy": -50},
        {"Blues": 50, "aria": 25, "elegy": -25},
        {"Blues": 25, "aria": 13, "elegy": -12},
        {"Blues": 1},
        {},
    ]
    assert list(seen[0]) == ["Blues", "aria", "elegy"]


async def test_a_version_is_another_one_exactly_when_what_is_shown_is(house: House, keeper: Timekeeper) -> None:
    votes = [("ann", "aria", 1), ("bob", "aria", 1), ("cyd", "aria", 1), ("ann", "Blues", 1), ("bob", "elegy", -1)]
    await house.cast(*(house.vote(*vote) for vote in votes))
    seen = []
    for minute in range(300):
        await keeper.tick(NOON + minute * MINUTE)
        ranking = await house.ranking(house.songs, "all")
        seen.append((ranking.version, ranking.reference, await points(house, "trending"), await points(house, "day")))
    for before, after in pairwise(seen):
        assert (after[0] > before[0]) == (after[1:] != before[1:])
    versions = {version for version, *_ in seen}
    # It fades often, and not each time.
    assert 100 < len(versions) < 290
    # Nobody's rank is another one as time goes by: that of an hour ago stays what it is.
    assert {reference for _, reference, *_ in seen} == {0, NOON}


async def test_a_board_on_which_nothing_happens_comes_to_rest(house: House, keeper: Timekeeper) -> None:
    await house.cast(house.vote("ann", "aria", 1), house.vote("ann", "aria", 1, house.contest))
    for hours in range(4 * 24):
        await keeper.tick(MIDNIGHT + 60 * DAY + hours * HOUR)
    held = await version(house)
    for minute in range(1, 3 * 60):
        await keeper.tick(MIDNIGHT + 64 * DAY + minute * MINUTE)
    assert await version(house) == held


async def test_trends_survive_the_years(house: House, keeper: Timekeeper) -> None:
    """Doubles would overflow after a thousand half-lives: the landmark has to move."""
    for years in range(4):
        house.now = NOON + years * 365 * DAY
        agent = list(house.agents)[years]
        await house.cast(house.vote(agent, "aria", 1))
        house.now += HOUR
        await house.cast(house.vote(agent, "Blues", 1))
        await keeper.tick(house.now)
        assert await points(house, "trending") == {"Blues": 100, "aria": 89}


async def test_movement_is_counted_from_the_sample_of_an_hour_ago(house: House, keeper: Timekeeper) -> None:
    samples = Samples(house.archive)
    await house.cast(house.vote("ann", "aria", 1))
    await keeper.tick(NOON)
    await house.cast(house.vote("ann", "Blues", 1), house.vote("bob", "Blues", 1))
    await keeper.tick(NOON + MINUTE)
    references = []
    for minute in (59, 60, 61, 200):
        await keeper.tick(NOON + minute * MINUTE)
        ranking = await house.ranking(house.songs, "all")
        references.append(ranking.reference)
    assert references[:3] == [0, NOON, NOON + MINUTE]
    assert references[3] <= NOON + 140 * MINUTE
    await house.cast(house.vote("cyd", "aria", 1))
    wanted = [Sample(house.songs.number, "all", at) for at in (NOON, references[3])]
    early, latest = await samples.ranks(wanted)
    assert early == {}, "two hours are enough"
    assert (latest["Blues"], latest["aria"]) == (1, 2)


async def test_boards_are_sampled_when_they_changed(house: House, keeper: Timekeeper) -> None:
    count = "select sampled_at, count(*) from rank_samples where board_id = $1 group by 1 order by 1"
    await house.cast(house.vote("ann", "aria", 1, house.contest))
    await house.cast(house.vote("ann", "aria", None, house.contest))
    await keeper.tick(NOON)
    assert [windows for _, windows in await house.fetch(count, house.contest.number)] == [4]
    await keeper.tick(NOON + MINUTE)
    await keeper.tick(NOON + 2 * MINUTE)
    assert len(await house.fetch(count, house.contest.number)) == 1
    await house.cast(house.vote("ann", "aria", 1, house.contest))
    await keeper.tick(NOON + 3 * MINUTE)
    assert len(await house.fetch(count, house.contest.number)) == 2


async def test_the_latest_old_sample_of_a_quiet_board_is_kept(house: House, keeper: Timekeeper) -> None:
    await keeper.tick(NOON)
    await keeper.tick(NOON + 5 * HOUR)
    await keeper.tick(NOON + 10 * HOUR)
    ranking = await house.ranking(house.contest, "all")
    assert ranking.reference in {NOON, NOON + 5 * HOUR}
    (ranks,) = await Samples(house.archive).ranks([Sample(house.contest.number, "all", ranking.reference)])
    assert ranks.keys() == set(SONGS)


async def test_nothing_is_done_to_boards_that_are_being_filled(house: House, keeper: Timekeeper) -> None:
    before = await version(house)
    hold = await Hold.take(house.live, house.shard, house.known.epoch)
    await keeper.tick(MIDNIGHT + HOURS_KEPT)
    await hold.open()
    assert await version(house) == before
    assert await house.fetch("select 1 from rank_samples") == []
