"""What a fault is. Those that there are stand in `processes`, `stores`, `network`, `clients` and `clock`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.faults.laboratory import Laboratory

_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault strikes, and whether by itself. `patience` scales how long it lasts: 1 in a long run."""

    laboratory: Laboratory
    random: Random
    patience: float
    alone: bool

    async def last(self, shortest: float, longest: float) -> None:
        """Lets a fault last for some seconds."""
        await asyncio.sleep(self.patience * self.random.uniform(shortest, longest))

    async def votes(self, count: int, within: float) -> bool:
        """Returns when so many further votes were acknowledged; false where that takes too long."""
        memory = self.laboratory.load.memory
        wanted = memory.acks + count
        return await until(lambda: memory.acks >= wanted, within)

    def complain(self, what: str) -> None:
        """A promise was broken that only the fault itself could see."""
        self.laboratory.complaints.append(what)


async def until(holds: Callable[[], bool], within: float) -> bool:
    """Whether something becomes true within some seconds; returns as soon as it does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not holds():
                await asyncio.sleep(_POLL)
            return True
    return False


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to break things. `strike` returns when they are whole again, and may tell in a word how it was done.

    `target` is what breaks: two faults at once never have the same. `may_lose`: acknowledged votes that were not
    archived may be lost, if that is announced. `tells_all`: no vote is counted without an answer, since nothing
    breaks without a warning. `rare`: it lasts minutes, and is played once, in a long run.
    """

    target: str
    kind: str
    strike: Callable[[Scene], Awaitable[str | None]]
    may_lose: bool = False
    tells_all: bool = False
    rare: bool = False
