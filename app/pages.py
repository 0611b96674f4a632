"""Encoded rankings that are kept for as long as their board stays as it is."""

from __future__ import annotations

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

State = tuple[str, int]

_BYTES: Final = 32 * 1024 * 1024

OVERHEAD: Final = 400
"""Bytes that a page takes with its key, however short it is."""

_TAGS: Final = re.compile(r'(?:W/)?"([^"]*)"')


class Page(NamedTuple):
    """One representation of a board, made in state (epoch, version).

    One that is not final is to be made again after `until` (seconds), though the state be the same.
    """

    state: State
    body: bytes
    until: float = math.inf

    @property
    def final(self) -> bool:
        """Whether it holds for as long as its board stays as it is."""
        return self.until == math.inf

    @property
    def tag(self) -> str:
        """Its entity tag. What is not final has one under which nobody's copy is told to stand."""
        tag = etag(self.state)
        return tag if self.final else f'{tag[:-1]}-incomplete"'


class Pages:
    """The pages that were asked for last, up to a number of bytes. `clock` gives seconds and never goes back."""

    def __init__(self, limit: int = _BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._limit = limit
        self._pages: OrderedDict[Hashable, Page] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable, state: State | None) -> Page | None:
        """The page, if it was made in the state that the board is known to be in, and is not to be made again."""
        page = self._pages.get(key)
        if page is None or page.state != state or not (page.final or self.clock() < page.until):
            return None
        self._pages.move_to_end(key)
        return page

    def put(self, key: Hashable, page: Page) -> None:
        """Keeps a page in place of an older one."""
        old = self._pages.pop(key, None)
        self._size += _size(page) - (0 if old is None else _size(old))
        self._pages[key] = page
        while self._size > self._limit:
            _, dropped = self._pages.popitem(last=False)
            self._size -= _size(dropped)


def _size(page: Page) -> int:
    return len(page.body) + OVERHEAD


def etag(state: State) -> str:
    """The entity tag of whatever a URL shows of a board in this state."""
    epoch, version = state
    return f'"{epoch}-{version}"'


def matches(if_none_match: str | None, state: State) -> bool:
    """Whether a client's If-None-Match names this state (RFC 9110, weak comparison)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return etag(state)[1:-1] in _TAGS.findall(if_none_match)
