"""The archive: PostgreSQL, through asyncpg. The only module that knows the driver.

What is asked of it stands in `sql/queries/`. Times out instead of waiting for ever, and makes of the driver's
exceptions the package's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Final, Literal, Self

import aiosql
import asyncpg

from storage.errors import ArchiveUnavailable, Exists, NotMigrated, StorageError, closed_transport, hides_cancellation
from storage.tasks import end

COMMAND_TIMEOUT: Final = 30.0
PATIENCE: Final = 3600.0
"""Seconds for what reads all that there is."""

CONNECT_TIMEOUT: Final = 5.0
PARTING: Final = 1.0
"""Seconds that a server has to let a connection go: to cancel a statement, to roll back, to say goodbye."""

LULL: Final = 2.0
"""Seconds after which a connection that listens is tried, and in which it has to answer."""

CHANNEL: Final = "plaudit"
LOCK_SPACE: Final = 0x506C61  # "Pla": keeps our advisory locks apart from other programs'

# The threshold is what a search forgives: with it two letters changed places in a word of five still match.
_SESSION_SETTINGS: Final = {
    "timezone": "UTC",
    "pg_trgm.word_similarity_threshold": "0.3",
}

_NAME_LENGTH: Final = 63  # PostgreSQL cuts longer ones

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Record = asyncpg.Record

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    # The driver loses its place in the protocol where the server dies between two statements.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


@contextmanager
def _translated() -> Iterator[None]:
    outer = sys.exception()
    try:
        yield
    except Exception as error:
        if hides_cancellation(error, outer):
            raise asyncio.CancelledError from error
        ours = _ours(error)
        if ours is None:
            raise
        raise ours from error


def _ours(error: Exception) -> StorageError | None:
    match error:
        case asyncpg.UniqueViolationError():
            return Exists(error.detail or str(error))
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError():
            return NotMigrated(f"The database has another schema ({error}): run `plaudit migrate`.")
    if isinstance(error, _AWAY) or closed_transport(error):
        return ArchiveUnavailable(f"PostgreSQL does not answer: {str(error) or type(error).__name__}")
    return None


def _session_settings() -> dict[str, str]:
    """With the process by name, so that `pg_stat_activity` tells who flushes, who waits for whom, and who is there."""
    return {**_SESSION_SETTINGS, "application_name": f"plaudit {os.getpid()} {socket.gethostname()}"[:_NAME_LENGTH]}


@cache
def _load_queries() -> Any:
    """The named queries, which belong to no connection."""
    with as_file(files("sql") / "queries") as folder:
        return aiosql.from_path(folder, "asyncpg")


class Archive:
    """A pool of connections and the named queries.

    Use as an async context manager. Calls raise ArchiveUnavailable where the server is away, and Exists
    where something unique is there already.
    """

    def __init__(self, url: str, *, connections: int = 8) -> None:
        self.url = url
        self.queries: Any = _load_queries()
        self._connections = connections
        self._pool: asyncpg.Pool | None = None
        self._sessions: set[asyncpg.Connection] = set()
        self._entering: set[asyncio.Timeout] = set()
        self._given_up = False

    async def __aenter__(self) -> Self:
        with _translated():
            self._pool = await asyncpg.create_pool(
                self.url,
                # Not one more: the pool tells in tracebacks of connections that it can't hold ready.
                min_size=0,
                max_size=self._connections,
                command_timeout=COMMAND_TIMEOUT,
                timeout=CONNECT_TIMEOUT,
                server_settings=_session_settings(),
            )
            await self.ping()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), PARTING)
            except (TimeoutError, *_AWAY):
                self._pool.terminate()

    def give_up(self) -> None:
        """Breaks every connection off, without a word to a server that does not listen; there will be no others.

        Whoever waits for an answer gets ArchiveUnavailable at once. What was under way may have happened.
        """
        self._given_up = True
        now = asyncio.get_running_loop().time()
        for patience in self._entering:
            patience.reschedule(now)
        for session in list(self._sessions):
            session.terminate()
        if self._pool is not None:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool, each statement its own transaction."""
        assert self._pool is not None
        with _translated():
            async with self._patience():
                connection = await self._pool.acquire(timeout=CONNECT_TIMEOUT)
            try:
                yield connection
            except BaseException:
                await self._put_back(connection)
                raise
            await self._pool.release(connection)

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        """The time in which somebody waits for a connection, until the archive is given up."""
        if self._given_up:
            raise ArchiveUnavailable("PostgreSQL was given up")
        async with asyncio.timeout(CONNECT_TIMEOUT) as patience:
            self._entering.add(patience)
            try:
                yield
            finally:
                self._entering.discard(patience)

    async def _put_back(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        """Returns a connection to the pool after a failure, which may have left it in the middle of a statement."""
        assert self._pool is not None
        with contextlib.suppress(*_AWAY):
            if connection.is_in_transaction():
                # It could not be ended either: nobody is to find it so in the pool.
                connection.terminate()
            await self._pool.release(connection, timeout=PARTING)

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False, patient: bool = False) -> AsyncIterator[Connection]:
        """A connection inside a transaction: all that is done with it stands or nothing does.

        With `snapshot` every statement sees the archive as of the first. With `patient` a statement may take an
        hour, over a connection that nobody else waits for.
        """
        isolation: Literal["repeatable_read", "read_committed"] = "repeatable_read" if snapshot else "read_committed"
        place = self.session(PATIENCE) if patient else self.connection()
        async with place as connection:
            transaction = connection.transaction(isolation=isolation)
            try:
                await transaction.start()
                yield connection
            except BaseException:
                await _undo(connection, transaction)
                raise
            await transaction.commit()

    async def ping(self) -> None:
        """Returns when the server answers."""
        async with self.connection() as connection:
            await connection.execute("select 1", timeout=CONNECT_TIMEOUT)

    @asynccontextmanager
    async def session(self, command_timeout: float = COMMAND_TIMEOUT) -> AsyncIterator[Connection]:
        """A connection outside the pool, for locks, listening and long work, closed at the end."""
        with _translated():
            async with self._patience():
                connection = await asyncpg.connect(
                    self.url,
                    command_timeout=command_timeout,
                    timeout=CONNECT_TIMEOUT,
                    server_settings=_session_settings(),
                )
            self._sessions.add(connection)
            try:
                yield connection
            finally:
                self._sessions.discard(connection)
                await _closed(connection)

    @asynccontextmanager
    async def listen(self, heard: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:
        """Calls `heard` with each message that a server sends with `notify`, while the body runs.

        Yields an event that is set when the connection is lost, after which messages are missed.
        """
        lost = asyncio.Event()
        async with self.session() as connection:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, lambda *call: heard(str(call[3])))
            probing = asyncio.create_task(_probe(connection, lost))
            try:
                yield lost
            finally:
                await end(probing)


async def _probe(connection: Connection, lost: asyncio.Event) -> None:
    """Asks again and again whether the server is still there: nobody tells of a connection that is half open."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LULL):
                await lost.wait()
                return
        try:
            with _translated():
                await connection.execute("select 1", timeout=LULL)
        except StorageError:
            lost.set()


async def _closed(connection: Connection) -> None:
    with contextlib.suppress(*_AWAY):
        await connection.close(timeout=PARTING)


async def _undo(connection: Connection, transaction: asyncpg.transaction.Transaction) -> None:
    """Rolls back; where the server does not answer soon, breaks the connection off, which comes to the same."""
    try:
        async with asyncio.timeout(PARTING):
            await transaction.rollback()
    except BaseException as error:
        with contextlib.suppress(asyncpg.InterfaceError):  # it is gone already
            connection.terminate()
        if not isinstance(error, _AWAY):
            raise


async def try_lock(connection: Connection, purpose: int, shard: int) -> bool:
    """Takes a lock that lasts as long as the connection, if nobody holds it."""
    return bool(await connection.fetchval("select pg_try_advisory_lock($1, $2)", LOCK_SPACE + purpose, shard))


async def still_held(connection: Connection) -> None:
    """Returns where the connection is there, and with it the locks that were taken over it; raises else."""
    await connection.execute("select 1", timeout=CONNECT_TIMEOUT)


async def copy_rows(connection: Connection, table: str, rows: Iterable[bytes]) -> None:
    """Streams rows that are in the binary COPY format already, without head and tail."""

    async def stream() -> AsyncIterator[bytes]:
        yield _COPY_HEAD
        for part in rows:
            yield part
        yield _COPY_TAIL

    await connection.copy_to_table(table, source=stream(), format="binary")


# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": signature, flags, length of extension.
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"
