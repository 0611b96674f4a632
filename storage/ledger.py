"""How votes enter the archive: a shard's log, in order, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from storage.archive import Archive, Connection, copy_rows
from storage.calendar import milliseconds, moment
from storage.errors import StaleStore
from storage.live import LogEntry


class Overtaken(Exception):
    """Another process has moved the shard's position: read it again."""


class Flushed(NamedTuple):
    """The live state that a shard's log is read from, and the last of its events that is in the archive.

    A new shard has none of either: an empty epoch, and 0.
    """

    epoch: str
    seq: int


class Ledger:
    """The archive's side of the log."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def position(self, shard: int) -> int:
        """The last seq that is in the archive; 0 for a new shard."""
        return (await self.flushed(shard)).seq

    async def flushed(self, shard: int) -> Flushed:
        """How far the shard's log is in the archive."""
        async with self._archive.connection() as connection:
            row = await self._queries.flush_position(connection, shard=shard)
        return Flushed("", 0) if row is None else Flushed(*row)

    async def last_event_at(self, shard: int) -> int:
        """When the shard's last event happened, ms; 0 where there is none."""
        async with self._archive.connection() as connection:
            at = await self._queries.last_event_at(connection, shard=shard)
        return 0 if at is None else milliseconds(at)

    async def begin_epoch(self, shard: int, epoch: str, seq: int) -> int:
        """Lets the shard go on in a new live state; from then on nothing of an earlier one is taken.

        Answers where: at `seq` (past events that are lost for good) or, where the archive has come further, there.
        """
        async with self._archive.connection() as connection:
            begun: int = await self._queries.begin_epoch(connection, shard=shard, epoch=epoch, seq=seq)
            return begun

    async def append(self, shard: int, after: Flushed, entries: Sequence[LogEntry]) -> None:
        """Commits entries that follow `after`: events, ballots, counts and position in one transaction.

        Raises Overtaken, having changed nothing, where the position is not `after`, and StaleStore where the
        entries do not begin right after it.
        """
        _check_order(shard, after.seq, entries)
        queries = self._queries
        async with self._archive.transaction() as connection:
            seq = entries[-1].seq
            moved = await queries.move_position(connection, shard=shard, epoch=after.epoch, seq=seq, expected=after.seq)
            if moved is None:
                raise Overtaken(f"shard {shard} is no longer at {after.seq} of {after.epoch}")
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


def _check_order(shard: int, seq: int, entries: Sequence[LogEntry]) -> None:
    """A hole, or events that were numbered twice, would be lost in the archive for ever: better to stop."""
    for entry in entries:
        if entry.first != seq + 1:
            raise StaleStore(f"the log of shard {shard} goes on at {entry.first}, the archive is at {seq}")
        seq = entry.seq


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
