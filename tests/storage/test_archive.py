"""The edge to PostgreSQL: its errors are ours, and being told to stop is never mistaken for one of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from storage.archive import Archive
from storage.errors import ArchiveUnavailable, Exists, NotMigrated

KILL = """
select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""


async def kill_others(archive: Archive) -> None:
    async with archive.session() as session:
        await session.execute(KILL)


async def lose_connection(archive: Archive) -> None:
    async with archive.transaction() as connection:
        await kill_others(archive)
        await connection.execute("select 1")


async def test_a_lost_connection_is_one_of_our_errors_and_the_next_one_works(archive: Archive) -> None:
    with pytest.raises(ArchiveUnavailable):
        await lose_connection(archive)
    await archive.ping()


async def test_stopping_is_not_hidden_by_what_breaks_on_the_way_out(archive: Archive) -> None:
    """A task whose connection is lost just when it is cancelled would else go on, and its owner wait for ever."""
    inside = asyncio.Event()

    async def work() -> None:
        try:
            async with archive.transaction():
                await kill_others(archive)
                inside.set()
                await asyncio.Event().wait()
        except ArchiveUnavailable:
            pytest.fail("the task goes on")

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_whoever_cleans_up_after_being_stopped_still_hears_of_errors(archive: Archive) -> None:
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(ArchiveUnavailable):
                await lose_connection(archive)
            stopped.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert stopped.is_set()
    assert task.cancelled()


async def test_each_error_of_the_driver_has_its_own(archive: Archive) -> None:
    add = "insert into tenants (slug, shard) values ('one', 0)"
    async with archive.connection() as connection:
        await connection.execute(add)
    with pytest.raises(Exists):
        async with archive.connection() as connection:
            await connection.execute(add)
    with pytest.raises(NotMigrated, match="plaudit migrate"):
        async with archive.connection() as connection:
            await connection.execute("select * from no_such_table")


async def test_what_is_done_in_a_transaction_that_fails_is_undone(archive: Archive) -> None:
    async def fail() -> None:
        async with archive.transaction() as connection:
            await connection.execute("insert into tenants (slug, shard) values ('one', 0)")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with archive.connection() as connection:
        assert await connection.fetchval("select count(*) from tenants") == 0


async def test_a_transaction_that_was_left_open_goes_with_its_connection(archive: Archive) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    backend = "select pg_backend_pid()"
    left = 0
    with suppress(ValueError):
        async with archive.connection() as connection:
            left = await connection.fetchval(backend)
            await connection.execute("begin")
            raise ValueError
    async with archive.connection() as connection:
        assert await connection.fetchval(backend) != left
        assert not connection.is_in_transaction()
    assert said == []
