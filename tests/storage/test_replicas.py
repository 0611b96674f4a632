"""Votes that are acknowledged when replicas have them, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from storage import pipe as pipe_module
from storage.batcher import Batcher
from storage.batches import outcomes_of, pack_batch
from storage.errors import StoreUnavailable
from storage.live import LiveStore
from storage.types import Known, Outcome, Status, Vote
from tests.proxy import Proxy
from tests.replica import Replica, configure, follow, promote, told
from tests.storage.shard import EPOCH, NOON, board, board_items, opened

BOARD = board(1, 3)
VOTE = Vote(BOARD, 1, "aria", 1)


class Pair:
    """A primary with a shard that takes votes, and a replica behind a line that can be cut."""

    def __init__(self, live: LiveStore, primary: Replica, replica: Replica, line: Proxy) -> None:
        self.live = live
        self.primary = primary
        self.replica = replica
        self.line = line
        self.recovered: list[Known | None] = []

    async def recover(self, known: Known | None) -> Known:
        self.recovered.append(known)
        position, run = await self.live.survey(3)
        return Known(EPOCH, position.seq, run)

    @asynccontextmanager
    async def batcher(self, replicas: int = 1) -> AsyncIterator[Batcher]:
        pipe = self.live.pipe(3, replicas)
        batcher = Batcher(pipe, "server", self.recover, now=lambda: NOON, backlog_limit=10**6, replicas=replicas)
        task = asyncio.create_task(batcher.run())
        try:
            async with asyncio.timeout(20):
                yield batcher
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest_asyncio.fixture
async def pair(short_folder: Path, prefix: str) -> AsyncIterator[Pair]:
    async with (
        Replica(short_folder / "primary") as primary,
        Replica(short_folder / "replica") as replica,
        Proxy(("127.0.0.1", primary.port)) as line,
        LiveStore(primary.url, prefix) as live,
    ):
        await opened(live, 3)
        await live.add_items(BOARD, board_items({"aria": 1}), NOON)
        await follow(replica.url, primary.url, line.port)
        yield Pair(live, primary, replica, line)


async def cast(batcher: Batcher, vote: Vote = VOTE) -> Outcome:
    answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    batcher.submit(vote, answered.set_result)
    return await answered


async def test_what_is_acknowledged_survives_the_primary(pair: Pair, prefix: str) -> None:
    async with pair.batcher() as batcher:
        assert (await cast(batcher)).status == Status.APPLIED
        assert batcher.known is not None
        assert batcher.known.acknowledged == 1
        pair.primary.kill()
        await promote(pair.replica.url)
    async with LiveStore(pair.replica.url, prefix) as other:
        assert (await other.position(3)).seq == 1
        assert await other.ballots(3, 1, [1]) == [{1: (1, 100)}]


async def test_without_a_replica_nobody_is_told_that_a_vote_counts(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe_module, "CONFIRMED_WITHIN", 0.05)
    async with pair.batcher() as batcher:
        with capture_logs() as logs:
            pair.line.refuse()
            assert (await cast(batcher)).status == Status.UNKNOWN
            assert not batcher.available
            assert batcher.known is not None
            assert (batcher.known.floor, batcher.known.acknowledged) == (1, 0)
            assert (await cast(batcher)).status == Status.UNKNOWN
            pair.line.accept()
            # Without anybody voting it finds out.
            while not batcher.available:
                await asyncio.sleep(0)
        assert [line["log_level"] for line in logs if "replicas" in line["event"]] == ["error", "info"]
        # It was counted, and the same again is not.
        assert await cast(batcher) == Outcome(Status.UNCHANGED, None, 100, 1, 0)
        assert batcher.known.acknowledged == 1


async def test_a_batch_that_is_sent_again_waits_for_replicas_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was applied over a connection that broke is not taken for confirmed because the new one wrote nothing."""
    monkeypatch.setattr(pipe_module, "CONFIRMED_WITHIN", 0.05)
    pipe = pair.live.pipe(3, 1)
    batch = pack_batch("server:0", 1, Known(EPOCH, 0), 10**6, NOON, [VOTE])
    pair.line.silence()
    confirmed = []
    for _ in range(3):
        await pipe.connect()
        await pipe.send(batch)
        reply = await pipe.receive()
        assert [outcome.status for outcome in outcomes_of(reply)] == [Status.APPLIED]
        confirmed.append(reply.confirmed)
        if len(confirmed) == 2:
            pair.line.resume()
            monkeypatch.setattr(pipe_module, "CONFIRMED_WITHIN", 10.0)
    assert confirmed == [False, False, True]
    await pipe.close()


async def test_a_store_that_is_a_replica_takes_no_votes(pair: Pair, prefix: str) -> None:
    async with LiveStore(pair.replica.url, prefix) as other:
        with pytest.raises(Exception, match="is a replica"):
            await other.pipe(3).connect()
        with pytest.raises(Exception, match="is a replica"):
            await other.survey(3)


async def test_a_store_that_wants_more_replicas_than_it_has_is_away(pair: Pair) -> None:
    """`min-replicas-to-write`: it refuses to write, and changes nothing."""
    async with pair.batcher() as batcher:
        assert (await cast(batcher)).status == Status.APPLIED
        await configure(pair.primary.url, "min-replicas-to-write", "2")
        with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
            await pair.live.add_items(BOARD, board_items({"blues": 2}), NOON)
        vote = Vote(BOARD, 2, "aria", 1)
        casting = asyncio.create_task(cast(batcher, vote))
        while batcher.available:
            await asyncio.sleep(0)
        assert (await pair.live.position(3)).seq == 1
        await configure(pair.primary.url, "min-replicas-to-write", "1")
        assert (await casting).status == Status.APPLIED
        assert (await pair.live.position(3)).seq == 2


async def test_another_life_of_the_store_is_looked_into_before_votes_go_to_it(pair: Pair, prefix: str) -> None:
    async with (
        Proxy(("127.0.0.1", pair.primary.port)) as way,
        LiveStore(f"redis://127.0.0.1:{way.port}", prefix) as pair.live,
        pair.batcher(replicas=0) as batcher,
    ):
        assert (await cast(batcher)).status == Status.APPLIED
        way.reset()
        assert (await cast(batcher)).status == Status.UNCHANGED
        assert pair.recovered == [None]
        await told(pair.replica.url, lambda info: info["slave_repl_offset"] > 0)
        await promote(pair.replica.url)
        way.upstream = "127.0.0.1", pair.replica.port
        way.reset()
        assert (await cast(batcher)).status in {Status.APPLIED, Status.UNCHANGED}
        (_, before) = pair.recovered
        assert before is not None
        assert batcher.known is not None
        assert before.run != batcher.known.run
