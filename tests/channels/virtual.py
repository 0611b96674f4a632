"""Time that passes only when nothing else is left to do, so that a test of ticks takes no time and never varies."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Leap(selectors.SelectSelector):
    """Waits for nothing: tells instead how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everything waits for something that will never happen")
            self.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock leaps to the next thing that is due."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.passed


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs to the end in virtual time."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(main)
        if waiting := asyncio.all_tasks(loop):
            for task in waiting:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
    finally:
        loop.close()
