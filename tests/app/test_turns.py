"""Many who ask at once wait for each other, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from app import turns
from app.turns import Turns
from channels.errors import PlauditError
from tests.app.conftest import House


async def test_so_many_have_a_turn_at_a_time() -> None:
    having, most, done = 0, 0, 0
    chosen = Turns(3)

    async def ask() -> None:
        nonlocal having, most, done
        async with chosen.turn():
            having += 1
            most = max(most, having)
            await asyncio.sleep(0)
            having -= 1
        done += 1

    await asyncio.gather(*(ask() for _ in range(20)))
    assert (most, done) == (3, 20)


async def test_who_waits_for_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WITHIN", 0.01)
    chosen = Turns(1)
    async with chosen.turn():
        with pytest.raises(PlauditError, match="overloaded"):
            async with chosen.turn():
                pytest.fail("there was no turn to have")
    async with chosen.turn():
        pass


async def test_who_takes_too_long_loses_the_turn() -> None:
    chosen = Turns(1, lasting=0.01)
    with pytest.raises(PlauditError, match="overloaded"):
        async with chosen.turn():
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):  # of the body's own
        async with chosen.turn():
            raise TimeoutError
    async with chosen.turn():
        pass


@pytest.mark.parametrize(
    "path", ["/health/ready", "/api/v1/trending", "/api/v1/boards/songs?offset={number}", "/api/v1/me"]
)
async def test_hundreds_who_ask_at_once_are_all_answered(house: House, path: str) -> None:
    """More than there are connections to either store, and none of them is gone."""
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up"})
    asked = [house.free.get(path.format(number=number)) for number in range(300)]
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
