"""Rankings of a live store that came back with less than it had."""

import asyncio

import pytest

from storage.errors import StoreUnavailable
from storage.types import TopView
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
