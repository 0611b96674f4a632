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
from storage.errors import StaleStore
from storage.flusher import Flusher
from storage.ledger import Ledger, Overtaken
from storage.live import LiveStore, title_field
from storage.scripts import encode_title
from storage.types import FULL_WEIGHT, WINDOWS, Board, BoardItem, Known, Position

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
            archived = await self._ledger.flushed(shard)
            found = await self._live.position(shard)
            floor = archived.seq
            if known is not None and known.epoch == archived.epoch:
                floor = max(floor, known.floor)
            if _whole(found, archived.epoch, floor):
                await self._add_missing_items(shard)
                return Known(archived.epoch, found.seq)
            return await self._rebuild(shard, floor, lambda what, count: None)

    async def rebuild(self, shard: int, progress: Progress) -> Known:
        """Refills an empty live store from the archive; a store that is whole is left as it is."""
        async with self._archive.session() as session:
            await lock(session, LOCK_PURPOSE, shard)
            found = await self._live.position(shard)
            archived = await self._ledger.flushed(shard)
            if _whole(found, archived.epoch, archived.seq):
                return Known(archived.epoch, found.seq)
            return await self._rebuild(shard, archived.seq, progress)

    async def _rebuild(self, shard: int, floor: int, progress: Progress) -> Known:
        """`floor` is the last event that is known to have been given out."""
        found = await self._live.hold(shard)
        if found.seq > found.flushed:
            await self._save_log(shard, found)
        await self._live.clear(shard)
        epoch = secrets.token_hex(8)
        # From here on a flusher that was held up with events of the old state in its hands can't commit them.
        seq = await self._ledger.begin_epoch(shard, epoch, 0)
        if floor > seq:
            log.error("acknowledged votes are lost: neither store has them", shard=shard, lost=floor - seq)
            seq = await self._ledger.begin_epoch(shard, epoch, floor)
        if seq:
            log.warning("rebuilding the live store from the archive", shard=shard, seq=seq, epoch=epoch)
        now = max(self._now(), await self._ledger.last_event_at(shard))
        await self._live.begin(shard, epoch, seq)
        boards = await self._boards.of_shard(shard)
        await self._load_items(shard, boards, seq, now, progress)
        await self._load_ballots(shard, boards, progress)
        await self._load_quotas(shard, now)
        await self._live.open(shard)
        log.info("live store filled", shard=shard, seq=seq, epoch=epoch)
        return Known(epoch, seq)

    async def _save_log(self, shard: int, found: Position) -> None:
        """What is left of the log goes into the archive before the store is emptied."""
        try:
            await Flusher(shard, self._live, self._archive).flush_all()
        except Overtaken:
            await self._save_log(shard, found)
        except StaleStore as error:
            unsaved = found.seq - found.flushed
            log.error(  # noqa: TRY400 - the reason says it all
                "votes of an abandoned live state are lost", shard=shard, lost=unsaved, reason=str(error)
            )

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
        kept = {board.number: frozenset(board.windows) for board in boards}
        loaded = 0
        for board, portion in _portions(rows):
            flat: list[Any] = []
            titles: list[Any] = []
            for row in portion:
                flat += (row["item_id"], row["id"], row["up_votes"], row["down_votes"], *_windows(row, kept[board]))
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
        behind = {board for board, count in counts.items() if await self._is_behind(shard, board, count)}
        if not behind:
            return
        items = await self._boards.items_of_shard(shard)
        for board in await self._boards.of_shard(shard):
            if board.number in behind:
                log.warning("adding items that the live store did not know", shard=shard, board=board.slug)
                await self._add_items(board, items.get(board.number, []))

    async def _is_behind(self, shard: int, board: int, items: int) -> bool:
        known = await self._live.board_state(shard, board) is not None
        return not known or await self._live.item_count(shard, board) < items

    async def _add_items(self, board: Board, items: Sequence[BoardItem]) -> None:
        now = self._now()
        await self._live.add_items(board, [], now)
        for start in range(0, len(items), _PORTION):
            await self._live.add_items(board, items[start : start + _PORTION], now)


def _whole(found: Position, epoch: str, floor: int) -> bool:
    """Whether the store is in the live state that the archive goes on with, and has all events up to `floor`."""
    return bool(found.epoch) and found.epoch == epoch and found.ready and found.seq >= floor


def _windows(row: Any, kept: frozenset[str]) -> list[int | float]:
    """An item's points in every window, in the order of `WINDOWS`; 0 in those that its board does not keep."""
    trending = 0 if -0.5 <= row["trending"] < 0.5 else row["trending"]
    points = row["points"], row["day"], row["week"], row["month"], trending
    return [value if window in kept else 0 for window, value in zip(WINDOWS, points, strict=True)]


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
