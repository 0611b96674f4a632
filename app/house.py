"""How many connections of HTTP one server process takes, and from whom."""

from __future__ import annotations

from collections import Counter
from typing import Final

from app.proxies import Proxies, place_of
from app.settings import Settings

MIN_PER_ADDRESS: Final = 32
"""Connections that one address may have however few websockets it may: browsers open several."""


class House:
    """Counts them. Those that became websockets are counted elsewhere."""

    @classmethod
    def of(cls, settings: Settings) -> House:
        """Twice as many as websockets: for as many streams of events, and as many that come and go."""
        each = settings.connections_per_address
        limit = None if each is None else max(each, MIN_PER_ADDRESS)
        return cls(2 * settings.connections, limit, Proxies(settings.trusted_proxies))

    def __init__(self, limit: int, limit_per_address: int | None, proxies: Proxies) -> None:
        self.limit = limit
        self._proxies = proxies
        self.limit_per_address = limit_per_address
        self.connections = 0
        self.by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Counts a connection; answers whether there is room for it."""
        place = place_of(address)
        self.connections += 1
        self.by_address[place] += 1
        crowded = self.limit_per_address is not None and self.by_address[place] > self.limit_per_address
        # A proxy's connections are nobody's: each of them carries the requests of many.
        return self.connections <= self.limit and (not crowded or self._proxies.trusts(address))

    def leave(self, address: str) -> None:
        """Counts it no more."""
        place = place_of(address)
        self.connections -= 1
        self.by_address[place] -= 1
        if not self.by_address[place]:
            del self.by_address[place]
