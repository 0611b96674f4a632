"""Group commit over a connection that breaks: no vote lost or doubled, each answered exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from storage import batcher as batcher_module
from storage import live as live_module
from storage import waiting as waiting_module
from storage.batcher import IN_FLIGHT, Batcher, OnBatch, Pipe
from storage.errors import StoreUnavailable
from storage.live import LiveStore
from storage.scripts import ApplyReply
from storage.types import Known, Outcome, Query, Row, Status, TopView, Vote
from storage.waiting import BATCH_LIMIT
from tests.proxy import Proxy, unix_socket
from tests.storage.shard import DAY, EPOCH, NOON, Shard, board, board_items, open_shard, opened

SHARD = 3
FINAL = board(1, SHARD)
CHANGING = board(2, SHARD, ballot="points", minimum=0, maximum=10_000, ballots_change=True)
ITEMS = {f"item-{n}": n for n in range(10)}


class Gated:
    """A pipe whose answers wait until the gate is open, and that counts what is sent."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.gate = asyncio.Event()
        self.sent = 0

    async def connect(self) -> str:
        return await self._pipe.connect()

    async def close(self) -> None:
        await self._pipe.close()

    async def send(self, batch: bytes) -> None:
        await self._pipe.send(batch)
        self.sent += 1

    async def receive(self) -> ApplyReply:
        await self.gate.wait()
        return await self._pipe.receive()


class Detour:
    """A pipe that goes one way when it is first connected and another way from then on."""

    def __init__(self, first: Pipe, then: Pipe) -> None:
        self._ways = [first, then]
        self._way: Pipe | None = None

    async def connect(self) -> str:
        await self.close()
        self._way = self._ways.pop(0) if len(self._ways) > 1 else self._ways[0]
        return await self._way.connect()

    async def close(self) -> None:
        if self._way is not None:
            await self._way.close()

    async def send(self, batch: bytes) -> None:
        assert self._way is not None
        await self._way.send(batch)

    async def receive(self) -> ApplyReply:
        assert self._way is not None
        return await self._way.receive()


class Voter:
    """Submits votes to one batcher and keeps their outcomes, each of which comes once."""

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self.outcomes: list[tuple[Vote, Outcome]] = []

    def submit(self, vote: Vote) -> asyncio.Future[Outcome]:
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def reply(outcome: Outcome) -> None:
            self.outcomes.append((vote, outcome))
            answered.set_result(outcome)  # raises where there is one already

        self.batcher.submit(vote, reply)
        return answered

    async def cast(self, *votes: Vote) -> list[Outcome]:
        return list(await asyncio.gather(*map(self.submit, votes)))


async def whole(known: Known | None) -> Known:
    """A recovery that finds the store in order."""
    return Known(EPOCH, 0)


@asynccontextmanager
async def voter(
    pipe: Pipe,
    name: str = "server",
    recover: Callable[[Known | None], object] = whole,
    queue_limit: int = 50_000,
    on_batch: OnBatch = lambda outcomes, seconds: None,
) -> AsyncIterator[Voter]:
    """A running batcher."""
    batcher = Batcher(
        pipe,
        name,
        recover,  # type: ignore[arg-type]  # a coroutine function
        now=lambda: NOON,
        backlog_limit=10**6,
        queue_limit=queue_limit,
        on_batch=on_batch,
    )
    task = asyncio.create_task(batcher.run())
    try:
        async with asyncio.timeout(20):
            yield Voter(batcher)
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    """Lets others run until it holds; the test's own time-out ends it."""
    while not condition():
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def shard(redis_url: str) -> AsyncIterator[Shard]:
    async with open_shard(redis_url, number=SHARD) as opened:
        for rules in (FINAL, CHANGING):
            await opened.live.add_items(rules, board_items(ITEMS), NOON)
        yield opened


@pytest_asyncio.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(unix_socket(redis_url)) as running:
        yield running


@pytest_asyncio.fixture
async def far(shard: Shard, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveStore]:
    """The shard's store by way of the proxy. It counts as away after a fifth of a second."""
    monkeypatch.setattr(live_module, "READ_TIMEOUT", 0.2)
    async with LiveStore(f"redis://127.0.0.1:{proxy.port}", shard.live._prefix) as store:
        yield store


async def rows(shard: Shard, number: int) -> list[Row]:
    (ranking,) = await shard.live.read(SHARD, [Query(number, "all", TopView(10))])
    assert ranking is not None
    return [row for row in ranking.rows if row.points]


def changes(outcomes: list[Outcome]) -> list[int]:
    return [outcome.seq for outcome in outcomes if outcome.seq is not None]


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
