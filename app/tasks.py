"""Background tasks that are watched: one that fails is logged, started again, and told of by the readiness check."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from storage.tasks import end

_BACKOFF: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_WELL_AFTER: Final = 30.0

log = structlog.get_logger(__name__)


class Supervisor:
    """Runs named tasks until it is stopped."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._down: dict[str, str] = {}

    @property
    def down(self) -> dict[str, str]:
        """Tasks that failed and are waiting to be started again, with the reason."""
        return dict(self._down)

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work`, which should end only when cancelled, again and again."""
        self._tasks[name] = asyncio.create_task(self._watch(name, work), name=name)

    async def _watch(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            try:
                await work()
                reason = "it ended"
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                log.exception("background task failed", task=name)
            if loop.time() - started > _WELL_AFTER:
                failures = 0
            self._down[name] = reason
            await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
            failures += 1
            self._down.pop(name, None)

    async def stop(self, *names: str) -> None:
        """Cancels the named tasks, all without names, and waits for them."""
        chosen = [self._tasks.pop(name) for name in names or list(self._tasks) if name in self._tasks]
        await end(*chosen)
