"""Fills an empty live store with what the archive has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from storage.archive import Archive, Connection
from storage.boards import Boards
from storage.calendar import MINUTE_MS, Periods, moment, periods_at, start_of
from storage.hold import Hold
from storage.live import title_field
from storage.scripts import encode_title
from storage.types import FULL_WEIGHT, WINDOWS, Board

PORTION: Final = 2000
"""Things that are sent to the store at a time."""

_TRENDING_MEMORY: Final = timedelta(days=10)  # forty half-lives: what is older weighs nothing

Progress = Callable[[str, int], None]
"""Hears what is being loaded, and how much of it is."""


class Refill:
    """Fills one shard."""

    def __init__(self, hold: Hold, archive: Archive, shard: int, progress: Progress) -> None:
        self._hold = hold
        self._archive = archive
        self._shard = shard
        self._progress = progress

    async def run(self, seq: int, now: int) -> None:
        """Everything as it was right after event `seq`, seen at `now`."""
        boards = await Boards(self._archive).of_shard(self._shard)
        await self._load_items(boards, seq, now)
        await self._hold.show()
        await self._load_ballots(boards)
        await self._load_quotas(now)

    async def _load_items(self, boards: Sequence[Board], seq: int, now: int) -> None:
        periods = periods_at(now)
        await self._hold.load([("board", board.number, now, periods) for board in boards])
        numbers = [board.number for board in boards]
        since = min(start_of(periods[2]), start_of(periods[1]), moment(now) - _TRENDING_MEMORY)
        async with self._archive.transaction(patient=True) as connection:
            minute = now - now % MINUTE_MS
            shown = [(board, periods, minute) for board in numbers]
            rows = await recount(self._archive, connection, self._shard, shown, seq=seq, since=since)
        tenants = {board.number: board.tenant for board in boards}
        kept = {board.number: frozenset(board.windows) for board in boards}
        loaded = 0
        for board, portion in _portions(rows):
            flat: list[Any] = []
            titles: list[Any] = []
            for row in portion:
                flat += (row["item_id"], row["id"], row["up_votes"], row["down_votes"], *_windows(row, kept[board]))
                titles += (title_field(row["item_type"], row["item_id"]), encode_title((row["title"], row["artist"])))
            await self._hold.load([("titles", tenants[board], titles), ("items", board, flat)])
            loaded += len(portion)
            self._progress("items", loaded)

    async def _load_ballots(self, boards: Sequence[Board]) -> None:
        numbers = [board.number for board in boards]
        parts: list[object] = []
        size = loaded = 0
        async with (
            self._archive.transaction(patient=True) as connection,
            self._archive.queries.ballots_of_shard_cursor(connection, boards=numbers) as cursor,
        ):
            async for row in cursor:
                flat: list[Any] = []
                for item, value, weight in zip(row["items"], row["ballot_values"], row["weights"], strict=True):
                    flat += (item, value if weight == FULL_WEIGHT else f"{value}:{weight}")
                parts.append(("ballots", row["board_id"], row["agent_id"], flat))
                size += len(row["items"])
                if size >= PORTION:
                    await self._hold.load(parts)
                    loaded += size
                    self._progress("ballots", loaded)
                    parts, size = [], 0
        await self._hold.load(parts)
        self._progress("ballots", loaded + size)

    async def _load_quotas(self, now: int) -> None:
        day = periods_at(now)[0]
        flat: list[int] = []
        async with self._archive.transaction(patient=True) as connection:
            async for row in self._archive.queries.quotas_used(connection, shard=self._shard, since=start_of(day)):
                flat += (row["agent_id"], row["used"])
        for start in range(0, len(flat), 2 * PORTION):
            await self._hold.load([("quota", day, flat[start : start + 2 * PORTION])])


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
        full = end == len(rows) or end - start >= PORTION or rows[end]["board_id"] != rows[start]["board_id"]
        if full:
            yield rows[start]["board_id"], list(rows[start:end])
            start = end
