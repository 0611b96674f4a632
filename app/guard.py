"""Who tries keys that are none: so many a minute from one address, and no more."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Final

from app.proxies import place_of
from channels.errors import PlauditError

PER_MINUTE: Final = 30
"""Keys that are none which one address may try in a minute; as many may come at once."""

ADDRESSES: Final = 50_000
"""Addresses that are remembered at most; some ten megabytes."""


class Guard:
    """A token bucket for each address that tried a key that is none. `clock` is in seconds and never goes back.

    A try is charged before the key is looked up, so that a thousand at once are no way around, and given back where
    the key is good.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, addresses: int = ADDRESSES) -> None:
        self._clock = clock
        self._addresses = addresses
        self._tried: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def charge(self, address: str) -> None:
        """Lets one try pass. Raises PlauditError `too_fast` where the address has none left."""
        place, now = place_of(address), self._clock()
        tries = self._tries(place, now) + 1
        if tries > PER_MINUTE:
            wait = ceil((tries - PER_MINUTE) * 60_000 / PER_MINUTE)
            raise PlauditError("too_fast", "Too many unknown API keys from this address", wait)
        self._tried[place] = tries, now
        self._tried.move_to_end(place)
        if len(self._tried) > self._addresses:
            self._tried.popitem(last=False)

    def refund(self, address: str) -> None:
        """Takes a try back: the key was good, or nobody knows."""
        place, now = place_of(address), self._clock()
        tries = self._tries(place, now) - 1
        if tries <= 0:
            self._tried.pop(place, None)
        else:
            self._tried[place] = tries, now

    def __len__(self) -> int:
        """Addresses that are remembered."""
        return len(self._tried)

    def _tries(self, place: str, now: float) -> float:
        tries, as_of = self._tried.get(place, (0.0, now))
        return max(0.0, tries - (now - as_of) * PER_MINUTE / 60)
