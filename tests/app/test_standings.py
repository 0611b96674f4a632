"""Rankings of a live store that came back with less than it had."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.standings import FAR_AT_ONCE
from storage.errors import StoreUnavailable
from storage.types import AroundView, Query, TopView, ViewSpec
from tests.app.conftest import House


async def test_a_live_store_that_lost_events_is_shown_again_when_it_is_rebuilt(house: House) -> None:
    services = house.services
    board = (await services.registry.boards(house.tenant))["songs"]
    before = await services.standings.view(board, "all", TopView(10))
    async with asyncio.timeout(10):
        while not services.batchers[board.shard].available:
            await asyncio.sleep(0)
    # As if another server had seen events that the store does not have any more.
    services.batchers[board.shard].observe(before.epoch, 99)
    with pytest.raises(StoreUnavailable):
        await services.standings.view(board, "all", TopView(10))
    services.batchers[board.shard].check()
    async with asyncio.timeout(10):
        while (await services.live.position(board.shard)).seq != 99:
            await asyncio.sleep(0)
        while not services.batchers[board.shard].available:
            await asyncio.sleep(0)
    after = await services.standings.view(board, "all", TopView(10))
    assert after.epoch != before.epoch
    assert after.rows == before.rows


async def test_pages_far_down_wait_for_each_other_and_not_for_them_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = house.services
    board = (await services.registry.boards(house.tenant))["songs"]
    read, gate, under_way = services.live.read, asyncio.Event(), 0

    async def slow(shard: int, queries: Sequence[Query]) -> Any:
        nonlocal under_way
        if queries[0].view != TopView(10):
            under_way += 1
            await gate.wait()
        return await read(shard, queries)

    monkeypatch.setattr(services.live, "read", slow)
    views: list[ViewSpec] = [TopView(10, 1), AroundView("s1", 1), TopView(10, 2), AroundView("s2", 1)]
    async with asyncio.timeout(10):
        far = [asyncio.create_task(services.standings.view(board, "all", view)) for view in views]
        while under_way < FAR_AT_ONCE:
            await asyncio.sleep(0)
        assert len((await services.standings.view(board, "all", TopView(10))).rows) == 2
        assert under_way == FAR_AT_ONCE
        gate.set()
        await asyncio.gather(*far)
    assert under_way == len(views)
