"""Songs and tools: adding, listing, finding."""

import asyncio
from typing import Any

import pytest

from app.turns import Turns
from storage.errors import StoreUnavailable
from tests.app.conftest import House, song, tool
from tests.app.contract import refusal

FULL_SONG = song("full", genre="ambient", mood="calm", tempo=92.5)
FULL_TOOL = tool(
    "full",
    affiliate_link="https://full.example/?via=plaudit",
    commission_rate=0.2,
    category="stems",
    features=["stem separation", "key detection"],
    pricing="freemium",
)


async def test_songs_and_tools_come_back_as_they_were_given(house: House) -> None:
    for path, given, board in (("/api/v1/songs", FULL_SONG, "songs"), ("/api/v1/tools", FULL_TOOL, "tools")):
        added = await house.admin.post(path, given)
        assert (added.status_code, added.json()) == (201, given)
        found = (await house.door.get(f"{path}/full")).json()
        assert found.pop("created_at").endswith("Z")
        none = {"up_votes": 0, "down_votes": 0, "score": 0}
        assert found == given | none | {"boards": {board: none}}
        ranked = (await house.door.get(f"/api/v1/boards/{board}/items/full")).json()
        assert ranked["item"]["score"] == 0


async def test_counts_follow_a_vote_at_once(house: House) -> None:
    rules = {"slug": "likes", "title": "Likes", "item_type": "song", "ballot": {"kind": "like"}}
    await house.admin.post("/api/v1/boards", rules)
    await house.admin.post("/api/v1/boards/likes/items", {"item_id": "s1"})
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "down"})
    await house.free.post("/api/v1/vote", {"board": "likes", "item_id": "s1", "vote": "up"})
    found = (await house.door.get("/api/v1/songs/s1")).json()
    assert (found["up_votes"], found["down_votes"], found["score"]) == (0, 1, -1)
    assert found["boards"]["songs"] == {"up_votes": 0, "down_votes": 1, "score": -1}
    await house.services.caught_up(house.tenant.shard)
    listed = (await house.door.get("/api/v1/songs")).json()["songs"]
    assert [(item["id"], item["down_votes"]) for item in listed] == [("s2", 0), ("s1", 1)]
    assert listed[1]["boards"]["likes"] == {"up_votes": 1, "down_votes": 0, "score": 1}


async def test_pages(house: House) -> None:
    await house.admin.post("/api/v1/songs", [song(f"n{n}") for n in range(5)])
    page = (await house.door.get("/api/v1/songs?limit=2&offset=1")).json()
    assert (page["total"], page["limit"], page["offset"]) == (7, 2, 1)
    assert [item["id"] for item in page["songs"]] == ["n3", "n2"]
    beyond = (await house.door.get("/api/v1/songs?offset=100")).json()
    assert (beyond["total"], beyond["songs"]) == (7, [])
    assert refusal(await house.door.get("/api/v1/songs?limit=0")) == (400, "invalid")
    tools = (await house.door.get("/api/v1/tools")).json()
    assert [item["id"] for item in tools["tools"]] == ["t1"]


async def test_a_search_forgives_typing_errors(house: House) -> None:
    await house.admin.post("/api/v1/songs", [song("g", title="Glass Rivers", artist="Vela")])
    await house.admin.post("/api/v1/tools", tool("w", name="Stemwright"))
    for text in ("glass", "Galss Rivers", "rivrs", "vela"):
        found = (await house.door.get("/api/v1/songs", params={"q": text})).json()
        assert [item["id"] for item in found["songs"]] == ["g"], text
    assert (await house.door.get("/api/v1/tools?q=stemwrihgt")).json()["total"] == 1
    assert (await house.door.get("/api/v1/songs?q=xylophone")).json()["total"] == 0
    # Nothing to look for is everything; marks of a pattern are letters like any other.
    assert (await house.door.get("/api/v1/songs?q=")).json()["total"] == 3
    assert (await house.door.get("/api/v1/songs?q=%25")).json()["total"] == 0
    for text in ("x" * 201, "\0"):
        assert refusal(await house.door.get("/api/v1/songs", params={"q": text})) == (400, "invalid")


async def test_what_is_not_there(house: House) -> None:
    assert refusal(await house.door.get("/api/v1/songs/t1")) == (404, "unknown_item")
    assert refusal(await house.door.get("/api/v1/tools/s1")) == (404, "unknown_item")
    assert refusal(await house.door.get("/api/v1/songs/%00")) == (400, "invalid")
    assert refusal(await house.door.get("/api/v1/songs?tenant=nobody")) == (404, "unknown_board")


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 256},
        {"id": "a\nb"},
        {"id": "a\n"},
        {"id": 7},
        {"title": ""},
        {"title": "x" * 501},
        {"title": "a\0b"},
        {"artist": None},
        {"genre": "\0"},
        {"platform_url": "javascript:alert(1)"},
        {"platform_url": "https://x.example/\n"},
        {"tempo": "fast"},
        {"tempo": -1},
        {"extra": 1},
    ],
    ids=repr,
)
async def test_a_song_that_can_not_be(house: House, wrong: dict[str, Any]) -> None:
    assert refusal(await house.admin.post("/api/v1/songs", song("new") | wrong)) == (400, "invalid")
    both = [song("other"), song("new") | wrong]
    assert refusal(await house.admin.post("/api/v1/songs", both)) == (400, "invalid")
    assert (await house.door.get("/api/v1/songs")).json()["total"] == 2


async def test_an_array_is_added_all_or_not_at_all(house: House) -> None:
    added = await house.admin.post("/api/v1/songs", [song("b"), song("a")])
    assert [item["id"] for item in added.json()] == ["b", "a"]
    for songs in ([song("c"), song("a")], [song("c"), song("c")]):
        refused = await house.admin.post("/api/v1/songs", songs)
        assert refusal(refused) == (409, "exists")
        assert "tenant_id" not in refused.text
    assert refusal(await house.admin.post("/api/v1/songs", song("a"))) == (409, "exists")
    assert (await house.door.get("/api/v1/songs")).json()["total"] == 4
    assert (await house.admin.post("/api/v1/songs", [])).json() == []
    # A tool may have a song's name.
    assert (await house.admin.post("/api/v1/tools", tool("a"))).status_code == 201


async def test_a_thousand_at_once_and_no_more(house: House) -> None:
    songs = [song(f"n{n}") for n in range(1001)]
    assert refusal(await house.admin.post("/api/v1/songs", songs)) == (413, "too_large")
    added = await house.admin.post("/api/v1/songs", songs[:1000])
    assert [item["id"] for item in added.json()] == [item["id"] for item in songs[:1000]]
    assert (await house.door.get("/api/v1/boards/songs")).json()["total"] == 1002


async def test_who_may_add(house: House) -> None:
    for path, body in (("/api/v1/songs", song("n")), ("/api/v1/tools", tool("n"))):
        assert refusal(await house.door.post(path, body)) == (401, "unauthorized")
        assert refusal(await house.free.post(path, body)) == (403, "forbidden")


async def test_a_song_is_kept_while_the_live_store_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(house.services.live, "add_items", away)
        assert (await house.admin.post("/api/v1/songs", song("kept"))).status_code == 201
    assert (await house.door.get("/api/v1/songs/kept")).json()["id"] == "kept"
    await house.services.recovery.ensure(house.tenant.shard)
    assert (await house.door.get("/api/v1/boards/songs")).json()["total"] == 3


async def test_searches_that_last_leave_the_archive_to_others(house: House) -> None:
    archive = house.services.archive
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%word_similarity%'"
    async with asyncio.timeout(20), archive.session() as observer:
        async with archive.transaction(patient=True) as holder:
            await holder.execute("lock table items in access exclusive mode")
            searches = [asyncio.create_task(house.door.get(f"/api/v1/songs?q=text{n}")) for n in range(20)]
            while not await observer.fetchval(waiting):
                await asyncio.sleep(0)
            assert (await house.door.get("/health/ready")).status_code == 200
            assert [refusal(await search) for search in searches] == [(503, "overloaded")] * 20
        assert await observer.fetchval(waiting) == 0
        assert (await house.door.get("/api/v1/songs?q=song")).status_code == 200


async def test_where_too_many_read_rankings_songs_come_with_the_counts_that_are_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.services.standings, "_turns", Turns(0, within=0.01))
    assert refusal(await house.door.get("/api/v1/boards/songs?limit=7")) == (503, "overloaded")
    found = (await house.door.get("/api/v1/songs/s1")).json()
    assert (found["id"], found["score"]) == ("s1", 0)
