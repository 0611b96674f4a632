"""How votes enter the archive: a shard's log, in order, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from storage.archive import Archive, Connection, copy_rows
from storage.calendar import milliseconds, moment
from storage.errors import ArchiveBehind, StaleStore, StoreUnavailable
from storage.live import LogEntry
from storage.types import Position

_BEHIND: Final = 10.0
_POLL: Final = 0.02
_WAYS_OUT: Final = (
    "Is it the right database, or was it restored from a backup? Nothing was changed: bring back a PostgreSQL that "
    "has these votes, or give them up with `plaudit rebuild --from-archive`."
)


class Overtaken(Exception):
    """Another process has moved the shard's position: read it again."""


class Flushed(NamedTuple):
    """The live state that a shard's log is read from, and the last of its events that is in the archive.

    A new shard has none of either: an empty epoch, and 0.
    """

    epoch: str
    seq: int


class Epoch(NamedTuple):
    """A live state that a shard has gone on in; the table `epochs` has the meaning of its columns."""

    resumes: str | None
    told: int
    settled: int | None


OnLoss = Callable[[int, int], None]
"""Hears of a shard, and of how many acknowledged votes it has lost."""


class Ledger:
    """The archive's side of the log."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def position(self, shard: int) -> int:
        """The last seq that is in the archive; 0 for a new shard."""
        return (await self.flushed(shard)).seq

    async def reached(self, shard: int, seq: int) -> None:
        """Returns when the archive has come to `seq`. Raises StoreUnavailable where that takes too long."""
        try:
            async with asyncio.timeout(_BEHIND):
                while await self.position(shard) < seq:
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise StoreUnavailable(f"the archive has not come to seq {seq}: is a server running?") from None

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

    async def epoch(self, shard: int, epoch: str) -> Epoch | None:
        """What is known of a live state; None for one that this archive has never seen."""
        async with self._archive.connection() as connection:
            row = await self._queries.find_epoch(connection, shard=shard, epoch=epoch)
        return None if row is None else Epoch(*row)

    async def check(self, shard: int, found: Position) -> None:
        """Raises ArchiveBehind where the live store, as it was found before, has votes that can't come in any more."""
        archived = await self.flushed(shard)
        if found.epoch == archived.epoch:
            if found.flushed > archived.seq:
                raise ArchiveBehind(
                    f"PostgreSQL has the votes of shard {shard} up to {archived.seq} and had them up to "
                    f"{found.flushed}: the live store's log begins after that. {_WAYS_OUT}"
                )
        elif found.epoch is not None and found.seq and await self.epoch(shard, found.epoch) is None:
            raise ArchiveBehind(
                f"PostgreSQL has the votes of shard {shard} up to {archived.seq} and has never heard of the live state "
                f"{found.epoch}, which has them up to {found.seq}. {_WAYS_OUT}"
            )

    async def continues(self, shard: int, since: str, epoch: str) -> bool:
        """Whether a live state is an earlier one under new names, and was never rebuilt between."""
        async with self._archive.connection() as connection:
            found: bool = await self._queries.continues(connection, shard=shard, since=since, epoch=epoch)
        return found

    async def tell(self, shard: int, epoch: str, told: int) -> None:
        """Notes that votes of a live state were acknowledged up to the event `told`."""
        async with self._archive.connection() as connection:
            await self._queries.tell_epoch(connection, shard=shard, epoch=epoch, told=told)

    async def accompanied(self) -> bool:
        """Whether other servers are there, which may have been told more than this one."""
        async with self._archive.connection() as connection:
            found: bool = await self._queries.accompanied(connection)
        return found

    async def plan_epoch(self, shard: int, epoch: str, resumes: str) -> None:
        """Announces that the live state `resumes` is about to go on under a new name."""
        async with self._archive.connection() as connection:
            await self._queries.plan_epoch(connection, shard=shard, epoch=epoch, resumes=resumes)

    async def begin_epoch(self, shard: int, epoch: str, after: str, on_loss: OnLoss, kept: int | None = None) -> int:
        """Lets the shard go on in a new live state, after the one of the epoch `after`, of which nothing more is taken.

        `kept` is the last event of a live store whose state goes on; without it the state is the archive's. Events
        that were acknowledged beyond that are lost: `on_loss` hears how many before they are given up for good, and
        their numbers are not given out again. Answers the seq that the archive goes on from. Raises Overtaken,
        having changed nothing, where the archive is not in the state `after`, or has come further than `kept`.
        """
        queries = self._queries
        async with self._archive.transaction() as connection:
            row = await queries.lock_position(connection, shard=shard)
            before = Flushed("", 0) if row is None else Flushed(*row)
            if before.epoch != after:
                raise Overtaken(f"shard {shard} goes on in {before.epoch!r}, not in {after!r}, by now")
            if kept is not None and before.seq > kept:
                raise Overtaken(f"the archive has shard {shard} up to {before.seq}, the live store up to {kept}")
            row = await queries.find_epoch(connection, shard=shard, epoch=before.epoch)
            told = 0 if row is None else row["told"]
            have = before.seq if kept is None else kept
            if told > have:
                on_loss(shard, told - have)
            if row is not None:
                await queries.settle_epoch(connection, shard=shard, epoch=before.epoch, settled=max(told, have))
            seq = before.seq if kept is not None else max(before.seq, told)
            await queries.plan_epoch(connection, shard=shard, epoch=epoch, resumes=None)
            await queries.tell_epoch(connection, shard=shard, epoch=epoch, told=max(told, before.seq))
            await queries.set_position(connection, shard=shard, epoch=epoch, seq=seq)
        return seq

    async def settle(self, shard: int, epoch: str, told: int, on_loss: OnLoss) -> None:
        """Accounts for a live state that was given up: `on_loss` hears of votes up to `told` that nobody spoke of yet.

        Of a state that this archive has never seen, what it has itself counts as kept.
        """
        async with self._archive.transaction() as connection:
            row = await self._queries.lock_position(connection, shard=shard)
            archived = 0 if row is None else row["seq"]
            row = await self._queries.find_epoch(connection, shard=shard, epoch=epoch)
            settled = archived if row is None or row["settled"] is None else row["settled"]
            if told > settled:
                on_loss(shard, told - settled)
                await self._queries.settle_epoch(connection, shard=shard, epoch=epoch, settled=told)

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
        """Makes the partitions of vote_events for this month and the next, where they are missing.

        Raises ArchiveUnavailable while somebody reads events for long, such as a backup: to wait for that would have
        everybody wait who writes some. Until there is a partition the default one takes them.
        """
        async with self._archive.transaction() as connection:
            await connection.execute("set local lock_timeout = '1s'")
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
