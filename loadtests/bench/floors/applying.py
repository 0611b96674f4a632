"""The apply script alone: batches that were packed before, through the same client library, to the same store."""

from __future__ import annotations

import time
from collections.abc import Sequence

from loadtests.bench.lab import Installation, item_name, now
from storage.batches import pack_batch
from storage.pipe import ApplyPipe
from storage.types import Board, Known, Vote

BATCH = 500
IN_FLIGHT = 2


class Applying:
    """Feeds a shard with batches of votes, two in flight, as the batcher does."""

    def __init__(self, pipe: ApplyPipe, known: Known) -> None:
        self._pipe = pipe
        self._known = known
        self._numbers = 0

    @classmethod
    async def open(cls, installation: Installation) -> Applying:
        """On an installation that nobody serves."""
        shard = installation.tenant.shard
        pipe = installation.live.pipe(shard)
        await pipe.connect()
        return cls(pipe, await installation.recovery.ensure(shard))

    async def rate(self, votes: Sequence[Vote], size: int = BATCH) -> float:
        """Votes a second."""
        batches = [self._packed(votes[start : start + size]) for start in range(0, len(votes), size)]
        began = time.perf_counter()
        for place, batch in enumerate(batches):
            await self._pipe.send(batch)
            if place >= IN_FLIGHT - 1:
                await self._receive()
        for _ in range(min(IN_FLIGHT - 1, len(batches))):
            await self._receive()
        return len(votes) / (time.perf_counter() - began)

    async def round_trip(self, vote: Vote) -> float:
        """Seconds from one vote to its outcome."""
        batch = self._packed([vote])
        began = time.perf_counter()
        await self._pipe.send(batch)
        await self._receive()
        return time.perf_counter() - began

    async def close(self) -> None:
        """Drops the connection."""
        await self._pipe.close()

    def _packed(self, votes: Sequence[Vote]) -> bytes:
        self._numbers += 1
        return pack_batch(f"bench:{self._numbers % IN_FLIGHT}", self._numbers, self._known, 10**9, now(), votes)

    async def _receive(self) -> None:
        reply = await self._pipe.receive()
        assert reply.reason == "ok", reply.reason


def votes_of(board: Board, items: int, agents: int, first: int, count: int) -> list[Vote]:
    """Unique ballots in the order in which `clients.voters` casts them: agent by agent in turn."""
    return [
        Vote(board, 1 + n % agents, item_name(((n // agents) * 7919 + (n % agents) * 131) % items), 1)
        for n in range(first, first + count)
    ]
