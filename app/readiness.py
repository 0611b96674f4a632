"""Whether this server can do its work, as a load balancer and an operator want to know it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from app.metrics import Waiting
from app.tasks import Supervisor
from storage.archive import Archive
from storage.batcher import Batcher
from storage.errors import StorageError, StoreUnavailable
from storage.ledger import Ledger
from storage.live import LiveStore

_CHECK_WITHIN: Final = 2.0

Findings = tuple[dict[str, str | None], dict[int, Waiting] | None]


class Readiness:
    """Asks everything that votes need. `limit` is the events that may wait for PostgreSQL in a shard."""

    def __init__(
        self,
        live: LiveStore,
        archive: Archive,
        ledger: Ledger,
        batchers: Mapping[int, Batcher],
        supervisor: Supervisor,
        now: Callable[[], int],
        limit: int,
    ) -> None:
        self._live = live
        self._archive = archive
        self._ledger = ledger
        self._batchers = batchers
        self._supervisor = supervisor
        self._now = now
        self._limit = limit
        self._checking: asyncio.Task[Findings] | None = None

    async def check(self) -> Findings:
        """What a load balancer asks: each check with its problem, None where it is fine; and the backlog.

        Whoever asks while it is being found out is told the same: anybody may ask, and as often as they like.
        """
        if self._checking is None:
            self._checking = asyncio.create_task(self._check())
            self._checking.add_done_callback(self._checked)
        return await asyncio.shield(self._checking)

    def _checked(self, _: object) -> None:
        self._checking = None

    async def _check(self) -> Findings:
        live, archive, backlog = await asyncio.gather(
            problem_of(self._live.ping), problem_of(self._check_archive), self.known_backlog()
        )
        checks = {
            "live_store": live,
            "archive": archive,
            "votes": self._votes_problem(),
            "backlog": self._backlog_problem(backlog),
            "tasks": ", ".join(f"{name}: {why}" for name, why in self._supervisor.down.items()) or None,
        }
        return checks, backlog

    def _votes_problem(self) -> str | None:
        away = [str(shard) for shard, batcher in self._batchers.items() if not batcher.available]
        return f"votes wait for the live store or its replicas in shards {', '.join(away)}" if away else None

    async def _check_archive(self) -> None:
        """Raises StorageError where PostgreSQL is away, or is not the one that has the votes so far."""
        await self._archive.ping()
        with contextlib.suppress(StoreUnavailable):
            for shard in self._batchers:
                await self._ledger.check(shard, await self._live.position(shard))

    def _backlog_problem(self, backlog: dict[int, Waiting] | None) -> str | None:
        """Votes are refused where there is no room left in the log."""
        if backlog is None:
            return "not known while the live store does not answer"
        full = [str(shard) for shard, waiting in backlog.items() if waiting.events >= self._limit]
        return f"too many events wait for PostgreSQL in shards {', '.join(full)}" if full else None

    async def known_backlog(self) -> dict[int, Waiting] | None:
        """What waits for PostgreSQL, by shard; None where the live store does not tell soon."""
        with contextlib.suppress(StorageError, TimeoutError):
            async with asyncio.timeout(_CHECK_WITHIN):
                return {shard: await self._waiting(shard) for shard in self._batchers}
        return None

    async def _waiting(self, shard: int) -> Waiting:
        position = await self._live.position(shard)
        events = position.seq - position.flushed
        oldest = await self._live.log_after(shard, position.flushed, 1, 0) if events else []
        return Waiting(events, max(0, self._now() - oldest[0].applied_at) / 1000 if oldest else 0.0)


async def problem_of(check: Callable[[], Awaitable[object]]) -> str | None:
    """What is wrong with a store, by a check that raises StorageError or takes too long; None where it is fine."""
    try:
        async with asyncio.timeout(_CHECK_WITHIN):
            await check()
    except (StorageError, TimeoutError) as error:
        return str(error) or "no answer in time"
    return None
