"""Notices when the event loop stands still, and what it was doing then."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

import structlog

THRESHOLD: Final = 0.25
"""Seconds for which one callback may keep everybody waiting."""

_DEPTH: Final = 20

log = structlog.get_logger(__name__)


class StallMonitor:
    """Measures how late a heartbeat of the loop comes. `run` ends only when cancelled.

    A thread beside the loop looks at the loop's stack while it is late, since afterwards nobody could tell. `on_stall`
    hears of each stall's seconds.
    """

    def __init__(self, on_stall: Callable[[float], None], threshold: float = THRESHOLD) -> None:
        self._on_stall = on_stall
        self._threshold = threshold
        self._interval = threshold / 4
        self._due = float("inf")
        self._stack = ""
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Watches the loop that it runs on."""
        self._stopped.clear()
        thread = threading.Thread(target=self._look, args=(threading.get_ident(),), name="stalls", daemon=True)
        thread.start()
        try:
            while True:
                self._stack = ""
                self._due = time.monotonic() + self._interval
                await asyncio.sleep(self._interval)
                self._judge(time.monotonic() - self._due)
        finally:
            self._due = float("inf")
            self._stopped.set()
            thread.join()

    def _judge(self, late: float) -> None:
        if late > self._threshold:
            self._on_stall(late)
            log.warning("the event loop stood still", seconds=round(late, 3), running=self._stack or "not seen")

    def _look(self, loop_thread: int) -> None:
        while not self._stopped.wait(self._interval):
            if not self._stack and time.monotonic() - self._due > self._threshold:
                frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 - the way to another thread's stack
                if frame is not None:
                    self._stack = "".join(traceback.format_stack(frame, _DEPTH))
