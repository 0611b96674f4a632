"""How rankings stood over time, for charts: a sample a minute for a day, then one an hour for a season.

Samples are taken only where a board changed, so what stood at a moment is the last sample before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from storage.archive import Archive, Record
from storage.calendar import DAY_MS, milliseconds, moment
from storage.errors import NotFound
from storage.types import Row, Window

DEPTH: Final = 100
"""Items of a ranking that a sample holds."""

MINUTES_KEPT: Final = DAY_MS
"""Milliseconds for which every sample is kept."""

HOURS_KEPT: Final = 90 * DAY_MS
"""Milliseconds for which the first sample of each hour is kept."""


class Line(NamedTuple):
    """One item over time: rank and points (hundredths) at each moment, None where it stood below the samples."""

    item_id: str
    title: str
    artist: str | None
    ranks: list[int | None]
    points: list[int | None]


class Lines(NamedTuple):
    """Items over the same moments (ms, rising), best first as of the last one."""

    times: list[int]
    items: list[Line]


class _Sample(NamedTuple):
    at: int
    standings: dict[int, tuple[int, int]]  # item's number -> rank and points, in ranking order


class History:
    """Keeps and tells how rankings stood."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def add(self, board: int, window: Window, at: int, rows: Sequence[Row]) -> None:
        """Keeps the first rows of a ranking as of `at` (ms)."""
        first = rows[:DEPTH]
        async with self._archive.connection() as connection:
            await self._queries.add_history(
                connection,
                board=board,
                window=window,
                sampled_at=moment(at),
                item_ids=[row.item for row in first],
                points=[row.points for row in first],
            )

    async def thin(self, shard: int, now: int) -> None:
        """Forgets what is too old to be kept, but never the latest sample of a ranking."""
        async with self._archive.connection() as connection:
            await self._queries.thin_history(
                connection,
                shard=shard,
                minutes_from=moment(now - MINUTES_KEPT),
                hours_from=moment(now - HOURS_KEPT),
            )

    async def lines(
        self, board: int, window: Window, since: int, until: int, *, top: int, item_id: str | None, samples: int
    ) -> Lines:
        """How the first `top` of the latest sample, and one more item, stood from `since` to `until` (ms).

        At most one sample for each of `samples` equal parts of that time, after the one that stood when it began.
        Raises NotFound for an item that is not on the board.
        """
        step = max(1, until - since) / samples / 1000
        async with self._archive.connection() as connection:
            number = None
            if item_id is not None:
                number = await self._queries.number_on_board(connection, board=board, item_id=item_id)
                if number is None:
                    raise NotFound(f"there is no {item_id!r} on the board")
            span: dict[str, Any] = {"since": moment(since), "until": moment(until), "step": step}
            rows = [row async for row in self._queries.history(connection, board=board, window=window, **span)]
            chosen = _chosen(rows[-1:], top, number)
            labels = {row["id"]: row async for row in self._queries.items_by_number(connection, numbers=chosen)}
        # Some ten milliseconds for the most that can be asked for.
        return await asyncio.to_thread(_lines, rows, since, chosen, labels)


def _lines(rows: Sequence[Record], since: int, chosen: Sequence[int], labels: Mapping[int, Record]) -> Lines:
    found = [_sample(row, since) for row in rows]
    return Lines([sample.at for sample in found], [_line(labels, item, found) for item in chosen if item in labels])


def _sample(row: Record, since: int) -> _Sample:
    standings: dict[int, tuple[int, int]] = {}
    rank, last = 0, None
    for place, (item, points) in enumerate(zip(row["items"], row["points"], strict=True), 1):
        if points != last:
            rank, last = place, points
        standings[item] = rank, points
    return _Sample(max(since, milliseconds(row["sampled_at"])), standings)


def _chosen(latest: Sequence[Record], top: int, number: int | None) -> list[int]:
    first = [item for row in latest for item in row["items"][:top]]
    return list(dict.fromkeys([*first, *([] if number is None else [number])]))


def _line(labels: Mapping[int, Record], item: int, samples: Sequence[_Sample]) -> Line:
    label = labels[item]
    standings = [sample.standings.get(item, (None, None)) for sample in samples]
    ranks, points = [rank for rank, _ in standings], [points for _, points in standings]
    return Line(label["item_id"], label["title"], label["artist"], ranks, points)
