"""The look over a running server's shoulder."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.invariants import InvariantChecker
from storage.types import TopView
from tests.app.conftest import House, OpenHouse


class Seen:
    def __init__(self) -> None:
        self.items = self.differences = 0

    def note(self, items: int, differences: int) -> None:
        self.items += items
        self.differences += differences


def checker(house: House, seen: Seen) -> InvariantChecker:
    """One that always takes the first board, which is `songs`."""
    services = house.services
    return InvariantChecker(services.flushers, services.live, services.archive, lambda: 0.0, seen.note)


async def test_boards_that_agree_are_compared_without_a_word(house: House) -> None:
    for agent, item in ((house.free, "s1"), (house.pro, "s1"), (house.pro, "s2")):
        answer = await agent.post("/api/v1/vote", {"item_type": "song", "item_id": item, "vote": "up"})
        assert answer.status_code == 201
    seen = Seen()
    with capture_logs() as logs:
        await checker(house, seen).check(house.tenant.shard)
    assert (seen.items, seen.differences, logs) == (2, 0, [])


async def test_a_difference_is_counted_and_told(house: House) -> None:
    services, shard = house.services, house.tenant.shard
    board = (await services.registry.boards(house.tenant))["songs"]
    # What no script would do.
    await services.live._redis.zadd(f"{services.live.tag(shard)}:z:{board.number}:all", {"s2": -300})
    seen = Seen()
    with capture_logs() as logs:
        await checker(house, seen).check(shard)
    assert (seen.items, seen.differences) == (2, 1)
    (line,) = logs
    assert line["log_level"] == "error"
    assert line["board"] == "songs"
    assert line["differences"] == ("s2 is 0/0/300 live, (0, 0, 0) in the archive",)
    assert (await services.standings.view(board, "all", TopView(1))).rows["s2"].points == 300


async def test_a_running_server_looks_by_itself(open_house: OpenHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.invariants.PERIOD", 0.0)
    async with open_house() as house, asyncio.timeout(10):
        while b"plaudit_invariant_items_total 0.0" in house.services.metrics.text():
            await asyncio.sleep(0)
