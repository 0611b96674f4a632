"""Connections that were lost while nobody looked, under the event loop that servers run on."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest
import uvloop
from structlog.testing import capture_logs

from storage import archive as archive_module
from storage.archive import Archive, Connection
from storage.errors import ArchiveUnavailable
from storage.live import LiveStore
from storage.types import Known
from tests.proxy import Proxy, unix_socket
from tests.storage.house import House
from tests.storage.shard import emptied


def test_a_pooled_connection_that_was_reset_is_made_again(redis_url: str, prefix: str) -> None:
    async def scenario() -> list[int]:
        async with (
            Proxy(unix_socket(redis_url)) as proxy,
            LiveStore(f"redis://127.0.0.1:{proxy.port}", prefix) as live,
        ):
            counts = []
            for break_off in (proxy.reset, proxy.cut):
                await asyncio.gather(*(live.quota_used(0, 1, 1) for _ in range(5)))
                counts.append(proxy.connections)
                break_off()
                await _until(lambda: not proxy.connections)
                # As many as were in the pool, so that each of them is tried.
                await asyncio.gather(*(live.quota_used(0, 1, 1) for _ in range(5)))
            return counts

    assert min(uvloop.run(scenario())) > 1


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.DiskFullError("no space left on device"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
)
async def test_what_passes_by_itself_counts_as_away(error: Exception) -> None:
    with pytest.raises(ArchiveUnavailable), archive_module._translated():
        raise error


async def test_a_bug_does_not_count_as_away() -> None:
    with pytest.raises(RuntimeError), archive_module._translated():
        raise RuntimeError("a bug")


async def test_what_reads_all_that_there_is_may_take_longer(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "COMMAND_TIMEOUT", 0.05)
    slow = "select count(*) from generate_series(1, 3000000)"
    async with Archive(database_url) as archive:
        with pytest.raises(ArchiveUnavailable):
            async with archive.transaction() as connection:
                await connection.fetchval(slow)
        async with archive.transaction(patient=True) as connection:
            assert await connection.fetchval(slow) == 3_000_000


async def test_only_events_that_the_archive_does_not_get_are_told_as_lost(house: House, database_url: str) -> None:
    """A flusher may be in the middle of its transaction when the live store is found empty."""
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await house.cast(house.vote("bob", "aria", 1))
    blocker = await asyncpg.connect(database_url)
    await blocker.execute("begin; lock table votes in exclusive mode")
    flushing = asyncio.create_task(house.flusher().flush_all())
    await _asking(house.archive, "select 1 from pg_stat_activity where wait_event_type = 'Lock'")
    await emptied(house.live, house.shard)
    with capture_logs() as logs:
        recovering = asyncio.create_task(house.recovery.ensure(house.shard, Known(house.known.epoch, 5)))
        await _asking(house.archive, "select 1 from pg_stat_activity where query like '%for update%' "
                      "and wait_event_type = 'Lock'")  # fmt: skip
        await blocker.close()
        known = await recovering
    await asyncio.gather(flushing, return_exceptions=True)
    assert [line["lost"] for line in logs if line["log_level"] == "error"] == [3]
    assert known.floor == 5
    assert [row[0] for row in await house.fetch("select seq from vote_events order by seq")] == [1, 2]


async def _asking(archive: Archive, question: str) -> None:
    """Returns when the answer has a row that is not about the question itself."""
    async with asyncio.timeout(10):
        while True:
            async with archive.connection() as connection:
                if await connection.fetchval(
                    f"{question} and pid <> pg_backend_pid() and datname = current_database()"
                ):
                    return


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_nobody_waits_for_long_after_giving_up_on_a_silent_server(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "PARTING", 0.1)
    async with Proxy(unix_socket(database_url)) as proxy, Archive(_through(proxy, database_url)) as far:

        async def ask() -> None:
            async with far.connection() as connection:
                await connection.fetchval("select 1")

        async def change() -> None:
            async with far.transaction() as connection:
                await connection.fetchval("select 1")
                proxy.silence()
                await connection.fetchval("select 2")

        async def hold() -> None:
            async with far.session() as connection:
                proxy.silence()
                await connection.fetchval("select 1")

        await ask()
        for work in (change, ask, hold):
            task = asyncio.create_task(work())
            await asyncio.wait({task}, timeout=0.05)
            # Once, as a time limit does: nobody is to wait for the server's word on that, nor on a rollback.
            task.cancel()
            _, waiting = await asyncio.wait({task}, timeout=2)
            assert not waiting
            assert task.cancelled()
            proxy.resume()
            await ask()
            proxy.silence()
        proxy.resume()


async def test_an_archive_that_was_given_up_lets_everybody_go(database_url: str) -> None:
    async with Proxy(unix_socket(database_url)) as proxy, Archive(_through(proxy, database_url)) as far:

        async def ask(place: AbstractAsyncContextManager[Connection]) -> None:
            async with place as connection:
                holding.release()
                await silent.wait()
                await connection.fetchval("select 1")

        holding, silent = asyncio.Semaphore(0), asyncio.Event()
        asking = [asyncio.create_task(ask(place)) for place in (far.connection(), far.transaction(), far.session())]
        for _ in asking:
            await holding.acquire()
        proxy.silence()
        silent.set()
        # The last two are not even connected.
        asking += [asyncio.create_task(ask(place)) for place in (far.connection(), far.session())]
        await asyncio.wait(asking, timeout=0.05)
        far.give_up()
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ArchiveUnavailable] * 5
        proxy.resume()
        for place in (far.connection(), far.session()):
            with pytest.raises(ArchiveUnavailable):
                await ask(place)


def _through(proxy: Proxy, database_url: str) -> str:
    """The database's address by way of a proxy."""
    database = database_url.partition("?")[0].rpartition("/")[2]
    return f"postgresql://plaudit@127.0.0.1:{proxy.port}/{database}"


async def test_a_half_open_connection_that_listens_is_noticed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "LULL", 0.2)
    async with (
        Proxy(unix_socket(database_url)) as proxy,
        Archive(_through(proxy, database_url)) as far,
        asyncio.timeout(20),
        far.listen(lambda text: None) as lost,
    ):
        proxy.silence()
        await lost.wait()
        proxy.resume()
