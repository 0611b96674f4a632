"""Clocks that are wrong: a server's that is far ahead ends no window."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from storage.batcher import Batcher
from storage.batches import pack_batch
from storage.calendar import periods_at
from storage.clock import CLOCK_LEEWAY, Clock
from storage.flusher import Flusher
from storage.live import LiveStore
from storage.timekeeper import Timekeeper
from storage.types import Known, Outcome, Status, Vote
from tests.storage.house import House
from tests.storage.shard import DAY, EPOCH, HOUR, board, board_items, open_shard

TEN_YEARS = 3652 * DAY
BOARD = board(1, 3)


async def store_time(live: LiveStore) -> int:
    seconds, _ = await live._redis.time()
    return int(seconds) * 1000


def test_a_clock_goes_by_the_store_for_a_minute() -> None:
    own, passed = 1_000_000, 50.0
    clock = Clock(lambda: own, lambda: passed)
    assert clock() == 1_000_000
    assert clock.set_back(400_000) == 600_000
    passed += 2.5
    own += 2_500
    assert clock() == 402_500
    # It was stepped back meanwhile, and is right, or late.
    own = 402_000
    assert clock() == 402_000
    own = 9_000_000
    passed += 57.5
    assert clock() == 460_000
    passed += 0.1
    assert clock() == 9_000_000


async def test_the_store_does_not_believe_a_clock_far_ahead(redis_url: str) -> None:
    async with open_shard(redis_url) as shard:
        await shard.live.add_items(BOARD, board_items({"aria": 1}), await store_time(shard.live))
        for ahead, reason in ((CLOCK_LEEWAY + 5000, "ahead"), (TEN_YEARS, "ahead"), (CLOCK_LEEWAY - 5000, "ok")):
            store = await store_time(shard.live)
            votes = [Vote(BOARD, 1, "aria", 1)]
            await shard.pipe.send(
                pack_batch("test:0", 1, shard.known, 10**6, store + ahead, votes, leeway=CLOCK_LEEWAY)
            )
            reply = await shard.pipe.receive()
            assert reply.reason == reason
            if reason == "ahead":
                assert store <= reply.seq_before <= store + 5000
                assert reply.results == []
        assert [event.seq for event in await shard.events()] == [1]


@pytest.mark.parametrize("ahead", [HOUR, TEN_YEARS])
async def test_votes_of_a_server_that_is_ahead_count_now(redis_url: str, ahead: int) -> None:
    async with open_shard(redis_url) as shard:
        await shard.live.add_items(BOARD, board_items({"aria": 1}), await store_time(shard.live))
        before = await shard.live.board_state(3, 1)
        clock = await store_time(shard.live) + ahead

        async def recover(known: Known | None) -> Known:
            return Known(EPOCH, 0)

        batcher = Batcher(
            shard.live.pipe(3), "server", recover, now=lambda: clock, backlog_limit=10**6, leeway=CLOCK_LEEWAY
        )
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        with capture_logs() as logs:
            task = asyncio.create_task(batcher.run())
            batcher.submit(Vote(BOARD, 1, "aria", 1), answered.set_result)
            async with asyncio.timeout(10):
                outcome = await answered
            task.cancel()
            await asyncio.wait({task})
        assert outcome == Outcome(Status.APPLIED, 1, 100, 1, 0)
        (told,) = [line["seconds"] for line in logs if "clock" in line["event"]]
        assert abs(told - ahead / 1000) < 10
        (event,) = await shard.events()
        assert abs(event.at - await store_time(shard.live)) < 10_000
        after = await shard.live.board_state(3, 1)
        assert before is not None
        assert after is not None
        assert after.periods <= periods_at(await store_time(shard.live))


async def test_no_other_way_into_the_store_believes_it_either(house: House, redis_url: str) -> None:
    async with LiveStore(redis_url, house.live._prefix, leeway=CLOCK_LEEWAY) as live:
        wrong = await store_time(live) + TEN_YEARS
        assert await live.bounded(wrong) < wrong - TEN_YEARS + HOUR
        assert await live.bounded(wrong - TEN_YEARS) == wrong - TEN_YEARS
        keeper = Timekeeper(Flusher(house.shard, live, house.archive), live, house.archive, lambda: wrong)
        await keeper.tick(wrong)
        await live.add_items(house.songs, board_items({"new": 99}), wrong)
        state = await live.board_state(house.shard, house.songs.number)
        assert state is not None
        assert state.periods <= periods_at(await store_time(live))
        assert state.shown_at <= await store_time(live)
