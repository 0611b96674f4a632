"""The edge to the live store: stopping, announcements, and what belongs to whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio.client import PubSub

from storage import connections
from storage.errors import StoreRefused, StoreUnavailable
from storage.hold import Hold
from storage.live import LiveStore
from storage.types import AroundView, Changed, Query, TopView, Vote
from tests.proxy import Proxy, unix_socket
from tests.storage.shard import EPOCH, NOON, Shard, board, board_items, emptied, open_shard, opened

SHARD = 3


async def forever(work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await work()


async def test_a_task_can_be_stopped_at_any_moment(live: LiveStore) -> None:
    """Libraries have lost cancellations that came between two steps: try each of them, several times."""
    works: list[Callable[[], Awaitable[object]]] = [
        live.ping,
        lambda: live.position(SHARD),
        lambda: live.trim(SHARD, 0),
        lambda: live.log_after(SHARD, 0, 1, 60.0),
        lambda: live.log_after(SHARD, 0, 1, 0.001),
    ]
    for work in works:
        for steps in [*range(60)] * 2:
            task = asyncio.create_task(forever(work))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task}, timeout=5)
            assert task.cancelled()


async def test_changes_are_announced_from_the_first_moment_on(redis_url: str) -> None:
    async with open_shard(redis_url, number=SHARD) as shard:
        heard = shard.live.changes([SHARD, SHARD + 1])
        assert await anext(heard) is None
        rules = board(1, SHARD)
        await shard.live.add_items(rules, board_items({"a": 1}), NOON)
        added = await heard_change(heard.__anext__())
        await shard.apply([Vote(rules, agent, "a", 1) for agent in (1, 2)], NOON)
        voted = await heard_change(heard.__anext__())
        assert (voted.shard, voted.epoch, voted.seq) == (SHARD, EPOCH, 2)
        assert voted.versions == {1: added.versions[1] + 1}
        await heard.aclose()  # type: ignore[attr-defined]  # a generator


async def heard_change(message: Awaitable[Changed | None]) -> Changed:
    change = await asyncio.wait_for(message, 10)
    assert change is not None
    return change


async def test_a_listener_whose_connection_breaks_is_told(redis_url: str, prefix: str) -> None:
    async with Proxy(unix_socket(redis_url)) as proxy, LiveStore(f"redis://127.0.0.1:{proxy.port}", prefix) as far:
        heard = far.changes([SHARD])
        assert await anext(heard) is None
        proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(heard.__anext__(), 10)


async def test_a_listener_whose_connection_is_half_open_finds_out(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LULL", 0.05)
    async with Proxy(unix_socket(redis_url)) as proxy, LiveStore(f"redis://127.0.0.1:{proxy.port}", prefix) as far:
        heard = far.changes([SHARD])
        assert await anext(heard) is None
        proxy.silence()
        with pytest.raises(StoreUnavailable, match="have stopped"):
            await asyncio.wait_for(heard.__anext__(), 10)
        proxy.resume()


async def test_a_listener_that_hears_nothing_for_long_still_listens(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LULL", 0.01)
    asked = 0
    ping = PubSub.ping

    def counted(pubsub: PubSub) -> Awaitable[bool]:
        nonlocal asked
        asked += 1
        return ping(pubsub)

    monkeypatch.setattr(PubSub, "ping", counted)
    async with open_shard(redis_url, number=SHARD) as shard:
        heard = shard.live.changes([SHARD])
        assert await anext(heard) is None
        change = asyncio.create_task(heard_change(heard.__anext__()))
        while asked < 5:
            await asyncio.sleep(0)
        await shard.live.add_items(board(1, SHARD), board_items({"a": 1}), NOON)
        assert (await change).shard == SHARD
        await heard.aclose()  # type: ignore[attr-defined]  # a generator


async def test_a_store_that_is_not_there_and_one_that_refuses_are_told_apart(redis_url: str, prefix: str) -> None:
    async with LiveStore("redis://127.0.0.1:1", prefix) as nowhere:
        with pytest.raises(StoreUnavailable):
            await nowhere.ping()
    async with open_shard(redis_url, number=SHARD) as shard:
        await shard.live._redis.set(f"{shard.live.tag(SHARD)}:q:1", "not a hash")
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            await shard.live.quota_used(SHARD, 1, 1)


async def test_a_shard_that_is_cleared_leaves_others_alone(redis_url: str, prefix: str) -> None:
    tricky = f"{prefix}*[a]?"
    async with LiveStore(redis_url, tricky) as live, LiveStore(redis_url, f"{prefix}-other[a]x") as other:
        for store, number in ((live, 1), (live, 11), (other, 1)):
            await opened(store, number, seq=7)
            await store.add_items(board(1, number), board_items({f"item-{n}": n for n in range(50)}), NOON)
        await (await Hold.take(live, 1, EPOCH)).clear()
        assert (await live.position(1)).epoch is None
        assert [name async for name in live.keys(1)] == []
        assert await live.item_count(1, 1) == 0
        for store, number in ((live, 11), (other, 1)):
            assert (await store.position(number)).seq == 7
            assert await store.item_count(number, 1) == 50
            await emptied(store, number)


async def test_titles_are_kept_by_tenant(redis_url: str) -> None:
    async with open_shard(redis_url, number=SHARD) as shard:
        await give_title(shard, "a", 'Ünïcode "title" 😀')
        found = await shard.live.titles(SHARD, 1, ["song:a", "tool:a"])
        assert found == [('Ünïcode "title" 😀', None), None]
        assert await shard.live.titles(SHARD, 2, ["song:a"]) == [None]
        assert await shard.live.titles(SHARD, 1, []) == []


async def give_title(shard: Shard, item: str, title: str) -> None:
    (made,) = board_items({item: 1})
    await shard.live.add_items(board(1, SHARD), [made._replace(title=title)], NOON)


async def test_views_for_which_much_has_to_be_looked_at_leave_room_for_votes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few items have a score of 0, one that has is far from the next."""
    rules, many = board(1, SHARD), {f"item-{n:05d}": n for n in range(9000)}
    lonely = ["item-00000", "item-04500", "item-08999"]
    calls = 0
    async with open_shard(redis_url, number=SHARD) as shard:
        live = shard.live
        await live.add_items(rules, board_items(many), NOON)
        voted = {item: -100 if n % 2 else 100 for n, item in enumerate(many) if item not in lonely}
        await live._redis.zadd(f"{live.tag(SHARD)}:z:{rules.number}:all", voted)
        queries = [Query(rules.number, "all", AroundView("item-04500", span)) for span in range(1, 13)]
        queries.append(Query(99, "all", TopView(1)))
        alone = [(await live.read(SHARD, [query]))[0] for query in queries]
        run = live._run

        async def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return await run(*arguments)

        monkeypatch.setattr(live, "_run", counted)
        assert await live.read(SHARD, queries) == alone
    assert alone[-1] is None
    assert [row.item for row in alone[0].rows] == lonely  # type: ignore[union-attr]
    assert calls == 5  # three views of 9,000 places are over 20,000; then there is the board that is not
