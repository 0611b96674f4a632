"""Samples of rankings, taken a minute: what movement is counted from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from storage.archive import Archive
from storage.calendar import milliseconds, moment
from storage.types import Row, Sample, Window

DEPTH: Final = 1000
"""Items of a ranking that a sample holds; whoever stands lower has no movement."""


class Samples:
    """Keeps and finds samples."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def add(self, board: int, window: Window, at: int, rows: Sequence[Row]) -> None:
        """Keeps the first rows of a ranking as of `at` (ms)."""
        async with self._archive.connection() as connection:
            await self._queries.add_sample(
                connection,
                board=board,
                window=window,
                sampled_at=moment(at),
                items=[row.item for row in rows],
                ranks=[row.rank for row in rows],
                points=[row.points for row in rows],
            )

    async def ranks(self, wanted: Sequence[Sample]) -> list[dict[str, int]]:
        """Item -> rank as of each of the samples; empty where there is none."""
        found: list[dict[str, int]] = [{} for _ in wanted]
        async with self._archive.connection() as connection:
            async for row in self._queries.find_samples(
                connection,
                boards=[sample.board for sample in wanted],
                windows=[sample.window for sample in wanted],
                moments=[moment(sample.at) for sample in wanted],
            ):
                found[row["place"] - 1] = dict(zip(row["items"], row["ranks"], strict=True))
        return found

    async def latest(self, shard: int, at: int) -> dict[int, int]:
        """For each board of a shard that has one, the moment (ms) of its latest sample at or before `at`."""
        async with self._archive.connection() as connection:
            return {
                row["board_id"]: milliseconds(row["sampled_at"])
                async for row in self._queries.latest_samples(connection, shard=shard, at=moment(at))
            }

    async def drop(self, shard: int, before: int) -> None:
        """Forgets samples from before a moment, but the latest of each board."""
        async with self._archive.connection() as connection:
            await self._queries.drop_samples(connection, shard=shard, before=moment(before))
