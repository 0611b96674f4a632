"""Questions to the archive whose older answers serve while it is silent: nobody waits for long, and most not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, Final, TypeVar

from storage.errors import ArchiveUnavailable

PATIENCE: Final = 1.0
"""Seconds that somebody waits for an answer."""

AGAIN: Final = 1.0
"""Seconds after a failure until it is tried again."""

_UNWATCHED: Final = 5.0
"""Seconds for a question that nobody waits for."""

_T = TypeVar("_T")


class Questions:
    """Questions of one kind. Each is asked once for all who want to know the same at a time.

    After one that failed nobody waits any more until one is answered again: one at a time is tried, for itself.
    """

    def __init__(self) -> None:
        self._asked: dict[Hashable, asyncio.Task[Any]] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._failed_at: float | None = None

    @property
    def silent(self) -> bool:
        """Whether the last question failed, so that the next one is not waited for."""
        return self._failed_at is not None

    def begin_anew(self) -> None:
        """Forgets failures, and questions from before: the archive answers again."""
        self._failed_at = None
        self._asked.clear()

    async def ask(self, about: Hashable, question: Callable[[], Awaitable[_T]]) -> _T:
        """The answer. Raises ArchiveUnavailable after `PATIENCE`, and at once where a question failed before."""
        if not self.silent:
            return await self._answer(self._begin(about, question, PATIENCE))
        self.try_again(about, question)
        raise ArchiveUnavailable("PostgreSQL does not answer")

    def try_again(self, about: Hashable, question: Callable[[], Awaitable[Any]]) -> None:
        """Sees after a failure whether the archive answers by now, unless that was just done; nobody waits for it."""
        if self._failed_at is not None and not self._asked and time.monotonic() - self._failed_at >= AGAIN:
            self._begin(about, question, _UNWATCHED)

    def _begin(self, about: Hashable, question: Callable[[], Awaitable[_T]], within: float) -> asyncio.Task[_T]:
        task = self._asked.get(about)
        if task is None:
            task = self._asked[about] = asyncio.create_task(answer_within(within, question))
            self._running.add(task)
            task.add_done_callback(partial(self._over, about))
        return task

    def _over(self, about: Hashable, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        failed = task.cancelled() or task.exception() is not None
        if self._asked.get(about) is task:
            del self._asked[about]
            self._failed_at = time.monotonic() if failed else None

    async def _answer(self, task: asyncio.Task[_T]) -> _T:
        # The question itself may take longer to end: a connection to a silent server is not given back at once.
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if not done and task in self._asked.values():
            self._failed_at = time.monotonic()
        if not done or task.cancelled():
            raise ArchiveUnavailable("PostgreSQL does not answer in time")
        return task.result()


async def answer_within(seconds: float, question: Callable[[], Awaitable[_T]]) -> _T:
    """The answer to one question. Raises ArchiveUnavailable where it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await question()
    except TimeoutError as error:
        raise ArchiveUnavailable("PostgreSQL does not answer in time") from error
