"""How votes enter the archive: a shard's log, in order, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from storage.archive import Archive, Connection, copy_rows
from storage.calendar import moment
from storage.live import LogEntry


class Overtaken(Exception):
    """Another process has moved the shard's position: read it again."""


class Ledger:
    """The archive's side of the log."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def position(self, shard: int) -> int:
        """The last seq that is in the archive; 0 for a new shard."""
        async with self._archive.connection() as connection:
            return await self._queries.flushed_seq(connection, shard=shard) or 0

    async def set_position(self, shard: int, seq: int) -> None:
        """Declares the shard to be at `seq`, past events that are lost for good."""
        async with self._archive.transaction() as connection:
            await self._queries.begin_position(connection, shard=shard)
            expected = await self._queries.flushed_seq(connection, shard=shard)
            await self._queries.move_position(connection, shard=shard, seq=seq, expected=expected)

    async def append(self, shard: int, after: int, entries: Sequence[LogEntry]) -> None:
        """Commits entries that follow seq `after`: events, ballots, counts and position in one transaction.

        Raises Overtaken, having changed nothing, where the position is not `after`.
        """
        queries = self._queries
        async with self._archive.transaction() as connection:
            await queries.begin_position(connection, shard=shard)
            seq = entries[-1].seq
            if await queries.move_position(connection, shard=shard, seq=seq, expected=after) != seq:
                raise Overtaken(f"shard {shard} is no longer at {after}")
            await queries.stage_events(connection)
            await copy_rows(connection, "staged_events", (entry.rows for entry in entries))
            await queries.append_events(connection)
            await queries.upsert_ballots(connection)
            await queries.delete_ballots(connection)
            await queries.add_counts(connection)

    async def ensure_partitions(self, now: int) -> None:
        """Makes the partitions of vote_events for this month and the next, where they are missing."""
        async with self._archive.transaction() as connection:
            first = moment(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            for _ in range(2):
                following = _next_month(first)
                await _make_partition(connection, first, following)
                first = following


def _next_month(first: datetime) -> datetime:
    if first.month == 12:
        return first.replace(year=first.year + 1, month=1)
    return first.replace(month=first.month + 1)


async def _make_partition(connection: Connection, first: datetime, following: datetime) -> None:
    """DDL takes no parameters; the names are made of a date alone.

    Events of the month that are in the default partition already (a clock far ahead, say) would forbid
    the new one; they are found there just as well, so then the month stays in it.
    """
    await connection.execute("select pg_advisory_xact_lock(hashtext('plaudit partitions'))")
    name = f"vote_events_{first:%Y_%m}"
    if await connection.fetchval("select to_regclass($1)", name) is not None:
        return
    stray = "select exists (select 1 from vote_events_other where at >= $1 and at < $2)"
    if await connection.fetchval(stray, first, following):
        return
    bounds = f"from ('{first.isoformat()}') to ('{following.isoformat()}')"
    await connection.execute(f"create table {name} partition of vote_events for values {bounds}")
