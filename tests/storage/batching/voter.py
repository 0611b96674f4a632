"""Agents in front of one batcher, and ways to the live store that can be stopped or changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from storage.batcher import Batcher, OnBatch, Pipe
from storage.scripts import ApplyReply
from storage.types import Known, Outcome, Query, Row, TopView, Vote
from tests.storage.shard import EPOCH, NOON, Shard, board

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


async def rows(shard: Shard, number: int) -> list[Row]:
    (ranking,) = await shard.live.read(SHARD, [Query(number, "all", TopView(10))])
    assert ranking is not None
    return [row for row in ranking.rows if row.points]


def changes(outcomes: list[Outcome]) -> list[int]:
    return [outcome.seq for outcome in outcomes if outcome.seq is not None]
