"""Brings a shard's live state in line with the archive: at every start, and when the store has lost something."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from storage.archive import Archive, Connection, lock
from storage.boards import Boards
from storage.calendar import MINUTE_MS, Periods, moment, periods_at, start_of
from storage.flusher import Flusher
from storage.ledger import Ledger, Overtaken
from storage.live import LiveStore, title_field
from storage.scripts import encode_title
from storage.types import FULL_WEIGHT, Board, Known, Position

LOCK_PURPOSE: Final = 2
_PORTION: Final = 2000
_TRENDING_MEMORY: Final = timedelta(days=10)  # forty half-lives: what is older weighs nothing

Progress = Callable[[str, int], None]

log = structlog.get_logger(__name__)


class Recovery:
    """Finds out what a shard's live store is, and rebuilds it from the archive where it must."""

    def __init__(self, live: LiveStore, archive: Archive, now: Callable[[], int]) -> None:
        self._live = live
        self._archive = archive
        self._ledger = Ledger(archive)
        self._boards = Boards(archive)
        self._now = now

    async def ensure(self, shard: int, known: Known | None = None) -> Known:
        """What to go on with. Rebuilds a store that is empty or has lost events, one server at a time.

        `known` is the live state that the caller has seen: it may know of events that neither the store nor
        the archive has. Raises StorageError where one of them is away.
        """
        async with self._archive.session() as session:
            await lock(session, LOCK_PURPOSE, shard)
            archived = await self._ledger.position(shard)
            found = await self._live.position(shard)
            same = known is not None and known.epoch == found.epoch
            floor = max(archived, known.floor if known is not None and (same or found.epoch is None) else 0)
            if found.epoch and found.ready and found.seq >= floor:
                await self._add_missing_items(shard)
                return Known(found.epoch, found.seq)
            return await self._rebuild(shard, found, floor, lambda what, count: None)

    async def rebuild(self, shard: int, progress: Progress) -> Known:
        """Refills an empty live store from the archive; a store that is whole is left as it is."""
        async with self._archive.session() as session:
            await lock(session, LOCK_PURPOSE, shard)
            found = await self._live.position(shard)
            floor = await self._ledger.position(shard)
            if found.epoch and found.ready and found.seq >= floor:
                return Known(found.epoch, found.seq)
            return await self._rebuild(shard, found, floor, progress)

    async def _rebuild(self, shard: int, found: Position, floor: int, progress: Progress) -> Known:
        if found.seq > found.flushed:
            await self._save_log(shard)
        seq = await self._ledger.position(shard)
        if floor > seq:
            log.error("acknowledged votes are lost: neither store has them", shard=shard, lost=floor - seq)
            await self._ledger.set_position(shard, floor)
            seq = floor
        epoch = secrets.token_hex(8)
        if seq:
            log.warning("rebuilding the live store from the archive", shard=shard, seq=seq, epoch=epoch)
        await self._live.clear(shard)
        await self._live.begin(shard, epoch, seq)
        boards = await self._boards.of_shard(shard)
        now = self._now()
        await self._load_items(shard, boards, seq, now, progress)
        await self._load_ballots(shard, boards, progress)
        await self._load_quotas(shard, now)
        await self._live.open(shard)
        log.info("live store filled", shard=shard, seq=seq, epoch=epoch)
        return Known(epoch, seq)

    async def _save_log(self, shard: int) -> None:
        """What is left of the log goes into the archive before the store is emptied."""
        try:
            await Flusher(shard, self._live, self._archive).flush_all()
        except Overtaken:
            await self._save_log(shard)

    async def _load_items(self, shard: int, boards: Sequence[Board], seq: int, now: int, progress: Progress) -> None:
        periods = periods_at(now)
        await self._live.load(shard, [("board", board.number, now, periods) for board in boards])
        numbers = [board.number for board in boards]
        since = min(start_of(periods[2]), start_of(periods[1]), moment(now) - _TRENDING_MEMORY)
        async with self._archive.transaction() as connection:
            minute = now - now % MINUTE_MS
            shown = [(board, periods, minute) for board in numbers]
            rows = await recount(self._archive, connection, shard, shown, seq=seq, since=since)
        tenants = {board.number: board.tenant for board in boards}
        loaded = 0
        for board, portion in _portions(rows):
            flat: list[Any] = []
            titles: list[Any] = []
            for row in portion:
                trending = row["trending"] if abs(row["trending"]) >= 0.5 else 0
                counts = row["up_votes"], row["down_votes"], row["points"]
                flat += (row["item_id"], row["id"], *counts, row["day"], row["week"], row["month"], trending)
                titles += (title_field(row["item_type"], row["item_id"]), encode_title((row["title"], row["artist"])))
            await self._live.load(shard, [("titles", tenants[board], titles), ("items", board, flat)])
            loaded += len(portion)
            progress("items", loaded)

    async def _load_ballots(self, shard: int, boards: Sequence[Board], progress: Progress) -> None:
        numbers = [board.number for board in boards]
        parts: list[object] = []
        size = loaded = 0
        async with (
            self._archive.transaction() as connection,
            self._archive.queries.ballots_of_shard_cursor(connection, boards=numbers) as cursor,
        ):
            async for row in cursor:
                flat: list[Any] = []
                for item, value, weight in zip(row["items"], row["ballot_values"], row["weights"], strict=True):
                    flat += (item, value if weight == FULL_WEIGHT else f"{value}:{weight}")
                parts.append(("ballots", row["board_id"], row["agent_id"], flat))
                size += len(row["items"])
                if size >= _PORTION:
                    await self._live.load(shard, parts)
                    loaded += size
                    progress("ballots", loaded)
                    parts, size = [], 0
        await self._live.load(shard, parts)
        progress("ballots", loaded + size)

    async def _load_quotas(self, shard: int, now: int) -> None:
        day = periods_at(now)[0]
        flat: list[int] = []
        async with self._archive.connection() as connection:
            async for row in self._archive.queries.quotas_used(connection, shard=shard, since=start_of(day)):
                flat += (row["agent_id"], row["used"])
        for start in range(0, len(flat), 2 * _PORTION):
            await self._live.load(shard, [("quota", day, flat[start : start + 2 * _PORTION])])

    async def _add_missing_items(self, shard: int) -> None:
        """Adds what a server put into the archive without coming to tell the live store."""
        counts = await self._boards.item_counts(shard)
        behind = {board for board, count in counts.items() if await self._live.item_count(shard, board) < count}
        if not behind:
            return
        now = self._now()
        items = await self._boards.items_of_shard(shard)
        for board in await self._boards.of_shard(shard):
            if board.number in behind:
                log.warning("adding items that the live store did not know", shard=shard, board=board.slug)
                for start in range(0, len(items[board.number]), _PORTION):
                    await self._live.add_items(board, items[board.number][start : start + _PORTION], now)


async def recount(
    archive: Archive,
    connection: Connection,
    shard: int,
    boards: Sequence[tuple[int, Periods, int]],
    *,
    seq: int,
    since: datetime,
) -> list[Any]:
    """Every item of the boards, its kept counts beside those recomputed from events; see `log.sql`.

    Each board comes with the periods of its windows and the moment (ms) that trending is shown as of.
    """
    days, weeks, months = ([start_of(periods[n]) for _, periods, _ in boards] for n in range(3))
    rows: list[Any] = [
        row
        async for row in archive.queries.recount(
            connection,
            shard=shard,
            boards=[board for board, _, _ in boards],
            days=days,
            weeks=weeks,
            months=months,
            shown=[moment(at) for _, _, at in boards],
            seq=seq,
            since=since,
        )
    ]
    return rows


def _portions(rows: Sequence[Any]) -> Iterator[tuple[int, list[Any]]]:
    """Rows in runs of one board each, of bounded length."""
    start = 0
    for end in range(1, len(rows) + 1):
        full = end == len(rows) or end - start >= _PORTION or rows[end]["board_id"] != rows[start]["board_id"]
        if full:
            yield rows[start]["board_id"], list(rows[start:end])
            start = end
