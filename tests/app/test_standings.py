"""Rankings of a live store that came back with less than it had."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app import standings as standings_module
from app.standings import FAR_AT_ONCE
from channels.ranking import View
from storage.errors import BeingFilled
from storage.types import AroundView, Query, TopView, ViewSpec
from tests.app.conftest import House


async def test_a_live_store_that_lost_events_is_shown_again_when_it_is_rebuilt(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings_module, "FILLED_WITHIN", 0)
    services = house.services
    board = (await services.registry.boards(house.tenant))["songs"]
    before = await services.standings.view(board, "all", TopView(10))
    async with asyncio.timeout(10):
        while not services.batchers[board.shard].available:
            await asyncio.sleep(0)
    # As if another server had seen events that the store does not have any more.
    services.batchers[board.shard].observe(before.epoch, 99)
    with pytest.raises(BeingFilled):
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


async def test_a_live_store_that_is_being_filled_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    services = house.services
    board = (await services.registry.boards(house.tenant))["songs"]
    read, tries = services.live.read, 0

    async def filling(shard: int, queries: Sequence[Query]) -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise BeingFilled
        return await read(shard, queries)

    monkeypatch.setattr(services.live, "read", filling)
    monkeypatch.setattr(standings_module, "_AGAIN", 0)
    assert list((await services.standings.view(board, "all", TopView(10))).rows) == ["s1", "s2"]
    assert tries == 4
    tries = 0
    monkeypatch.setattr(standings_module, "FILLED_WITHIN", 0)
    answer = await house.door.get("/api/v1/boards/songs?limit=7")
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


async def test_a_crowd_is_answered_by_two_reads_and_nobody_by_an_older_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = house.services
    board = (await services.registry.boards(house.tenant))["songs"]
    read, gate, reads = services.live.read, asyncio.Event(), 0

    async def slow(shard: int, queries: Sequence[Query]) -> Any:
        nonlocal reads
        reads += 1
        found = await read(shard, queries)
        await gate.wait()
        return found

    monkeypatch.setattr(services.live, "read", slow)

    def ask() -> asyncio.Task[View]:
        return asyncio.create_task(services.standings.view(board, "all", TopView(10)))

    async with asyncio.timeout(10):
        first = [ask() for _ in range(10)]
        while not reads:
            await asyncio.sleep(0)
        vote = {"board": "songs", "item_id": "s1", "vote": "up"}
        assert (await house.free.post("/api/v1/vote", vote)).json()["status"] == "applied"
        second = [ask() for _ in range(50)]
        second[0].cancel()
        gate.set()
        early = await asyncio.gather(*first)
        late = await asyncio.gather(*second[1:])
    assert reads == 2
    assert len({id(view) for view in early}) == len({id(view) for view in late}) == 1
    assert early[0].rows["s1"].points == 0
    assert late[0].rows["s1"].points == 100


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
