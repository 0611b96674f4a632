"""Making boards and putting items on them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.tenants import add_tenant
from tests.app.conftest import House, song
from tests.app.contract import refusal

RULES: dict[str, Any] = {"slug": "new", "title": "New", "item_type": "song", "ballot": {"kind": "updown"}}
FIVE = ["all", "day", "week", "month", "trending"]


async def test_the_standing_boards(house: House) -> None:
    boards = (await house.door.get("/api/v1/boards")).json()["boards"]
    assert boards == [
        {
            "slug": f"{kind}s",
            "title": f"{kind}s".capitalize(),
            "kind": "perpetual",
            "item_type": kind,
            "ballot": {"kind": "updown", "min": -1, "max": 1},
            "ballots_change": False,
            "windows": FIVE,
            "opens_at": None,
            "closes_at": None,
            "state": "open",
        }
        for kind in ("song", "tool")
    ]


async def test_a_board_comes_back_as_it_was_made(house: House) -> None:
    rules = RULES | {
        "slug": "Contest.2024_a-b",
        "ballot": {"kind": "points", "min": -3, "max": 12},
        "ballots_change": True,
        "windows": ["trending", "day"],
        "opens_at": "2024-05-11T21:00:00+02:00",
        "closes_at": "2024-05-11T22:30:00.5Z",
        "weights": {"free": 0.5, "pro": 1},
    }
    made = await house.admin.post("/api/v1/boards", rules)
    assert made.status_code == 201
    assert made.json() == rules | {
        "kind": "contest",
        "windows": ["all", "day", "trending"],
        "opens_at": "2024-05-11T19:00:00Z",
        "closes_at": "2024-05-11T22:30:00.500000Z",
        "state": "closed",
    }
    assert (await house.door.get("/api/v1/boards")).json()["boards"][-1] == made.json()
    assert (await house.door.get("/api/v1/boards/Contest.2024_a-b?window=day")).json()["entries"] == []


async def test_a_board_may_close_with_the_calendar(house: House) -> None:
    rules = RULES | {"slug": "ages", "opens_at": "1970-01-01T00:00:00.001Z", "closes_at": "9999-12-31T23:59:59.999Z"}
    made = (await house.admin.post("/api/v1/boards", rules)).json()
    assert (made["closes_at"], made["state"]) == ("9999-12-31T23:59:59.999000Z", "open")
    assert (await house.door.get("/api/v1/boards")).json()["boards"][-1] == made


async def test_states(house: House) -> None:
    now = datetime.now(UTC)
    hours = {n: (now + timedelta(hours=n)).isoformat() for n in (-2, -1, 1, 2)}
    times = [(hours[1], hours[2]), (hours[-1], hours[1]), (hours[-2], hours[-1]), (hours[-1], None)]
    boards = [RULES | {"slug": f"b{n}", "opens_at": a, "closes_at": b} for n, (a, b) in enumerate(times)]
    made = (await house.admin.post("/api/v1/boards", boards)).json()
    assert [board["state"] for board in made] == ["scheduled", "open", "closed", "open"]


@pytest.mark.parametrize(
    ("ballot", "bounds"),
    [
        ({"kind": "updown"}, (-1, 1)),
        ({"kind": "updown", "min": -1, "max": 1}, (-1, 1)),
        ({"kind": "like"}, (1, 1)),
        ({"kind": "stars", "min": 1}, (1, 5)),
        ({"kind": "points", "min": -10_000, "max": 10_000}, (-10_000, 10_000)),
        ({"kind": "points", "min": 7, "max": 7}, (7, 7)),
    ],
    ids=repr,
)
async def test_ballots(house: House, ballot: dict[str, Any], bounds: tuple[int, int]) -> None:
    made = (await house.admin.post("/api/v1/boards", RULES | {"ballot": ballot})).json()
    assert (made["ballot"]["min"], made["ballot"]["max"]) == bounds


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": ""},
        {"slug": "a b"},
        {"slug": "-a"},
        {"slug": "a\n"},
        {"slug": "x" * 101},
        {"title": ""},
        {"item_type": "artist"},
        {"ballot": {"kind": "ranked"}},
        {"ballot": {"kind": "points"}},
        {"ballot": {"kind": "points", "min": 1}},
        {"ballot": {"kind": "points", "min": 2, "max": 1}},
        {"ballot": {"kind": "points", "min": 0, "max": 10_001}},
        {"ballot": {"kind": "points", "min": 0.5, "max": 1}},
        {"ballot": {"kind": "stars", "max": 10}},
        {"ballot": {"kind": "updown", "min": 0}},
        {"ballot": {"kind": "like", "step": 1}},
        {"ballot": "updown"},
        {"ballots_change": "no"},
        {"windows": ["year"]},
        {"opens_at": "tomorrow"},
        {"opens_at": "2026-05-16T19:00:00"},
        {"opens_at": 1_779_000_000_000},
        {"opens_at": "1969-12-31T23:59:59Z"},
        {"opens_at": "0001-01-01T00:00:00+12:00"},
        {"closes_at": "9999-12-31T23:59:59-00:01"},
        {"closes_at": "9999-12-31T23:59:59.9996Z"},
        {"opens_at": "2026-05-16T19:00:00Z", "closes_at": "2026-05-16T19:00:00Z"},
        {"weights": {"free": 0.005}},
        {"weights": {"free": -1}},
        {"weights": {"pro": 100.01}},
        {"weights": {"gold": 1}},
        {"close_at": "2026-05-16T19:00:00Z"},
    ],
    ids=repr,
)
async def test_a_board_that_can_not_be(house: House, wrong: dict[str, Any]) -> None:
    assert refusal(await house.admin.post("/api/v1/boards", RULES | wrong)) == (400, "invalid")
    both = [RULES | {"slug": "other"}, RULES | wrong]
    assert refusal(await house.admin.post("/api/v1/boards", both)) == (400, "invalid")
    assert len((await house.door.get("/api/v1/boards")).json()["boards"]) == 2


async def test_boards_are_made_all_or_not_at_all(house: House) -> None:
    made = await house.admin.post("/api/v1/boards", [RULES | {"slug": "b"}, RULES | {"slug": "a"}])
    assert [board["slug"] for board in made.json()] == ["b", "a"]
    for slugs in (("c", "songs"), ("c", "c"), ("a",)):
        boards = [RULES | {"slug": slug} for slug in slugs]
        assert refusal(await house.admin.post("/api/v1/boards", boards)) == (409, "exists")
    assert refusal(await house.admin.post("/api/v1/boards", RULES | {"slug": "a"})) == (409, "exists")
    assert len((await house.door.get("/api/v1/boards")).json()["boards"]) == 4
    assert refusal(await house.admin.post("/api/v1/boards", [RULES] * 1001)) == (413, "too_large")
    assert (await house.admin.post("/api/v1/boards", [])).json() == []


async def test_items_onto_a_board(house: House) -> None:
    await house.admin.post("/api/v1/boards", RULES)
    path = "/api/v1/boards/new/items"
    added = await house.admin.post(path, {"item_id": "s1"})
    assert (added.status_code, added.json()) == (201, {"board": "new", "item_id": "s1"})
    assert (await house.door.get("/api/v1/boards/new")).json()["entries"][0]["title"] == "Song s1"

    await house.admin.post("/api/v1/songs", [song("a"), song("b")])
    refusals: list[tuple[Any, tuple[int, str]]] = [
        ({"item_id": "s1"}, (409, "exists")),
        ([{"item_id": "s2"}, {"item_id": "s1"}], (409, "exists")),
        ([{"item_id": "s2"}, {"item_id": "s2"}], (409, "exists")),
        ([{"item_id": "s2"}, {"item_id": "nothing"}], (404, "unknown_item")),
        ({"item_id": "t1"}, (404, "unknown_item")),
        ({"item_id": "a\0"}, (400, "invalid")),
        ({"item": "s2"}, (400, "invalid")),
        ([{"item_id": "s2"}] * 1001, (413, "too_large")),
    ]
    for body, expected in refusals:
        assert refusal(await house.admin.post(path, body)) == expected
    assert (await house.door.get("/api/v1/boards/new")).json()["total"] == 1
    several = await house.admin.post(path, [{"item_id": "b"}, {"item_id": "a"}])
    assert [item["item_id"] for item in several.json()] == ["b", "a"]
    assert (await house.door.get("/api/v1/boards/new")).json()["total"] == 3
    nowhere = await house.admin.post("/api/v1/boards/nothing/items", {"item_id": "s1"})
    assert refusal(nowhere) == (404, "unknown_board")


async def test_who_may_make_boards(house: House) -> None:
    for path, body in (("/api/v1/boards", RULES), ("/api/v1/boards/songs/items", {"item_id": "s1"})):
        assert refusal(await house.door.post(path, body)) == (401, "unauthorized")
        assert refusal(await house.free.post(path, body)) == (403, "forbidden")


async def test_everything_is_a_tenants(house: House) -> None:
    tenant, key = await add_tenant(house.services.directory, "other", 1)
    await house.services.serve_shard(tenant.shard)
    other = house.door.with_key(key)
    assert (await other.post("/api/v1/songs", song("s1", title="Theirs"))).status_code == 201
    made = await other.post("/api/v1/agents", {"agent_id": "free", "tier": "free"})
    agent = house.door.with_key(made.json()["api_key"])
    vote = {"item_type": "song", "item_id": "s1", "vote": "up"}
    # A call acts on its key's tenant, whatever it names.
    assert (await agent.post("/api/v1/vote?tenant=default", vote)).json()["score"] == 1
    for door, query, titles in (
        (house.door, "", ["Song s1", "Song s2"]),
        (house.door, "?tenant=default", ["Song s1", "Song s2"]),
        (house.door, "?tenant=other", ["Theirs"]),
        (agent, "", ["Theirs"]),
        (agent, "?tenant=default", ["Theirs"]),
        (house.free, "?tenant=other", ["Song s1", "Song s2"]),
    ):
        entries = (await door.get(f"/api/v1/boards/songs{query}")).json()["entries"]
        assert [entry["title"] for entry in entries] == titles
    assert (await house.door.get("/api/v1/songs/s1")).json()["up_votes"] == 0
    assert (await house.door.get("/api/v1/songs?tenant=other")).json()["total"] == 1
