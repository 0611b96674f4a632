"""What goes with a live ranking: its past, comments, and how lively it is."""

import pytest

from app.turns import Turns
from storage.calendar import moment
from storage.types import Row
from tests.app.conftest import House
from tests.app.contract import refusal

MINUTE = 60_000


async def keep(house: House, minutes_ago: int, *rows: tuple[str, int]) -> int:
    """A sample of the board of songs; answers its moment (ms)."""
    board = await house.services.registry.board(house.tenant, "songs")
    at = house.services.now() - minutes_ago * MINUTE
    await house.services.history.add(board.number, "all", at, [Row(item, 0, points, 0, 0) for item, points in rows])
    return at


async def test_the_past_of_a_ranking(house: House) -> None:
    await keep(house, 90, ("s1", 100), ("s2", 50))
    await keep(house, 70, ("s1", 300), ("s2", 250))
    second = await keep(house, 20, ("s2", 500), ("s1", 300))
    third = await keep(house, 10, ("s1", 500), ("s2", 500))
    told = (await house.door.get("/api/v1/boards/songs/history")).json()
    # What stood when the hour began was seen before it.
    assert told["times"][0] == told["since"]
    assert told["times"][1:] == [moment(at).isoformat().replace("+00:00", "Z") for at in (second, third)]
    assert [(line["item_id"], line["ranks"], line["scores"]) for line in told["items"]] == [
        ("s1", [1, 2, 1], [3, 3, 5]),
        ("s2", [2, 1, 1], [2.5, 5, 5]),
    ]
    assert [(line["title"], line["artist"]) for line in told["items"]] == [
        ("Song s1", "Artist s1"),
        ("Song s2", "Artist s2"),
    ]


async def test_one_item_and_so_many_moments(house: House) -> None:
    for minutes_ago in range(50, 10, -1):
        await keep(house, minutes_ago, ("s1", 5000 - minutes_ago), ("s2", 1))
    told = (await house.door.get("/api/v1/boards/songs/history?top=0&item=s2&samples=4")).json()
    assert [line["item_id"] for line in told["items"]] == ["s2"]
    assert 2 <= len(told["times"]) <= 5
    assert told["items"][0]["ranks"] == [2] * len(told["times"])
    both = (await house.door.get("/api/v1/boards/songs/history?top=1&item=s2")).json()
    assert [line["item_id"] for line in both["items"]] == ["s1", "s2"]


async def test_an_item_that_stood_below_has_no_rank(house: House) -> None:
    await keep(house, 9, ("s1", 100))
    await keep(house, 5, ("s2", 200), ("s1", 100))
    told = (await house.door.get("/api/v1/boards/songs/history?top=1")).json()
    assert [(line["item_id"], line["ranks"], line["scores"]) for line in told["items"]] == [
        ("s2", [None, 1], [None, 2])
    ]


async def test_a_board_without_a_past(house: House) -> None:
    told = (await house.door.get("/api/v1/boards/tools/history?window=day")).json()
    assert (told["board"], told["window"], told["times"], told["items"]) == ("tools", "day", [], [])


@pytest.mark.parametrize(
    "query",
    [
        *("window=year", "top=101", "samples=1", "since=yesterday", "since=2026-05-16T19:00:00"),
        "since=2026-05-16T19:00:00Z&until=2026-05-16T19:00:00Z",
        "since=2020-05-16T19:00:00Z",
        "since=9999-12-01T00:00:00Z&until=9999-12-31T23:59:59-12:00",
        "since=9999-12-01T00:00:00Z&until=9999-12-31T23:59:59.9996Z",
        "until=0001-01-01T00:00:00%2B12:00",
    ],
)
async def test_a_past_that_can_not_be(house: House, query: str) -> None:
    assert refusal(await house.door.get(f"/api/v1/boards/songs/history?{query}")) == (400, "invalid")


async def test_the_last_moment_of_all_is_like_others(house: House) -> None:
    told = (await house.door.get("/api/v1/boards/songs/history?until=9999-12-31T23:59:59.999Z")).json()
    assert (told["since"], told["until"]) == ("9999-12-31T22:59:59.999000Z", "9999-12-31T23:59:59.999000Z")


async def test_who_is_not_there_has_no_past(house: House) -> None:
    assert refusal(await house.door.get("/api/v1/boards/none/history")) == (404, "unknown_board")
    assert refusal(await house.door.get("/api/v1/boards/songs/history?item=t1")) == (404, "unknown_item")


async def say(house: House, words: dict[str, str | None]) -> None:
    """A vote on s1 from each tier's agent, with its words, all of them in the archive."""
    for tier, comment in words.items():
        vote = {"item_type": "song", "item_id": "s1", "vote": "down" if tier == "pro" else "up"}
        body = vote if comment is None else vote | {"comment": comment}
        assert (await getattr(house, tier).post("/api/v1/vote", body)).status_code == 201
    await house.services.caught_up(house.tenant.shard)


async def test_comments_newest_first_page_by_page(house: House) -> None:
    await say(house, {"free": "that bridge", "pro": "شكرا 😀", "enterprise": "x" * 2000})
    first = (await house.door.get("/api/v1/boards/songs/items/s1/comments?limit=2")).json()
    assert [(made["agent_id"], made["vote"], made["comment"]) for made in first["comments"]] == [
        ("enterprise", "up", "x" * 2000),
        ("pro", "down", "شكرا 😀"),
    ]
    rest = (await house.door.get(f"/api/v1/boards/songs/items/s1/comments?limit=2&before={first['next']}")).json()
    assert [made["comment"] for made in rest["comments"]] == ["that bridge"]
    assert rest["next"] is None


async def test_only_words_that_stand_are_told(house: House) -> None:
    await say(house, {"free": "taken back", "pro": "", "enterprise": None})
    await house.free.delete("/api/v1/vote?board=songs&item_id=s1")
    await house.services.caught_up(house.tenant.shard)
    told = (await house.door.get("/api/v1/boards/songs/items/s1/comments")).json()
    assert (told["comments"], told["next"]) == ([], None)


async def test_comments_that_can_not_be(house: House) -> None:
    for query in ("limit=0", "limit=101", "before=0", "before=x"):
        assert refusal(await house.door.get(f"/api/v1/boards/songs/items/s1/comments?{query}")) == (400, "invalid")
    assert refusal(await house.door.get("/api/v1/boards/songs/items/none/comments")) == (404, "unknown_item")
    assert refusal(await house.door.get("/api/v1/boards/none/items/s1/comments")) == (404, "unknown_board")


async def test_how_lively_a_board_is(house: House) -> None:
    quiet = (await house.door.get("/api/v1/boards/songs/activity")).json()
    assert quiet == {"board": "songs", "votes_per_second": 0, "viewers": 0, "ask_after_ms": 2000}
    board = await house.services.registry.board(house.tenant, "songs")
    house.services.activity.watched({board.number: 1000})
    told = (await house.door.get("/api/v1/boards/songs/activity")).json()
    assert (told["viewers"], told["ask_after_ms"]) == (1000, 6000)
    assert refusal(await house.door.get("/api/v1/boards/none/activity")) == (404, "unknown_board")


async def test_only_so_many_look_back_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.services, "looking_back", Turns(0, within=0.01))
    assert refusal(await house.door.get("/api/v1/boards/songs/history")) == (503, "overloaded")
