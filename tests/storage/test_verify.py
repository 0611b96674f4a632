"""The proof finds what was tampered with, wherever it was, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from storage import ledger as ledger_module
from storage.errors import StoreUnavailable
from storage.live import LiveStore
from storage.types import WINDOWS, Vote
from storage.verify import BoardReport, verify_shard
from tests.storage.house import House, votes_of_all
from tests.storage.shard import HOUR, MINUTE, NOON, emptied


async def reports(house: House) -> dict[str, BoardReport]:
    return {report.board: report for report in await verify_shard(house.live, house.archive, house.shard)}


async def found(house: House) -> list[str]:
    """Differences on the board `songs`; the others must have none."""
    by_board = await reports(house)
    songs = by_board.pop("songs")
    assert all(report.differences == () for report in by_board.values())
    return list(songs.differences)


@pytest.fixture
async def voted(house: House) -> House:
    house.now = NOON - 7 * HOUR - 11 * MINUTE
    await house.cast(*votes_of_all(house, house.songs, [1, 1, -1])[::2])
    house.now = NOON
    await house.cast(*votes_of_all(house, house.songs, [1, 1, -1]), house.vote("ann", "aria", 12, house.contest))
    await house.flush()
    return house


async def test_stores_that_agree_have_equal_digests(voted: House) -> None:
    by_board = await reports(voted)
    assert by_board.keys() == {"songs", "tools", "contest"}
    for report in by_board.values():
        assert report.differences == ()
        assert report.events_digest == report.archive_digest == report.live_digest
    assert [by_board[slug].items for slug in ("songs", "tools", "contest")] == [6, 0, 6]
    assert len({report.live_digest for report in by_board.values()}) == 3


async def test_a_count_in_the_archive(voted: House) -> None:
    change = "update board_items set {} where board_id = $1 and item_id = (select id from items where item_id = 'aria')"
    for column in ("points", "up_votes", "down_votes"):
        await voted.execute(change.format(f"{column} = {column} + 1"), voted.songs.number)
        assert [line.partition(" is ")[0] for line in await found(voted)] == ["archive: aria"]
        report = (await reports(voted))["songs"]
        assert (report.archive_digest != report.events_digest) is (column == "points")
        assert report.live_digest == report.events_digest
        await voted.execute(change.format(f"{column} = {column} - 1"), voted.songs.number)
        assert await found(voted) == []


async def test_an_event(voted: House) -> None:
    changes = ("update vote_events set points = points + 1 where seq = 3", "delete from vote_events where seq = 3")
    for change in changes:
        await voted.execute(change)
        differences = await found(voted)
        assert {line.partition(":")[0] for line in differences} == {"archive", "live"}
        report = (await reports(voted))["songs"]
        assert report.events_digest not in {report.archive_digest, report.live_digest}


async def test_an_event_that_is_there_twice(voted: House) -> None:
    await voted.execute("insert into vote_events select shard, 10 ^ 6, at, board_id, item_id, agent_id, weight, points,"
                        " value, previous from vote_events where seq = 3")  # fmt: skip
    await voted.execute("update flush_positions set seq = 10 ^ 6")
    assert any(line.startswith("archive: ") for line in await found(voted))


async def test_a_score_in_the_live_store(voted: House) -> None:
    redis: Any = voted.live._redis
    for window in WINDOWS:
        key = f"{voted.live.tag(voted.shard)}:z:{voted.songs.number}:{window}"
        await redis.zincrby(key, -1000, "fugue")
        (line,) = await found(voted)
        assert line.startswith(f"live: {window} shows fugue as ")
        await redis.zincrby(key, 1000, "fugue")
        assert await found(voted) == []


async def test_a_count_in_the_live_store(voted: House) -> None:
    redis: Any = voted.live._redis
    key = f"{voted.live.tag(voted.shard)}:i:{voted.songs.number}"
    await redis.hset(key, "fugue", await redis.hget(key, "aria"))
    assert any(line.startswith("live: all shows fugue") for line in await found(voted))


async def test_other_items_in_the_live_store(voted: House) -> None:
    await voted.execute(
        "delete from board_items where board_id = $1 and item_id = (select id from items where item_id = 'elegy')",
        voted.songs.number,
    )
    assert "live: all ranks other items than the board has" in await found(voted)


async def test_a_hundredth_is_forgiven_where_scores_decay_and_nowhere_else(voted: House) -> None:
    redis: Any = voted.live._redis
    key = f"{voted.live.tag(voted.shard)}:z:{voted.songs.number}"
    await redis.zincrby(f"{key}:trending", -0.9, "fugue")
    assert await found(voted) == []
    await redis.zincrby(f"{key}:all", -1, "fugue")
    assert len(await found(voted)) == 1


async def test_an_archive_that_stays_behind_is_said(voted: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_BEHIND", 0.05)
    await voted.cast(voted.vote("bob", "fugue", 1, voted.contest))
    with pytest.raises(StoreUnavailable, match="is a server running"):
        await reports(voted)


async def test_a_board_that_the_live_store_lacks_is_said(voted: House) -> None:
    await emptied(voted.live, voted.shard)
    with pytest.raises(StoreUnavailable, match="does not have the board 'songs'"):
        await reports(voted)


async def test_votes_may_come_in_meanwhile(voted: House) -> None:
    flushing = asyncio.create_task(voted.flusher().run())

    async def watch() -> list[dict[str, BoardReport]]:
        return [await reports(voted) for _ in range(5)]

    watching = asyncio.create_task(watch())
    value = 0
    while not watching.done():
        value = value % 12 + 1
        votes: list[Vote] = [voted.vote(agent, "déjà", value, voted.contest) for agent in voted.agents]
        await voted.cast(*votes)
    flushing.cancel()
    await asyncio.wait({flushing})
    assert [report.differences for by_board in await watching for report in by_board.values()] == [()] * 15


async def test_a_ballot_in_the_archive(voted: House) -> None:
    ballot = "where board_id = $1 and agent_id = $2 and item_id = (select id from items where item_id = 'aria')"
    place = voted.songs.number, voted.agents["bob"]
    for change in ("update votes set seq = seq + 1", "update votes set value = -value", "delete from votes"):
        await voted.execute(f"{change} {ballot}", *place)
        lines = await found(voted)
        assert lines[0].startswith(f"archive: the ballot of agent {place[1]} on aria is kept as ")
        # The live store's own ballot is another than the archive's then, too.
        assert any(line.startswith(f"live: agent {place[1]} holds ") for line in lines) is ("seq" not in change)


async def test_a_ballot_in_the_live_store(voted: House) -> None:
    key = f"{voted.live.tag(voted.shard)}:v:{voted.songs.number}:{voted.agents['bob']}"
    redis: Any = voted.live._redis
    (item, value), *_ = sorted((await redis.hgetall(key)).items())
    for change in ({item: int(value) * -1}, {b"999": 1}):
        await redis.hset(key, mapping=change)
        lines = await found(voted)
        assert [line.partition(" on ")[0] for line in lines] == [
            f"live: agent {voted.agents['bob']} holds ({next(iter(change.values()))}, 100)"
        ]
        await redis.hdel(key, *change)
        await redis.hset(key, item, value)
    assert await found(voted) == []
    await redis.delete(key)
    assert len(await found(voted)) == 6


async def test_ballots_that_change_meanwhile_are_no_difference(voted: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ballots = LiveStore.ballots
    votes = iter([voted.vote("ann", "aria", 3, voted.contest), voted.vote("ann", "aria", 4, voted.contest)])

    async def between(live: LiveStore, shard: int, board: int, agents: list[int]) -> object:
        if board == voted.contest.number and (vote := next(votes, None)) is not None:
            await voted.cast(vote)
            await voted.flush()
        return await ballots(live, shard, board, agents)

    monkeypatch.setattr(LiveStore, "ballots", between)
    assert (await reports(voted))["contest"].differences == ()
    assert next(votes, None) is None
