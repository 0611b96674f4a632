"""One shard of a live store without an archive behind it, and the batches that a test sends to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from storage.batches import outcomes_of, pack_batch
from storage.hold import Hold
from storage.live import LiveStore
from storage.pipe import ApplyPipe
from storage.scripts import ApplyReply
from storage.types import WINDOWS, Board, BoardItem, Known, Outcome, Vote
from tests.storage.rows import LoggedEvent, decode_rows

NOON = 1_781_611_200_000
"""Tuesday, 2026-06-16 12:00 UTC."""
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
EPOCH = "epoch"


def board(number: int = 1, shard: int = 0, **rules: object) -> Board:
    """A board that takes up and down votes, finally, unless told otherwise."""
    told = {
        "slug": f"board-{number}",
        "title": "A board",
        "item_type": "song",
        "ballot": "updown",
        "minimum": -1,
        "maximum": 1,
        "ballots_change": False,
        "windows": WINDOWS,
    } | rules
    return Board(number, 1, shard, **told)  # type: ignore[arg-type]  # the rules are a test's own


def board_items(items: dict[str, int]) -> list[BoardItem]:
    return [BoardItem(number, "song", item, f"Title of {item}", None) for item, number in items.items()]


class Shard:
    """Sends batches one at a time, numbered, and reads back what they did."""

    def __init__(self, live: LiveStore, pipe: ApplyPipe, number: int, backlog_limit: int) -> None:
        self.live = live
        self.pipe = pipe
        self.number = number
        self.backlog_limit = backlog_limit
        self.known = Known(EPOCH, 0)
        self.batches = 0

    async def send(self, votes: Sequence[Vote], now: int, number: int | None = None) -> ApplyReply:
        """The raw answer to a batch; with `number`, to one that has been sent before."""
        if number is None:
            self.batches += 1
            number = self.batches
        await self.pipe.send(pack_batch("test:0", number, self.known, self.backlog_limit, now, votes))
        return await self.pipe.receive()

    async def apply(self, votes: Sequence[Vote], now: int) -> list[Outcome]:
        reply = await self.send(votes, now)
        assert (reply.reason, reply.epoch) == ("ok", EPOCH)
        return outcomes_of(reply)

    async def events(self) -> list[LoggedEvent]:
        """The whole log. Each entry names the seq of its last event."""
        found: list[LoggedEvent] = []
        for entry in await self.live.log_after(self.number, 0, 100_000, 0.001):
            rows = list(decode_rows(entry.rows))
            assert (entry.first, entry.seq, entry.applied_at) == (rows[0].seq, rows[-1].seq, rows[-1].at)
            found += rows
        return found


async def opened(live: LiveStore, number: int, epoch: str = EPOCH, seq: int = 0) -> None:
    """Makes a shard ready for votes, with what it has, in a live state of that name."""
    hold = await Hold.take(live, number, (await live.position(number)).epoch)
    await hold.begin(epoch, seq)
    await hold.open()


async def emptied(live: LiveStore, number: int) -> None:
    """Makes a shard what it was before anything was put in it."""
    redis: Any = live._redis
    await redis.unlink(f"{live.tag(number)}:meta", *[name async for name in live.keys(number)])


@asynccontextmanager
async def open_shard(url: str, backlog_limit: int = 10**9, number: int = 3) -> AsyncIterator[Shard]:
    """An empty shard that is ready for votes, removed at the end."""
    async with LiveStore(url, f"test-{uuid4().hex}") as live:
        await opened(live, number)
        pipe = live.pipe(number)
        await pipe.connect()
        try:
            yield Shard(live, pipe, number, backlog_limit)
        finally:
            await pipe.close()
            await emptied(live, number)
