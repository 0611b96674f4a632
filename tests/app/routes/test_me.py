"""What an agent may ask about itself."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.turns import Turns
from tests.app.conftest import House
from tests.app.contract import refusal


async def test_the_agent_of_the_key(house: House) -> None:
    expected = {"agent_id": "free", "tier": "free", "reputation_score": 0.0, "quota_remaining": 100}
    assert (await house.free.get("/api/v1/me")).json() == expected
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up"})
    assert (await house.free.get("/api/v1/me")).json() == expected | {"quota_remaining": 99}
    assert (await house.enterprise.get("/api/v1/me")).json()["quota_remaining"] is None


async def test_who_has_no_self(house: House) -> None:
    for path in ("/api/v1/me", "/api/v1/me/votes"):
        assert refusal(await house.door.get(path)) == (401, "unauthorized")
        assert refusal(await house.admin.get(path)) == (403, "forbidden")


async def test_ballots_are_there_as_soon_as_they_are_answered(house: House) -> None:
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up", "comment": "né"})
    await house.free.post("/api/v1/vote", {"item_type": "tool", "item_id": "t1", "value": -1})
    await house.pro.post("/api/v1/vote", {"item_type": "song", "item_id": "s2", "vote": "up"})
    answer = (await house.free.get("/api/v1/me/votes")).json()
    assert (answer["total"], answer["limit"], answer["offset"]) == (2, 50, 0)
    newest, oldest = answer["votes"]
    assert (newest["board"], newest["item_id"], newest["vote"], newest["artist"]) == ("tools", "t1", "down", None)
    assert (oldest["item_id"], oldest["value"], oldest["comment"]) == ("s1", 1, "né")
    assert (oldest["title"], oldest["artist"]) == ("Song s1", "Artist s1")
    assert newest["seq"] > oldest["seq"]
    assert newest["voted_at"].endswith("Z")

    page = (await house.free.get("/api/v1/me/votes?limit=1&offset=1")).json()
    assert [ballot["item_id"] for ballot in page["votes"]] == ["s1"]
    beyond = (await house.free.get("/api/v1/me/votes?offset=5")).json()
    assert (beyond["total"], beyond["votes"]) == (2, [])

    await house.free.delete("/api/v1/vote?board=songs&item_id=s1")
    assert [vote["item_id"] for vote in (await house.free.get("/api/v1/me/votes")).json()["votes"]] == ["t1"]


async def test_many_who_ask_at_once_wait_for_the_archive_together(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, gate, came, waits = house.services, asyncio.Event(), 0, 0
    share, wait = services._catching_up.get, services._caught_up

    async def coming(shard: int, read: Callable[[], Awaitable[None]]) -> None:
        nonlocal came
        came += 1
        await share(shard, read)

    async def waiting(shard: int) -> None:
        nonlocal waits
        waits += 1
        await gate.wait()
        await wait(shard)

    monkeypatch.setattr(services._catching_up, "get", coming)
    monkeypatch.setattr(services, "_caught_up", waiting)
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up"})
    async with asyncio.timeout(10):
        asking = [asyncio.create_task(house.free.get("/api/v1/me/votes"))]
        while not waits:
            await asyncio.sleep(0)
        asking += [asyncio.create_task(house.free.get("/api/v1/me/votes")) for _ in range(50)]
        while came < 51:
            await asyncio.sleep(0)
        gate.set()
        assert {(await answer).json()["total"] for answer in asking} == {1}
    assert waits == 2


async def test_only_so_many_look_up_their_ballots_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.services, "own_votes", Turns(0, within=0.01))
    assert refusal(await house.free.get("/api/v1/me/votes")) == (503, "overloaded")


async def test_a_page_that_can_not_be(house: House) -> None:
    for query in ("limit=0", "limit=1001", "limit=x", "offset=-1", "offset=99999999999", "limit="):
        assert refusal(await house.free.get(f"/api/v1/me/votes?{query}")) == (400, "invalid")
