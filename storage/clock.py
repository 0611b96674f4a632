"""Whose time it is, where a server's clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

CLOCK_LEEWAY: Final = 60_000
"""Milliseconds that a server's clock may be ahead of the live store's. What is further ahead is not believed: it
would end windows for good, since the time of a live state never goes back."""

_BELIEVED: Final = 60.0


class Clock:
    """A server's clock, until the live store says that it is ahead; then, for a minute, the store's."""

    def __init__(self, now: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._anchor: tuple[float, int] | None = None

    def __call__(self) -> int:
        """Milliseconds since the Unix epoch."""
        now = self._now()
        if self._anchor is None:
            return now
        since, store = self._anchor
        passed = self._monotonic() - since
        if passed > _BELIEVED:
            # Perhaps it was set right since; and if not, the store says so again.
            self._anchor = None
            return now
        return min(now, store + int(passed * 1000))

    def set_back(self, store: int) -> int:
        """Goes by the store's clock, which shows `store`; answers how far ahead the server's is, ms."""
        self._anchor = self._monotonic(), store
        return self._now() - store
