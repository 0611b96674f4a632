"""The log on its way to PostgreSQL: each event once, whoever carries it and wherever he is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from storage import flusher as flusher_module
from storage.archive import Archive
from storage.errors import ArchiveUnavailable, StaleStore
from storage.flusher import Flusher
from storage.ledger import Ledger, Overtaken
from tests.proxy import Proxy, unix_socket
from tests.storage.house import AGENTS, House, audit, votes_of_all

STEPS = ("move_position", "stage_events", "append_events", "upsert_ballots", "delete_ballots", "add_counts")
"""What a transaction does, in order."""
KILL = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and {}"
LOCKING = "pid in (select pid from pg_locks where locktype = 'advisory' and granted)"
WAITING = "wait_event_type = 'Lock' and query like '%board_items%'"


@pytest_asyncio.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(unix_socket(database_url)) as opened:
        yield opened


@pytest_asyncio.fixture
async def far(proxy: Proxy, database_url: str) -> AsyncIterator[Archive]:
    """The archive by way of the proxy."""
    parts = urlsplit(database_url)
    user = parts.netloc.rpartition("@")[0]
    async with Archive(f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}") as opened:
        yield opened


@asynccontextmanager
async def running(*flushers: Flusher) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(flusher.run()) for flusher in flushers]
    try:
        async with asyncio.timeout(20):
            yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        _, deaf = await asyncio.wait(tasks, timeout=10)
        assert not deaf


async def until_flushed(house: House, seq: int) -> None:
    """Returns when the archive has come to seq."""
    while await Ledger(house.archive).position(house.shard) < seq:
        await asyncio.sleep(0.001)


async def until_leading(flusher: Flusher, *, leading: bool = True) -> None:
    while flusher.leading != leading:
        await asyncio.sleep(0.001)


async def test_every_kind_of_event_is_carried_once(house: House) -> None:
    comment = "żółć 😀 \t\\N \\. \"';--"
    await house.cast(house.vote("ann", "aria", 1, comment=comment), house.vote("ann", "Blues", -1))
    await house.cast(*votes_of_all(house, house.contest, [-12, 0, 7, 12, 3]))
    await house.flush()
    await audit(house, 26)
    # In one transaction: cast, change and retract; retract and cast again; only retract.
    await house.cast(*[house.vote("bob", "déjà", value) for value in (1, None, -1)])
    await house.cast(*[house.vote("cyd", "aria", value, house.contest) for value in (5, None, 12, 11)])
    await house.cast(house.vote("ann", "aria", None), house.vote("dee", "fugue", 1, comment="x" * 2000))
    await house.flush()
    await audit(house, 26 + 3 + 4 + 2)
    (kept,) = await house.fetch("select comment from vote_events where seq = 1")
    assert kept == (comment,)
    (left,) = await house.fetch("select comment from votes where length(comment) = 2000")
    assert left == ("x" * 2000,)


async def test_what_is_committed_leaves_the_log(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.cast(house.vote("bob", "aria", 1))
    assert len(await house.live.log_after(house.shard, 0, 10, 0.001)) == 2
    await house.flush()
    assert await house.live.log_after(house.shard, 0, 10, 0.001) == []
    position = await house.live.position(house.shard)
    assert (position.seq, position.flushed) == (2, 2)


async def test_an_idle_flusher_has_a_vote_in_the_archive_within_a_second(house: House) -> None:
    flusher = house.flusher()
    heard: list[int] = []
    flusher._on_flush = lambda entries: heard.extend(entry.seq for entry in entries)
    async with running(flusher):
        await until_leading(flusher)
        for seq, agent in enumerate(AGENTS, 1):
            await house.cast(house.vote(agent, "aria", 1))
            async with asyncio.timeout(1):
                await until_flushed(house, seq)
            # The flusher has its answer a moment after the archive has the events.
            while len(heard) < seq:
                await asyncio.sleep(0)
    assert heard == [1, 2, 3, 4]
    await audit(house, 4)


async def test_a_flusher_that_rests_can_be_hurried(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher_module, "PAUSE", 3600.0)
    flusher = house.flusher()
    async with running(flusher):
        for seq, agent in enumerate(AGENTS, 1):
            await house.cast(house.vote(agent, "aria", 1))
            flusher.hurry()
            await until_flushed(house, seq)
    await audit(house, 4)


async def test_two_flushers_of_a_shard_take_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher_module, "_STANDBY", 0.01)
    monkeypatch.setattr(flusher_module, "_RETRY", 0.01)
    first, second = house.flusher(), house.flusher()
    async with running(first):
        await until_leading(first)
        async with running(second):
            await house.cast(house.vote("ann", "aria", 1))
            await until_flushed(house, 1)
            assert not second.leading
            # Whoever holds the lock loses its connection: the lock goes to one of them, the votes on.
            await house.execute(
                KILL.format("pid in (select pid from pg_locks where locktype = 'advisory' and granted)")
            )
            await until_leading(first, leading=False)
            await house.cast(house.vote("bob", "aria", 1))
            await until_flushed(house, 2)
    await audit(house, 2)


async def test_a_flusher_that_was_frozen_without_its_lock_repeats_nothing(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    frozen, other = house.flusher(), house.flusher()
    await frozen._resume()
    held = await house.live.log_after(house.shard, frozen.seq, 10, 0.001)
    await other.flush_all()
    with pytest.raises(Overtaken):
        await Ledger(house.archive).append(house.shard, frozen._flushed, held)
    await house.cast(house.vote("bob", "aria", 1))
    await audit(house, 1)
    await frozen.flush_all()
    await audit(house, 2)


async def test_flushers_that_race_carry_each_event_once(house: House) -> None:
    async def carry(flusher: Flusher) -> None:
        while await Ledger(house.archive).position(house.shard) < 48:
            with suppress(Overtaken):
                await flusher.flush_all()

    for vote in [*votes_of_all(house, house.contest, [1, 2, 3]), *votes_of_all(house, house.songs, [1, -1])]:
        await house.cast(vote)
    await asyncio.gather(*(carry(house.flusher()) for _ in range(3)))
    await audit(house, 48)


async def test_a_flusher_that_is_killed_in_a_transaction_repeats_and_skips_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher_module, "_RETRY", 0.01)
    flusher = house.flusher()
    await house.cast(*votes_of_all(house, house.songs, [1, -1]))
    async with house.archive.transaction() as blocking:
        # The transaction gets stuck after it has moved the position, copied the events and written the ballots.
        await blocking.execute("select from board_items for update")
        async with running(flusher):
            while not (await house.fetch(KILL.format(WAITING))):
                await asyncio.sleep(0.001)
            await blocking.execute("select 1")
            assert await Ledger(house.archive).position(house.shard) == 0
            assert await house.fetch("select 1 from vote_events") == []
    async with running(flusher):
        await until_flushed(house, 24)
    await audit(house, 24)


@pytest.mark.parametrize("step", STEPS)
async def test_a_connection_that_is_cut_in_a_transaction_repeats_and_skips_nothing(
    house: House, far: Archive, proxy: Proxy, step: str
) -> None:
    """The answer to what follows `step` is cut off; after the last one that is the answer to the commit."""
    await house.cast(*votes_of_all(house, house.songs, [1, -1]))
    done = getattr(far.queries, step)

    async def and_cut(*arguments: object, **named: object) -> object:
        answer = await done(*arguments, **named)
        proxy.cut_replies()
        return answer

    setattr(far.queries, step, and_cut)
    flusher = Flusher(house.shard, house.live, far)
    with pytest.raises(ArchiveUnavailable):
        await flusher.flush_all()
    await proxy.replies_cut()
    setattr(far.queries, step, done)
    assert await Ledger(house.archive).position(house.shard) == (24 if step == STEPS[-1] else 0)
    await house.cast(house.vote("ann", "aria", 5, house.contest))
    if step == STEPS[-1]:
        with pytest.raises(Overtaken):
            await flusher.flush()
    await flusher.flush_all()
    await audit(house, 25)


async def test_the_log_of_another_live_state_is_left_alone(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await house.cast(house.vote("bob", "aria", 1))
    flusher = house.flusher()
    flusher._flushed = await Ledger(house.archive).flushed(house.shard)
    await Ledger(house.archive).begin_epoch(house.shard, "next", house.known.epoch, lambda shard, lost: None)
    # This one has been frozen since before the other state began; that one comes fresh.
    with pytest.raises(Overtaken):
        await flusher.flush()
    with pytest.raises(StaleStore, match="next"):
        await house.flush()
    assert await house.fetch("select seq from vote_events") == [(1,)]
