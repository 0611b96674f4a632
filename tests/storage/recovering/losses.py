"""What stores had, and ways in which they come to have less."""

from __future__ import annotations

from typing import Any

from storage.errors import StoreUnavailable
from storage.ledger import Ledger
from storage.live import LiveStore
from storage.types import Row, Window
from tests.storage.house import House, votes_of_all
from tests.storage.shard import DAY, HOUR, MINUTE, NOON, emptied


async def vote_for_weeks(house: House) -> None:
    """Votes of every age: some outside each window, some changed, some retracted; all in the archive."""
    ages = [40 * DAY, 12 * DAY, 8 * DAY, 2 * DAY, 13 * HOUR, 7 * HOUR + 17 * MINUTE, 3 * MINUTE, 0]
    await Ledger(house.archive).ensure_partitions(NOON - 40 * DAY)
    for n, age in enumerate(ages):
        house.now = NOON - age
        votes = [*votes_of_all(house, house.contest, range(n, 13)), *votes_of_all(house, house.songs, [1, -1])]
        await house.cast(*votes[n::8], house.vote("dee", "elegy", n, house.contest))
    await house.cast(house.vote("dee", "elegy", None, house.contest), house.vote("ann", "aria", None, house.contest))
    await house.flush()


Rankings = dict[tuple[str, Window], list[Row]]


def same(before: Rankings, after: Rankings) -> bool:
    """Whether rankings are equal, but for a hundredth where scores decay: sums of doubles depend on their order."""
    for (_, window), rows in before.items():
        others = {row.item: row for row in after.get((_, window), [])}
        if window != "trending":
            assert list(others.values()) == rows
        assert others.keys() == {row.item for row in rows}
        assert all(abs(others[row.item].points - row.points) <= 1 for row in rows)
    return before.keys() == after.keys()


async def quotas(house: House) -> list[int]:
    return [await house.live.quota_used(house.shard, NOON // DAY, agent) for agent in house.agents.values()]


class Snapshot:
    """Every key of a shard as it was, to be put back: an append-only file that lacks its end."""

    def __init__(self, live: LiveStore, shard: int) -> None:
        self._live = live
        self._shard = shard
        self._keys: dict[bytes, bytes] = {}

    async def take(self) -> None:
        redis: Any = self._live._redis
        async for key in redis.scan_iter(match=f"{self._live.tag(self._shard)}:*"):
            self._keys[key] = await redis.dump(key)

    async def put_back(self) -> None:
        await emptied(self._live, self._shard)
        for key, content in self._keys.items():
            await self._live._redis.restore(key, 0, content)


async def set_back(house: House, seq: int) -> None:
    """Makes the archive what it was before the events past `seq`, as a restored backup would."""
    await house.execute("delete from vote_events where seq > $1", seq)
    await house.execute("update flush_positions set seq = $1", seq)


def killed(step: Any, *, done: bool) -> Any:
    """A step of a rebuild that ends the process, when it is done or before it begins."""

    async def kill(self: object, *arguments: Any, **options: Any) -> None:
        if done:
            await step(self, *arguments, **options)
        raise StoreUnavailable("killed here")

    return kill
