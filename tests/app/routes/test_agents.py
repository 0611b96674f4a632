"""Agents and keys."""

from typing import Any

from tests.app.conftest import House
from tests.app.contract import Door, refusal

UP = {"item_type": "song", "item_id": "s1", "vote": "up"}


async def test_a_new_agent_votes_with_its_key(house: House) -> None:
    made = await house.admin.post("/api/v1/agents", {"agent_id": "a/1 ä", "tier": "pro"})
    assert made.status_code == 201
    answer = made.json()
    assert (answer["agent_id"], answer["tier"]) == ("a/1 ä", "pro")
    assert made.headers["cache-control"] == "no-store"
    agent = house.door.with_key(answer["api_key"])
    assert (await agent.get("/api/v1/me")).json()["quota_remaining"] == 1000
    assert (await agent.post("/api/v1/vote", UP | {"agent_id": "a/1 ä"})).status_code == 201


async def test_agents_are_made_all_or_not_at_all(house: House) -> None:
    names = ["b", "a", "c"]
    made = await house.admin.post("/api/v1/agents", [{"agent_id": name, "tier": "free"} for name in names])
    assert [agent["agent_id"] for agent in made.json()] == names
    assert len({agent["api_key"] for agent in made.json()}) == 3
    for agents in (["d", "a"], ["d", "d"]):
        body = [{"agent_id": name, "tier": "free"} for name in agents]
        refused = await house.admin.post("/api/v1/agents", body)
        assert refusal(refused) == (409, "exists")
        assert "tenant_id" not in refused.text
    assert (await house.admin.post("/api/v1/agents", {"agent_id": "d", "tier": "free"})).status_code == 201
    many = [{"agent_id": f"n{n}", "tier": "free"} for n in range(1001)]
    assert refusal(await house.admin.post("/api/v1/agents", many)) == (413, "too_large")
    assert (await house.admin.post("/api/v1/agents", [])).json() == []


async def test_an_agent_that_can_not_be(house: House) -> None:
    bodies: list[Any] = [
        {"agent_id": "x"},
        {"agent_id": "x", "tier": "gold"},
        {"agent_id": "", "tier": "free"},
        {"agent_id": "x" * 256, "tier": "free"},
        {"agent_id": "x\0", "tier": "free"},
        {"agent_id": "x", "tier": "free", "reputation_score": 5},
        "x",
        b"{",
    ]
    for body in bodies:
        assert refusal(await house.admin.post("/api/v1/agents", body)) == (400, "invalid")


async def test_further_keys(house: House) -> None:
    path = "/api/v1/agents/free/keys"
    keys = [(await house.admin.post(path)).json(), (await house.admin.post(path, {})).json()]
    several = await house.admin.post(path, [{}, {}])
    assert several.status_code == 201
    keys += several.json()
    assert len({key["key_id"] for key in keys}) == 4
    for key in keys:
        me = (await house.door.with_key(key["api_key"]).get("/api/v1/me")).json()
        assert me["agent_id"] == "free"
    assert refusal(await house.admin.post("/api/v1/agents/nobody/keys")) == (404, "unknown_item")
    assert refusal(await house.admin.post(path, {"name": "x"})) == (400, "invalid")
    assert refusal(await house.admin.post(path, [{}] * 1001)) == (413, "too_large")


async def test_a_revoked_key_stops_working_at_once(house: House) -> None:
    key = (await house.admin.post("/api/v1/agents/free/keys")).json()
    agent: Door = house.door.with_key(key["api_key"])
    assert (await agent.post("/api/v1/vote", UP)).status_code == 201
    path = f"/api/v1/agents/free/keys/{key['key_id']}"
    assert (await house.admin.delete(path)).status_code == 204
    assert refusal(await agent.post("/api/v1/vote", UP)) == (401, "unauthorized")
    # A key that is not good is not good for reading either.
    assert refusal(await agent.get("/api/v1/boards")) == (401, "unauthorized")
    assert refusal(await house.admin.delete(path)) == (404, "unknown_item")
    # The agent's other key is another matter.
    assert (await house.free.get("/api/v1/me")).status_code == 200


async def test_keys_that_are_not_there(house: House) -> None:
    key = (await house.admin.post("/api/v1/agents/free/keys")).json()["key_id"]
    for path in (f"pro/keys/{key}", "free/keys/0", "free/keys/x", f"free/keys/{10**30}", "free/keys/²"):
        assert refusal(await house.admin.delete(f"/api/v1/agents/{path}")) == (404, "unknown_item")


async def test_who_may_make_agents(house: House) -> None:
    for path in ("/api/v1/agents", "/api/v1/agents/free/keys"):
        body = {"agent_id": "x", "tier": "enterprise"}
        assert refusal(await house.door.post(path, body)) == (401, "unauthorized")
        assert refusal(await house.free.post(path, body)) == (403, "forbidden")
    assert refusal(await house.free.delete("/api/v1/agents/free/keys/1")) == (403, "forbidden")
