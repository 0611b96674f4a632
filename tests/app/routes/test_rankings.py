"""Rankings over HTTP."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from app.movement import Movement
from app.routes import rankings as rankings_module
from storage.errors import StoreUnavailable
from storage.live import LiveStore
from storage.types import Query, Ranking, Sample
from tests.app.conftest import House, song
from tests.app.contract import refusal


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str) -> Iterator[list[Any]]:
    """Notes each call of a method, which goes on to do what it does."""
    calls: list[Any] = []
    real: Callable[..., Any] = getattr(holder, name)

    def noted(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(holder, name, noted)
        yield calls


async def vote(house: House, item: str, choice: str = "up", kind: str = "song") -> None:
    body = {"item_type": kind, "item_id": item, "vote": choice}
    assert (await house.enterprise.post("/api/v1/vote", body)).status_code == 201


async def test_a_ranking(house: House) -> None:
    await vote(house, "s2")
    answer = (await house.door.get("/api/v1/boards/songs")).json()
    assert (answer["board"], answer["window"], answer["total"]) == ("songs", "all", 2)
    assert answer["entries"] == [
        {
            "rank": rank,
            "item_id": item,
            "title": f"Song {item}",
            "artist": f"Artist {item}",
            "score": up,
            "up_votes": up,
            "down_votes": 0,
            "movement": None,
        }
        for rank, item, up in ((1, "s2", 1), (2, "s1", 0))
    ]


async def test_windows_and_parts(house: House) -> None:
    await vote(house, "s2")
    for window in ("all", "day", "week", "month", "trending"):
        answer = (await house.door.get(f"/api/v1/boards/songs?window={window}&limit=1")).json()
        assert (answer["window"], answer["total"]) == (window, 2)
        assert [entry["item_id"] for entry in answer["entries"]] == ["s2"]
    second = (await house.door.get("/api/v1/boards/songs?offset=1")).json()
    assert [(entry["rank"], entry["item_id"]) for entry in second["entries"]] == [(2, "s1")]
    assert (await house.door.get("/api/v1/boards/songs?offset=2")).json()["entries"] == []


async def test_a_ranking_that_can_not_be(house: House) -> None:
    for query in ("window=year", "limit=0", "limit=1001", "offset=-1", "limit=ten"):
        assert refusal(await house.door.get(f"/api/v1/boards/songs?{query}")) == (400, "invalid")
    for path in ("/api/v1/boards/nothing", "/api/v1/boards/songs?tenant=nobody", "/api/v1/boards/songs?tenant=%00"):
        assert refusal(await house.door.get(path)) == (404, "unknown_board")
    assert refusal(await house.door.get("/api/v1/boards/%00")) == (400, "invalid")


async def test_a_window_that_the_board_does_not_keep(house: House) -> None:
    rules = {"slug": "b", "title": "B", "item_type": "song", "ballot": {"kind": "like"}, "windows": ["day"]}
    assert (await house.admin.post("/api/v1/boards", rules)).json()["windows"] == ["all", "day"]
    assert (await house.door.get("/api/v1/boards/b?window=day")).json()["total"] == 0
    assert refusal(await house.door.get("/api/v1/boards/b?window=week")) == (400, "invalid")


async def test_an_unchanged_ranking_is_not_sent_again(house: House) -> None:
    path = "/api/v1/boards/songs"
    await vote(house, "s1")
    first = await house.door.get(path)
    tag, body = first.headers["etag"], first.json()
    assert tag == f'"{body["epoch"]}-{body["version"]}"'
    assert "Authorization" in first.headers["vary"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', f'"other",W/{tag}', "*"):
        unchanged = await house.door.get(path, headers={"if-none-match": given})
        assert (unchanged.status_code, unchanged.headers["etag"]) == (304, tag)
    for given in ('"other"', tag.strip('"'), "", f'"{tag}'):
        assert (await house.door.get(path, headers={"if-none-match": given})).status_code == 200
    await vote(house, "s2", "down")
    changed = await house.door.get(path, headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_a_repeated_read_asks_the_store_for_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/boards/songs?limit=1"
    await vote(house, "s1")
    first = await house.door.get(path)
    with counted(monkeypatch, house.services.live, "read") as reads:
        again = await house.door.get(path)
        assert (again.content, reads) == (first.content, [])
        await house.door.get("/api/v1/boards/songs?limit=2")
        await house.door.get("/api/v1/boards/songs?limit=1&window=day")
        assert len(reads) == 2
        await vote(house, "s2")
        await house.door.get(path)
        assert len(reads) == 3


async def test_a_ranking_without_the_movement_that_it_should_have_is_not_taken_for_the_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/boards/songs?limit=1"
    found: dict[Sample, dict[str, int]] = {}
    read = LiveStore.read

    async def sampled(live: LiveStore, shard: int, queries: Sequence[Query]) -> list[Ranking | None]:
        return [ranking and replace(ranking, reference=1) for ranking in await read(live, shard, queries)]

    async def ranks(_: Movement, wanted: Iterable[Sample]) -> dict[Sample, dict[str, int]]:
        return {sample: found[sample] for sample in wanted if sample in found}

    await vote(house, "s1")
    monkeypatch.setattr(LiveStore, "read", sampled)
    monkeypatch.setattr(Movement, "ranks", ranks)
    monkeypatch.setattr(rankings_module, "PAUSE", 0.0)
    lacking = await house.door.get(path)
    assert lacking.json()["entries"][0]["movement"] is None
    board = (await house.services.registry.boards(house.tenant))["songs"]
    found[Sample(board.number, "all", 1)] = {"s1": 3}
    whole = await house.door.get(path, headers={"if-none-match": lacking.headers["etag"]})
    assert (whole.json()["version"], whole.json()["entries"][0]["movement"]) == (lacking.json()["version"], 2)
    assert whole.headers["etag"] == f'"{whole.json()["epoch"]}-{whole.json()["version"]}"'
    assert (await house.door.get(path, headers={"if-none-match": whole.headers["etag"]})).status_code == 304


async def test_a_vote_shows_as_soon_as_it_is_answered(house: House) -> None:
    await house.admin.post("/api/v1/songs", [song(f"n{n}") for n in range(50)])
    for n in range(50):
        await vote(house, f"n{n}")
        entries = (await house.door.get("/api/v1/boards/songs?limit=1000")).json()["entries"]
        assert sum(entry["up_votes"] for entry in entries) == n + 1


async def test_a_standing_and_its_neighbours(house: House) -> None:
    await house.admin.post("/api/v1/songs", [song(f"n{n}") for n in range(9)])
    await vote(house, "n4")
    answer = (await house.door.get("/api/v1/boards/songs/items/n2?around=2")).json()
    assert (answer["board"], answer["window"], answer["total"]) == ("songs", "all", 11)
    assert [entry["item_id"] for entry in answer["neighbours"]] == ["n0", "n1", "n2", "n3", "n5"]
    assert answer["item"] == answer["neighbours"][2]
    assert (answer["item"]["rank"], answer["item"]["title"]) == (2, "Song n2")
    top = (await house.door.get("/api/v1/boards/songs/items/n4?window=day&around=0")).json()
    assert ([top["item"]], top["window"]) == (top["neighbours"], "day")
    path = "/api/v1/boards/songs/items"
    assert refusal(await house.door.get(f"{path}/nothing")) == (404, "unknown_item")
    assert refusal(await house.door.get(f"{path}/n2?around=501")) == (400, "invalid")
    assert refusal(await house.door.get(f"{path}/{'x' * 256}")) == (400, "invalid")
    assert refusal(await house.door.get("/api/v1/boards/nothing/items/n2")) == (404, "unknown_board")


@pytest.mark.parametrize("name", ["a/b", "/a/", "a//b", "ä ö", "100%", "a?b#c", ".", "..", "%2F", "🎵"])
async def test_any_id_can_stand_in_a_path(house: House, name: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    assert (await house.admin.post("/api/v1/songs", song(name))).status_code == 201
    assert (await house.door.get(f"/api/v1/songs/{quoted}")).json()["id"] == name
    assert (await house.door.get(f"/api/v1/boards/songs/items/{quoted}")).json()["item"]["item_id"] == name


@pytest.mark.parametrize("quoted", ["a%00b", "a%01b", "a%01%2Fb", "%2f%01", "a%0Ab", "a%C2%85b"])
async def test_no_control_character_stands_for_another_in_a_path(house: House, quoted: str) -> None:
    await house.admin.post("/api/v1/songs", [song("a/b"), song("a//b"), song("//")])
    for path in (f"/api/v1/songs/{quoted}", f"/api/v1/boards/songs/items/{quoted}", f"/api/v1/boards/{quoted}"):
        assert refusal(await house.door.get(path)) == (400, "invalid")


async def test_trending_and_the_day(house: House) -> None:
    await house.admin.post("/api/v1/songs", [song(f"n{n:02}") for n in range(20)])
    await vote(house, "n07")
    await vote(house, "t1", kind="tool")
    answer = (await house.door.get("/api/v1/trending")).json()
    assert [entry["item_id"] for entry in answer["songs"]] == ["n07", *(f"n0{n}" for n in range(10) if n != 7)]
    assert [(entry["item_id"], entry["up_votes"]) for entry in answer["tools"]] == [("t1", 1)]
    assert answer["updated_at"].endswith("Z")
    assert "artist" not in answer["tools"][0]

    day = await house.door.get("/api/v1/top/daily?limit=3")
    assert [entry["item_id"] for entry in day.json()["entries"]] == ["n07", "n00", "n01"]
    assert (day.json()["board"], day.json()["window"]) == ("songs", "day")
    tools = (await house.door.get("/api/v1/top/daily?item_type=tool")).json()
    assert [entry["item_id"] for entry in tools["entries"]] == ["t1"]
    assert refusal(await house.door.get("/api/v1/top/daily?item_type=artist")) == (400, "invalid")


async def test_a_store_that_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the live store does not answer: redis://secret@host")

    monkeypatch.setattr(house.services.live, "read", away)
    refused = await house.door.get("/api/v1/trending")
    assert refusal(refused) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert "secret" not in refused.text
    # The catalogue is in the archive, and readable all the same.
    assert (await house.door.get("/api/v1/songs/s1")).json()["up_votes"] == 0


@pytest.mark.parametrize("twice", ["limit=1&limit=2", "window=day&limit=1&window=day", "tenant=default&tenant=other"])
async def test_what_is_said_twice_is_not_guessed_at(house: House, twice: str) -> None:
    assert refusal(await house.door.get(f"/api/v1/boards/songs?{twice}")) == (400, "invalid")
    # What a call does not know, it does not look at.
    assert (await house.door.get("/api/v1/boards/songs?more=1&more=2")).status_code == 200
