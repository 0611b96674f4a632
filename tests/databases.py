"""Databases for tests: migrated, empty, one for each test, and none made anew that can be had cheaper."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, Self
from uuid import uuid4

import asyncpg

from storage.migrations import migrate

_TEMPLATE: Final = "template"
_AHEAD: Final = 2

_OTHERS: Final = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""
_TABLES: Final = "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations'"
_SEQUENCES: Final = """
select setval(format('%I.%I', schemaname, sequencename), start_value, false) from pg_sequences
where schemaname = 'public' and last_value is not null
"""
_SHAPE: Final = """
select c.relname, c.oid, a.attname, a.atttypid, a.attnotnull
from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
where c.relnamespace = (select oid from pg_namespace where nspname = 'public')
order by 1, 3
"""
_MIGRATIONS: Final = "select version from schema_migrations order by 1"


class Databases:
    """Databases of a server, used by one test after the other.

    To copy the template takes longer than most tests do, and to empty what a test leaves a hundredth of it. Both
    are done beside the tests. A database whose schema was changed is not used again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._worker = ThreadPoolExecutor(1)
        self._ready: deque[Future[str]] = deque()
        self._pristine: list[object] = []

    async def __aenter__(self) -> Self:
        await _execute(self._url, f"create database {_TEMPLATE}")
        template = named(self._url, _TEMPLATE)
        await migrate(template)
        connection = await asyncpg.connect(template)
        try:
            self._pristine = await _shape(connection)
        finally:
            await connection.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._worker.shutdown(cancel_futures=True)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[str]:
        """The address of a database that nobody else has."""
        while len(self._ready) < _AHEAD:
            self._ready.append(self._worker.submit(lambda: asyncio.run(self._made())))
        name = await asyncio.wrap_future(self._ready.popleft())
        try:
            yield named(self._url, name)
        finally:
            self._ready.append(self._worker.submit(lambda: asyncio.run(self._again(name))))

    async def _made(self) -> str:
        name = f"test_{uuid4().hex}"
        await _execute(self._url, f"create database {name} template {_TEMPLATE}")
        return name

    async def _again(self, name: str) -> str:
        """The same database without anything in it, or another one."""
        connection = await asyncpg.connect(named(self._url, name))
        try:
            emptied = await self._empty(connection)
        finally:
            await connection.close()
        if emptied:
            return name
        await _execute(self._url, f"drop database {name} with (force)")
        return await self._made()

    async def _empty(self, connection: asyncpg.Connection) -> bool:
        """Takes everything out that a test put in; answers whether the schema is the template's again."""
        await connection.execute(_OTHERS)
        known = {row[0] for row in self._pristine}  # type: ignore[index]  # tuples
        tables = [row[0] for row in await connection.fetch(_TABLES)]
        for table in tables:
            if table not in known:  # a month's partition, mostly
                await connection.execute(f'drop table if exists "{table}" cascade')
        if await _shape(connection) != self._pristine:
            return False
        emptying = "; ".join(f'delete from "{table}"' for table in tables if table in known)  # noqa: S608  # our own
        # As a replica does: without a look at what refers to what.
        await connection.execute(f"set session_replication_role = replica; {emptying}")
        await connection.execute(_SEQUENCES)
        return True


async def _shape(connection: asyncpg.Connection) -> list[object]:
    """What a schema is made of; a copy's objects have the template's numbers, those made anew have others."""
    try:
        rows = [*await connection.fetch(_SHAPE), *await connection.fetch(_MIGRATIONS)]
    except asyncpg.UndefinedTableError:
        return []
    return [tuple(row) for row in rows]


def named(url: str, name: str) -> str:
    """The address of another database of the same server."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
