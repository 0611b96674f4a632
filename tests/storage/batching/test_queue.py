"""Group commit: what waits becomes the next batch, and each vote is answered exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from storage import batcher as batcher_module
from storage import waiting as waiting_module
from storage.batcher import IN_FLIGHT
from storage.live import LiveStore
from storage.types import Outcome, Row, Status, Vote
from storage.waiting import BATCH_LIMIT
from tests.proxy import Proxy
from tests.storage.batching.voter import (
    CHANGING,
    FINAL,
    ITEMS,
    SHARD,
    Gated,
    Voter,
    changes,
    rows,
    until,
    voter,
)
from tests.storage.shard import DAY, NOON, Shard


async def test_what_comes_while_two_batches_are_under_way_is_the_next_one(shard: Shard) -> None:
    pipe = Gated(shard.live.pipe(SHARD))
    async with voter(pipe) as one:
        answers = []
        for wanted, agents in ((1, [1]), (2, [2]), (2, range(3, 500))):
            answers += [one.submit(Vote(CHANGING, agent, "item-1", agent)) for agent in agents]
            await until(lambda wanted=wanted: pipe.sent == wanted)  # type: ignore[misc]  # binds what is wanted
        assert one.batcher.waiting == 499
        pipe.gate.set()
        assert changes(await asyncio.gather(*answers)) == list(range(1, 500))
    assert pipe.sent == 3
    assert [event.agent for event in await shard.events()] == list(range(1, 500))


async def test_a_batch_has_a_limit_and_knows_how_long_its_oldest_vote_waited(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    clock = SimpleNamespace(monotonic=lambda: passed)
    monkeypatch.setattr(batcher_module, "time", clock)
    monkeypatch.setattr(waiting_module, "time", clock)
    pipe = Gated(shard.live.pipe(SHARD))
    heard: list[tuple[int, float]] = []
    async with voter(pipe, on_batch=lambda outcomes, seconds: heard.append((len(outcomes), seconds))) as one:
        answers = []
        for second, count in enumerate((BATCH_LIMIT, BATCH_LIMIT - 5, 10)):
            passed = float(second)
            answers += [one.submit(Vote(FINAL, second * 5000 + n, "item-1", 1)) for n in range(count)]
        passed = 10.0
        pipe.gate.set()
        assert changes(await asyncio.gather(*answers)) == list(range(1, 2 * BATCH_LIMIT + 6))
        await one.cast(Vote(FINAL, 1, "item-2", 1))
    assert heard == [(BATCH_LIMIT, 10.0), (BATCH_LIMIT, 9.0), (5, 8.0), (1, 0.0)]


async def test_a_queue_has_a_limit(shard: Shard) -> None:
    pipe = Gated(shard.live.pipe(SHARD))
    async with voter(pipe, queue_limit=7) as one:
        answers = [one.submit(Vote(FINAL, agent, "item-1", 1)) for agent in range(10)]
        assert [answer.done() for answer in answers] == [False] * 7 + [True] * 3
        pipe.gate.set()
        statuses = [outcome.status for outcome in await asyncio.gather(*answers)]
    assert statuses == [Status.APPLIED] * 7 + [Status.OVERLOADED] * 3


async def test_at_an_end_what_was_sent_gets_its_outcome_and_the_rest_is_refused(shard: Shard) -> None:
    pipe = Gated(shard.live.pipe(SHARD))
    async with voter(pipe) as one:
        sent = []
        for batch in range(IN_FLIGHT):
            sent.append(one.submit(Vote(FINAL, batch, "item-1", 1)))
            await until(lambda: pipe.sent == len(sent))
        late = one.submit(Vote(FINAL, 10, "item-1", 1))
        one.batcher.close()
        latest = one.submit(Vote(FINAL, 11, "item-1", 1))
        assert [(await refused).status for refused in (late, latest)] == [Status.OVERLOADED] * 2
        assert not any(answer.done() for answer in sent)
        pipe.gate.set()
        await one.batcher.drain()
        assert [answer.result().status for answer in sent] == [Status.APPLIED] * IN_FLIGHT
        assert (await one.submit(Vote(FINAL, 12, "item-1", 1))).status is Status.OVERLOADED


async def test_who_finds_a_crowd_waits_outside_and_comes_in_by_turns(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "CROWDED", 20)
    monkeypatch.setattr(waiting_module, "TURN", 4)
    pipe = Gated(shard.live.pipe(SHARD))
    most = came = 0

    async def bring(one: Voter, who: int, count: int) -> list[Outcome]:
        nonlocal most, came
        answers = []
        for n in range(1, count + 1):
            came += 1
            answers.append(one.submit(Vote(CHANGING, who, "item-1", n)))
            most = max(most, len(one.batcher._votes))
            if one.batcher.is_crowded(n):
                await one.batcher.room()
        return await asyncio.gather(*answers)

    async with voter(pipe) as one:
        greedy = [asyncio.create_task(bring(one, who, 100)) for who in (1, 2, 3)]
        # More than there is room for, and with nothing more to say: they must not bar the way.
        brief = [asyncio.create_task(bring(one, who, 1)) for who in range(4, 60)]
        leaver = asyncio.create_task(bring(one, 60, 100))
        await until(lambda: came >= 60)
        leaver.cancel()
        pipe.gate.set()
        outcomes = [outcome for brought in await asyncio.gather(*greedy, *brief) for outcome in brought]
    assert {outcome.status for outcome in outcomes} == {Status.APPLIED, Status.CHANGED}
    assert len(outcomes) == 3 * 100 + 56
    # Everybody comes with one vote before finding out.
    assert most <= 20 + 60


async def test_no_more_are_let_in_than_there_is_room_for(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "CROWDED", 96)
    monkeypatch.setattr(waiting_module, "BATCH_LIMIT", 50)
    most = 0

    async def come(one: Voter, who: int, votes: int) -> None:
        nonlocal most
        await one.batcher.room()
        answers = [one.submit(Vote(CHANGING, who, "item-1", n)) for n in range(votes)]
        most = max(most, len(one.batcher._votes))
        await asyncio.gather(*answers)

    pipe = Gated(shard.live.pipe(SHARD))
    async with voter(pipe) as one:
        early = [one.submit(Vote(CHANGING, 1, "item-1", n)) for n in range(100 + 96)]
        # Some have nothing to bring once they are in.
        coming = [asyncio.create_task(come(one, who, 0 if who % 2 else waiting_module.TURN)) for who in range(400)]
        await until(lambda: len(one.batcher._votes._outside) == 400)
        pipe.gate.set()
        await asyncio.gather(*early, *coming)
    assert 0 < most <= 96


async def test_nobody_waits_outside_while_votes_are_refused(
    shard: Shard, proxy: Proxy, far: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "CROWDED", 3)
    monkeypatch.setattr(waiting_module, "TURN", 1)
    monkeypatch.setattr(batcher_module, "REFUSE_AFTER", 0.3)
    async with voter(far.pipe(SHARD)) as one:
        await one.cast(Vote(CHANGING, 1, "item-1", 1))
        proxy.refuse()
        answers = [one.submit(Vote(CHANGING, 1, "item-1", n)) for n in range(10)]
        await until(lambda: not one.batcher.available)
        answers += [one.submit(Vote(CHANGING, 1, "item-1", n)) for n in range(10)]
        assert one.batcher.is_crowded(1)
        await asyncio.gather(*(one.batcher.room() for _ in range(50)))
        assert not one.batcher.is_crowded(1)
        assert all(answer.done() for answer in answers[10:])
        proxy.accept()


async def test_whoever_still_waits_at_the_end_is_refused(shard: Shard) -> None:
    pipe = Gated(shard.live.pipe(SHARD))
    async with voter(pipe) as one:
        answers = [one.submit(Vote(FINAL, agent, "item-1", 1)) for agent in range(2 * BATCH_LIMIT + 1)]
        await until(lambda: pipe.sent == 2)
    # Those that were sent may have been applied.
    assert Counter(answer.result().status for answer in answers) == {
        Status.UNKNOWN: 2 * BATCH_LIMIT,
        Status.OVERLOADED: 1,
    }
    assert one.batcher.waiting == 0


async def test_draining_ends_with_the_last_answer(shard: Shard) -> None:
    pipe = Gated(shard.live.pipe(SHARD))
    async with voter(pipe) as one:
        answers = [one.submit(Vote(FINAL, agent, "item-1", 1)) for agent in range(3000)]
        draining = asyncio.create_task(one.batcher.drain())
        await until(lambda: pipe.sent == 2)
        assert not draining.done()
        pipe.gate.set()
        await draining
        assert all(answer.done() for answer in answers)


async def test_a_hundred_of_one_agent_on_one_item_at_once_give_one_vote(shard: Shard) -> None:
    async with voter(shard.live.pipe(SHARD), "one") as one, voter(shard.live.pipe(SHARD), "two") as two:
        votes = [Vote(FINAL, 1, "item-1", 1, 100) for _ in range(50)]
        outcomes = [outcome for part in await asyncio.gather(one.cast(*votes), two.cast(*votes)) for outcome in part]
    assert Counter(outcome.status for outcome in outcomes) == {Status.APPLIED: 1, Status.UNCHANGED: 99}
    assert {outcome.quota for outcome in outcomes} == {99}
    assert await rows(shard, FINAL.number) == [Row("item-1", 1, 100, 1, 0)]


async def test_a_hundred_at_once_against_a_limit_of_five_get_five(shard: Shard) -> None:
    async with voter(shard.live.pipe(SHARD), "one") as one, voter(shard.live.pipe(SHARD), "two") as two:
        votes = [Vote(rules, 1, item, 1, 5) for rules in (FINAL, CHANGING) for item in ITEMS]
        asked = [who.submit(vote) for _ in range(5) for who, vote in zip([one, two] * 10, votes, strict=True)]
        outcomes = await asyncio.gather(*asked)
    counts = Counter(outcome.status for outcome in outcomes)
    assert (counts[Status.APPLIED], counts.total()) == (5, 100)
    assert counts.keys() == {Status.APPLIED, Status.UNCHANGED, Status.QUOTA_EXCEEDED}
    assert sorted(outcome.quota or 0 for outcome in outcomes if outcome.status is Status.APPLIED) == [0, 1, 2, 3, 4]
    assert await shard.live.quota_used(SHARD, NOON // DAY, 1) == 5
