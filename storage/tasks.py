"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN: Final = 0.1


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and returns when they have ended, whatever they end with.

    Once is not enough: up to Python 3.11 `asyncio.wait_for`, which drivers use, takes a cancellation that comes
    just as it has its result for none, and the task goes on as if nobody had asked.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # so that it does not count as never looked at
