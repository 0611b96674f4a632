"""Group commit over a store that breaks, goes or comes back as another: no vote is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from storage import batcher as batcher_module
from storage import live as live_module
from storage.errors import StoreUnavailable
from storage.live import LiveStore
from storage.types import Known, Row, Status, Vote
from tests.proxy import Proxy
from tests.storage.batching.voter import (
    CHANGING,
    FINAL,
    SHARD,
    Detour,
    Gated,
    changes,
    rows,
    until,
    voter,
)
from tests.storage.shard import EPOCH, Shard, opened


def rebuilding(*, rebuilt: bool = True) -> Callable[[Known | None], object]:
    """A recovery that finds the store in order at first, and then under another name."""
    epochs = iter([EPOCH, "next"])

    async def recover(known: Known | None) -> Known:
        return Known(next(epochs), 0, rebuilt=rebuilt and known is not None)

    return recover


async def test_what_a_store_refused_is_sent_to_the_rebuilt_one(shard: Shard) -> None:
    async with voter(shard.live.pipe(SHARD), recover=rebuilding()) as one:
        await until(lambda: one.batcher.available)
        await shard.live.resume(SHARD, EPOCH, "next", "")
        for agent in (1, 2):
            assert (await one.submit(Vote(FINAL, agent, "item-1", 1))).status is Status.APPLIED
    assert [event.agent for event in await shard.events()] == [1, 2]


@pytest.mark.parametrize(("rebuilt", "status"), [(False, Status.APPLIED), (True, Status.UNKNOWN)])
async def test_what_may_have_been_applied_is_not_sent_to_a_rebuilt_store(
    shard: Shard, proxy: Proxy, far: LiveStore, *, rebuilt: bool, status: Status
) -> None:
    """Its events may be in the archive already, and with them in the store."""
    async with voter(far.pipe(SHARD), recover=rebuilding(rebuilt=rebuilt)) as one:
        await one.cast(Vote(FINAL, 1, "item-1", 1))
        proxy.silence()
        under_way = one.submit(Vote(FINAL, 2, "item-1", 1))
        await shard.live.resume(SHARD, EPOCH, "next", "")
        await until(lambda: not one.batcher.available)
        proxy.resume()
        assert (await under_way).status is status
        assert (await one.submit(Vote(FINAL, 3, "item-1", 1))).status is Status.APPLIED
    assert [event.agent for event in await shard.events()] == ([1, 3] if rebuilt else [1, 2, 3])


async def test_a_reply_that_is_cut_off_is_given_again(shard: Shard, proxy: Proxy, far: LiveStore) -> None:
    """Was the batch applied? The one that comes again must not be counted twice."""
    async with voter(far.pipe(SHARD)) as one:
        await one.cast(Vote(CHANGING, 1, "item-1", 1))
        for value in (2, 3):
            proxy.cut_replies()
            votes = [Vote(CHANGING, agent, "item-1", value, 10) for agent in range(1, 101)]
            assert {outcome.status for outcome in await one.cast(*votes)} <= {Status.CHANGED, Status.APPLIED}
            await proxy.replies_cut()
    assert sorted(changes([outcome for _, outcome in one.outcomes])) == list(range(1, 202))
    assert [event.seq for event in await shard.events()] == list(range(1, 202))
    assert await rows(shard, CHANGING.number) == [Row("item-1", 1, 100 * 300, 100, 0)]


@pytest.mark.parametrize("kind", ["cut", "reset", "reply"])
async def test_no_vote_is_lost_or_doubled_over_broken_connections(
    shard: Shard, proxy: Proxy, far: LiveStore, kind: str
) -> None:
    chance = random.Random(7)
    votes = [Vote(CHANGING, chance.randrange(20), f"item-{chance.randrange(10)}", n) for n in range(3000)]
    async with voter(far.pipe(SHARD)) as one:
        answers = []
        broken = 0
        for n, vote in enumerate(votes):
            answers.append(one.submit(vote))
            if n % 30 == 0:
                await until(lambda: one.batcher.waiting < 200)
            if n % 300 == 299:
                {"cut": proxy.cut, "reset": proxy.reset, "reply": proxy.cut_replies}[kind]()
                broken += 1
        outcomes = await asyncio.gather(*answers)
    assert broken == 10
    assert {outcome.status for outcome in outcomes} == {Status.APPLIED, Status.CHANGED}
    assert changes(outcomes) == list(range(1, 3001))
    assert [(event.agent, event.value) for event in await shard.events()] == [
        (vote.agent, vote.value) for vote in votes
    ]


async def test_a_copy_that_was_held_up_on_the_way_does_not_undo_later_votes(
    shard: Shard, proxy: Proxy, far: LiveStore
) -> None:
    async with voter(Detour(far.pipe(SHARD), shard.live.pipe(SHARD))) as one:
        await one.cast(Vote(CHANGING, 1, "item-1", 1))
        proxy.silence()
        for value in (5, 9, 12):
            assert (await one.cast(Vote(CHANGING, 1, "item-1", value)))[0].status is Status.CHANGED
        proxy.resume()
        await until(lambda: not proxy.connections)
    assert await rows(shard, CHANGING.number) == [Row("item-1", 1, 1200, 1, 0)]
    assert [event.value for event in await shard.events()] == [1, 5, 9, 12]


@pytest.mark.parametrize(("give_up", "status"), [(0.1, Status.UNKNOWN), (20.0, Status.APPLIED)])
async def test_votes_are_refused_while_the_store_is_away_and_taken_when_it_is_back(
    shard: Shard, proxy: Proxy, far: LiveStore, monkeypatch: pytest.MonkeyPatch, give_up: float, status: Status
) -> None:
    monkeypatch.setattr(batcher_module, "REFUSE_AFTER", 0.2)
    monkeypatch.setattr(batcher_module, "GIVE_UP_AFTER", give_up)
    async with voter(far.pipe(SHARD)) as one:
        await one.cast(Vote(FINAL, 1, "item-1", 1))
        proxy.refuse()
        sent = one.submit(Vote(FINAL, 2, "item-1", 1))
        await until(lambda: not one.batcher.available)
        assert (await one.cast(Vote(FINAL, 3, "item-1", 1)))[0].status is Status.OVERLOADED
        await until(lambda: one.batcher.waiting == (0 if status is Status.UNKNOWN else 1))
        # Nobody waits any more, or only what may have been applied.
        proxy.accept()
        assert (await sent).status is status
        await until(lambda: one.batcher.available)
        assert (await one.cast(Vote(FINAL, 3, "item-1", 1)))[0].status is Status.APPLIED
    assert len(await shard.events()) == (2 if status is Status.UNKNOWN else 3)


async def test_a_batch_under_way_is_given_up_after_a_while_even_if_connecting_hangs(
    shard: Shard, proxy: Proxy, far: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "READ_TIMEOUT", 0.1)
    monkeypatch.setattr(batcher_module, "GIVE_UP_AFTER", 0.3)
    async with voter(far.pipe(SHARD)) as one:
        await one.cast(Vote(FINAL, 1, "item-1", 1))
        proxy.silence()
        assert (await one.cast(Vote(FINAL, 2, "item-1", 1)))[0].status is Status.UNKNOWN


async def test_votes_that_were_given_up_are_not_applied_when_they_arrive_after_all(
    shard: Shard, proxy: Proxy, far: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher_module, "GIVE_UP_AFTER", 0.0)
    async with voter(Detour(far.pipe(SHARD), shard.live.pipe(SHARD))) as one:
        await one.cast(Vote(CHANGING, 1, "item-1", 1))
        proxy.silence()
        assert (await one.cast(Vote(CHANGING, 1, "item-1", 5)))[0].status is Status.UNKNOWN
        # On another server, or in a hurry, the agent thinks better of it.
        await until(lambda: one.batcher.available)
        assert (await one.cast(Vote(CHANGING, 1, "item-1", 2)))[0].status is Status.CHANGED
        proxy.resume()
        await until(lambda: not proxy.connections)
    assert [event.value for event in await shard.events()] == [1, 2]


async def test_votes_that_were_given_up_and_had_been_counted_are_told_of(
    shard: Shard, proxy: Proxy, far: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher_module, "GIVE_UP_AFTER", 0.0)
    with capture_logs() as logs:
        async with voter(far.pipe(SHARD)) as one:
            await one.cast(Vote(FINAL, 1, "item-1", 1))
            proxy.cut_replies()
            assert (await one.cast(Vote(FINAL, 2, "item-1", 1)))[0].status is Status.UNKNOWN
            await until(lambda: one.batcher.available)
    assert len(await shard.events()) == 2
    assert [line["votes"] for line in logs if line["event"].endswith("unknown were counted")] == [1]


async def test_a_store_that_was_replaced_is_noticed_where_nobody_votes(shard: Shard) -> None:
    asked: list[Known | None] = []

    async def recover(known: Known | None) -> Known:
        asked.append(known)
        return Known(EPOCH if len(asked) == 1 else "next", 0)

    async with voter(shard.live.pipe(SHARD), recover=recover) as one:
        await until(lambda: one.batcher.available)
        await opened(shard.live, SHARD, "next", 1)
        one.batcher.check()
        await until(lambda: len(asked) == 2)
        await until(lambda: one.batcher.available)
        assert one.batcher.known == Known("next", 1)
    assert [vote for vote, _ in one.outcomes] == []


async def test_a_sender_that_misses_its_cancellation_does_not_stop_the_shard(shard: Shard) -> None:
    """As drivers do that wait with `asyncio.wait_for` up to Python 3.11."""

    class Deaf(Gated):
        async def send(self, batch: bytes) -> None:
            await super().send(batch)
            if self.sent == 3:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

    async def recover(known: Known | None) -> Known:
        return Known(EPOCH if known is None else "next", 0)

    pipe = Deaf(shard.live.pipe(SHARD))
    pipe.gate.set()
    async with voter(pipe, recover=recover) as one:
        await one.cast(Vote(FINAL, 1, "item-1", 1))
        await opened(shard.live, SHARD, "next", 1)
        # The store's refusal is read when both are sent: the second is the one whose sender does not hear.
        pipe.gate.clear()
        first = one.submit(Vote(FINAL, 2, "item-1", 1))
        await until(lambda: pipe.sent == 2)
        second = one.submit(Vote(FINAL, 3, "item-1", 1))
        await until(lambda: pipe.sent == 3)
        pipe.gate.set()
        assert {(await first).status, (await second).status} == {Status.APPLIED}


async def test_votes_are_refused_while_a_recovery_takes_its_time(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "REFUSE_AFTER", 0.05)
    done = asyncio.Event()
    asked: list[Known | None] = []

    async def recover(known: Known | None) -> Known:
        asked.append(known)
        if len(asked) > 1:
            await done.wait()
        return Known(EPOCH if len(asked) == 1 else "next", 0)

    async with voter(shard.live.pipe(SHARD), recover=recover) as one:
        await one.cast(Vote(FINAL, 1, "item-1", 1))
        await opened(shard.live, SHARD, "next", 1)
        pending = one.submit(Vote(FINAL, 2, "item-1", 1))
        await until(lambda: len(asked) == 2)
        assert not one.batcher.available
        assert (await one.cast(Vote(FINAL, 3, "item-1", 1)))[0].status is Status.OVERLOADED
        assert not pending.done()
        done.set()
        assert (await pending).status is Status.APPLIED
        await until(lambda: one.batcher.available)
    assert asked == [None, Known(EPOCH, 1)]


async def test_a_store_behind_what_other_servers_have_seen_is_recovered_first(shard: Shard) -> None:
    asked: list[Known | None] = []

    async def recover(known: Known | None) -> Known:
        asked.append(known)
        return Known(EPOCH, 0)

    async with voter(shard.live.pipe(SHARD), recover=recover) as one:
        await one.cast(Vote(FINAL, 1, "item-1", 1))
        one.batcher.observe("another", 99)
        one.batcher.observe(EPOCH, 7)
        one.batcher.observe(EPOCH, 5)
        await one.cast(Vote(FINAL, 2, "item-1", 1))
    assert asked == [None, Known(EPOCH, 7)]


async def test_a_recovery_that_fails_is_tried_again(shard: Shard) -> None:
    failures = iter([StoreUnavailable("still away"), StoreUnavailable("still away")])

    async def recover(known: Known | None) -> Known:
        for failure in failures:
            raise failure
        return Known(EPOCH, 0)

    async with voter(shard.live.pipe(SHARD), recover=recover) as one:
        assert (await one.cast(Vote(FINAL, 1, "item-1", 1)))[0].status is Status.APPLIED
