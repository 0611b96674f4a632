"""The HTTP door for votes: every status and every error of the contract."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import services as services_module
from tests.app.conftest import House, OpenHouse
from tests.app.contract import refusal

UP = {"item_type": "song", "item_id": "s1", "vote": "up"}
DOWN = UP | {"vote": "down"}


async def make_board(house: House, slug: str, **rules: Any) -> None:
    """A board with the song `s1` on it."""
    board = {"slug": slug, "title": slug, "item_type": "song", "ballot": {"kind": "updown"}} | rules
    assert (await house.admin.post("/api/v1/boards", board)).status_code == 201
    assert (await house.admin.post(f"/api/v1/boards/{slug}/items", {"item_id": "s1"})).status_code == 201


def shown(answer: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(answer[name] for name in ("status", "score", "up_votes", "down_votes", "rank"))


async def test_a_first_vote_is_applied(house: House) -> None:
    response = await house.free.post("/api/v1/vote", UP | {"comment": "that bridge", "agent_id": "free"})
    assert response.status_code == 201
    answer = response.json()
    assert answer == {
        "status": "applied",
        "board": "songs",
        "item_id": "s1",
        "seq": answer["seq"],
        "score": 1,
        "up_votes": 1,
        "down_votes": 0,
        "rank": 1,
        "quota_remaining": 99,
    }
    assert answer["seq"] > 0
    assert response.headers["ratelimit-policy"] == '"daily";q=100;w=86400'
    seconds = re.fullmatch(r'"daily";r=99;t=(\d+)', response.headers["ratelimit"])
    assert seconds is not None
    assert 0 < int(seconds[1]) <= 86_400


async def test_a_final_ballot_stands(house: House) -> None:
    await house.free.post("/api/v1/vote", UP)
    again = await house.free.post("/api/v1/vote", UP)
    assert (again.status_code, again.json()["status"], again.json()["seq"]) == (200, "unchanged", None)
    assert again.json()["quota_remaining"] == 99
    other = await house.free.post("/api/v1/vote", DOWN)
    assert refusal(other) == (409, "already_voted")
    assert other.json()["temporary"] is False
    assert other.headers["ratelimit"].startswith('"daily";r=99;')


async def test_a_ballot_that_may_change_changes(house: House) -> None:
    await make_board(house, "open", ballots_change=True)
    vote = {"board": "open", "item_id": "s1", "vote": "up"}
    assert shown((await house.free.post("/api/v1/vote", vote)).json()) == ("applied", 1, 1, 0, 1)
    changed = await house.free.post("/api/v1/vote", vote | {"vote": "down"})
    assert changed.status_code == 200
    assert shown(changed.json()) == ("changed", -1, 0, 1, 1)
    assert changed.json()["quota_remaining"] == 98


async def test_a_tier_without_a_limit_has_no_rate_limit(house: House) -> None:
    response = await house.enterprise.post("/api/v1/vote", DOWN)
    assert shown(response.json()) == ("applied", -1, 0, 1, 2)
    assert response.json()["quota_remaining"] is None
    assert "ratelimit" not in response.headers
    assert "ratelimit-policy" not in response.headers


async def test_a_used_up_quota(open_house: OpenHouse) -> None:
    async with open_house(quota_free=1) as house:
        assert (await house.free.post("/api/v1/vote", UP)).json()["quota_remaining"] == 0
        refused = await house.free.post("/api/v1/vote", UP | {"item_id": "s2"})
        assert refusal(refused) == (429, "quota_exceeded")
        assert refused.headers["ratelimit"].startswith('"daily";r=0;')
        wait = refused.json()["retry_after_ms"]
        assert 0 < wait <= 86_400_000
        assert int(refused.headers["retry-after"]) == -(-wait // 1000)
        # The same vote again uses none.
        assert (await house.free.post("/api/v1/vote", UP)).json()["status"] == "unchanged"


async def test_a_full_backlog(open_house: OpenHouse) -> None:
    async with open_house(backlog=1) as house:
        shard = house.tenant.shard
        await house.services.caught_up(shard)
        await house.services.supervisor.stop(f"flusher {shard}")
        assert (await house.free.post("/api/v1/vote", UP)).status_code == 201
        refused = await house.free.post("/api/v1/vote", UP | {"item_id": "s2"})
        assert refusal(refused) == (503, "overloaded")
        assert refused.json()["temporary"] is True
        assert int(refused.headers["retry-after"]) >= 1
        results = (await house.free.post("/api/v1/votes", {"votes": [UP, UP | {"item_id": "s2"}]})).json()["results"]
        assert [result["status"] for result in results] == ["unchanged", "error"]
        assert (results[1]["code"], results[1]["temporary"]) == ("overloaded", True)
        house.services.supervisor.start("flusher", house.services.flushers[shard].run)
        await house.services.caught_up(shard)
        assert (await house.free.get("/api/v1/me")).json()["quota_remaining"] == 99


async def test_retracting(house: House) -> None:
    await house.free.post("/api/v1/vote", UP)
    where = {"board": "songs", "item_id": "s1"}
    gone = await house.free.delete("/api/v1/vote", params=where)
    assert gone.status_code == 200
    assert shown(gone.json()) == ("retracted", 0, 0, 0, 1)
    assert gone.json()["quota_remaining"] == 99
    assert refusal(await house.free.delete("/api/v1/vote", params=where)) == (404, "no_ballot")
    assert refusal(await house.free.delete("/api/v1/vote", params={"board": "songs"})) == (400, "invalid")
    assert refusal(await house.free.delete("/api/v1/vote", params=where | {"board": "?"})) == (404, "unknown_board")
    assert refusal(await house.free.delete("/api/v1/vote", params=where | {"item_id": "?"})) == (404, "unknown_item")
    # What was final is free again.
    assert (await house.free.post("/api/v1/vote", DOWN)).status_code == 201


BAD_VOTES: list[tuple[Any, str]] = [
    (b"", "nothing"),
    (b"{", "half"),
    (b"vote=up", "a form"),
    (b'{"item_type":"song","item_id":"\xff","vote":"up"}', "not UTF-8"),
    (b"[" * 100_000, "too deep"),
    ([UP], "an array"),
    ("up", "a string"),
    ({}, "empty"),
    (UP | {"vote": "sideways"}, "a choice that there is not"),
    (UP | {"vote": 1}, "a choice that is a number"),
    (UP | {"value": 1}, "both forms"),
    ({"item_type": "song", "item_id": "s1"}, "neither form"),
    ({"item_type": "song", "item_id": "s1", "value": "1"}, "a value that is a string"),
    ({"item_type": "song", "item_id": "s1", "value": 1.5}, "a value that is not whole"),
    ({"item_type": "song", "item_id": "s1", "value": True}, "a value that is a boolean"),
    ({"item_type": "song", "item_id": "s1", "value": 0}, "no value of up or down"),
    ({"item_type": "song", "item_id": "s1", "value": 2}, "outside the ballot"),
    ({"item_type": "song", "item_id": "s1", "value": 10**30}, "beyond integers"),
    (UP | {"board": "songs"}, "board and type"),
    ({"item_id": "s1", "vote": "up"}, "neither board nor type"),
    (UP | {"item_type": "artist"}, "a type that there is not"),
    (UP | {"extra": 1}, "an unknown field"),
    (UP | {"item_id": ""}, "an empty id"),
    (UP | {"item_id": "x" * 256}, "a long id"),
    (UP | {"item_id": 7}, "an id that is a number"),
    (UP | {"item_id": "s1\n"}, "a control character"),
    (UP | {"item_id": "s\x7f1"}, "DEL"),
    (UP | {"item_id": "s\x851"}, "a C1 control character"),
    (UP | {"comment": "x" * 2001}, "a long comment"),
    (UP | {"comment": "\0"}, "NUL in a comment"),
    (UP | {"comment": 5}, "a comment that is a number"),
]


async def test_what_is_no_vote_is_invalid_and_changes_nothing(house: House) -> None:
    wrong = []
    for body, what in BAD_VOTES:
        response = await house.free.post("/api/v1/vote", body)
        if refusal(response) != (400, "invalid"):
            wrong.append((what, response.text))
    assert wrong == []
    assert (await house.free.get("/api/v1/me")).json()["quota_remaining"] == 100
    assert (await house.door.get("/api/v1/boards/songs/items/s1")).json()["item"]["up_votes"] == 0


async def test_a_bad_vote_of_many_is_one_error(house: House) -> None:
    bad = [body for body, _ in BAD_VOTES if not isinstance(body, bytes)]
    votes: list[Any] = [*bad, UP, UP | {"item_id": "s2"}]
    results = (await house.free.post("/api/v1/votes", {"votes": votes})).json()["results"]
    assert [result["status"] for result in results] == ["error"] * len(bad) + ["applied"] * 2
    assert {result["code"] for result in results[:-2]} == {"invalid"}


@pytest.mark.parametrize(
    ("vote", "expected"),
    [
        (UP | {"item_id": "nothing"}, (404, "unknown_item")),
        ({"board": "nothing", "item_id": "s1", "vote": "up"}, (404, "unknown_board")),
        ({"board": "no\x00ne", "item_id": "s1", "vote": "up"}, (404, "unknown_board")),
        (UP | {"agent_id": "pro"}, (403, "forbidden")),
        ({"board": "later", "item_id": "s1", "vote": "up"}, (403, "voting_closed")),
        ({"board": "over", "item_id": "s1", "vote": "up"}, (403, "voting_closed")),
    ],
)
async def test_a_vote_that_is_refused(house: House, vote: dict[str, Any], expected: tuple[int, str]) -> None:
    now = datetime.now(UTC)
    await make_board(house, "later", opens_at=(now + timedelta(hours=1)).isoformat())
    await make_board(house, "over", closes_at=(now - timedelta(hours=1)).isoformat())
    assert refusal(await house.free.post("/api/v1/vote", vote)) == expected
    results = (await house.free.post("/api/v1/votes", {"votes": [vote, UP]})).json()["results"]
    assert (results[0]["status"], results[0]["code"]) == ("error", expected[1])
    assert results[1]["status"] == "applied"


async def test_who_may_not_vote(house: House) -> None:
    for path, body in (("/api/v1/vote", UP), ("/api/v1/votes", {"votes": [UP]})):
        without = await house.door.post(path, body)
        assert refusal(without) == (401, "unauthorized")
        assert without.headers["www-authenticate"] == "Bearer"
        assert refusal(await house.door.with_key("plaudit_wrong").post(path, body)) == (401, "unauthorized")
        basic = await house.door.post(path, body, headers={"authorization": "Basic YTpi"})
        assert refusal(basic) == (401, "unauthorized")
        assert refusal(await house.admin.post(path, body)) == (403, "forbidden")


async def test_points_stars_and_likes(house: House) -> None:
    await make_board(house, "points", ballot={"kind": "points", "min": 1, "max": 12})
    await make_board(house, "stars", ballot={"kind": "stars"})
    await make_board(house, "like", ballot={"kind": "like"})
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("points", {"value": 12}, 12),
        ("stars", {"value": 5}, 5),
        ("like", {"vote": "up"}, 1),
    ]
    for board, ballot, score in cases:
        answer = await house.free.post("/api/v1/vote", {"board": board, "item_id": "s1"} | ballot)
        assert shown(answer.json()) == ("applied", score, 1, 0, 1)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("points", {"value": 13}),
        ("points", {"value": 0}),
        ("points", {"vote": "up"}),
        ("stars", {"value": 6}),
        ("stars", {"vote": "up"}),
        ("like", {"vote": "down"}),
        ("like", {"value": 2}),
    ]
    for board, ballot in wrong:
        refused = await house.pro.post("/api/v1/vote", {"board": board, "item_id": "s1"} | ballot)
        assert refusal(refused) == (400, "invalid")


async def test_weights_are_exact(house: House) -> None:
    await make_board(house, "weighed", weights={"free": 0.07, "pro": 1.1})
    vote = {"board": "weighed", "item_id": "s1", "vote": "up"}
    assert (await house.free.post("/api/v1/vote", vote)).json()["score"] == 0.07
    assert (await house.pro.post("/api/v1/vote", vote)).json()["score"] == 1.17
    assert (await house.enterprise.post("/api/v1/vote", vote)).json()["score"] == 2.17


async def test_a_batch_over_its_limit(house: House) -> None:
    votes = [UP] * 1001
    assert refusal(await house.free.post("/api/v1/votes", {"votes": votes})) == (413, "too_large")
    results = (await house.free.post("/api/v1/votes", {"votes": votes[:1000]})).json()["results"]
    assert [result["status"] for result in results] == ["applied"] + ["unchanged"] * 999
    assert (await house.free.post("/api/v1/votes", {"votes": []})).json() == {"results": []}


async def test_a_batch_that_is_none(house: House) -> None:
    bodies: list[Any] = [
        b"",
        b"{",
        b'{"votes":[{"item_type":"song","item_id":"s1","vote":"up"},{"item_id":"\xff"}]}',
        # Wrong in two ways: which of them comes first changes nothing.
        b'{"votes":[{"item_type":"song","item_id":"s1","vote":"up"},{"comment":"\xff","item_id":5}]}',
        b'{"votes":[{"item_type":"song","item_id":"s1","vote":"up"},{"item_id":5,"comment":"\xff"}]}',
        [UP],
        {},
        {"votes": UP},
        {"votes": [UP], "more": 1},
    ]
    for body in bodies:
        assert refusal(await house.free.post("/api/v1/votes", body)) == (400, "invalid")
    assert (await house.free.get("/api/v1/me")).json()["quota_remaining"] == 100


async def test_a_body_over_its_limit(house: House) -> None:
    too_much = b'{"votes": [' + b" " * 1024 * 1024 + b"]}"
    assert refusal(await house.free.post("/api/v1/votes", too_much)) == (413, "too_large")
    just_fits = b'{"votes": [' + b" " * (1024 * 1024 - 13) + b"]}"
    assert (await house.free.post("/api/v1/votes", just_fits)).status_code == 200


async def test_the_quota_of_a_batch(open_house: OpenHouse) -> None:
    async with open_house(quota_free=1) as house:
        response = await house.free.post("/api/v1/votes", {"votes": [UP, UP | {"item_id": "s2"}]})
        applied, refused = response.json()["results"]
        assert applied["quota_remaining"] == 0
        assert refused["code"] == "quota_exceeded"
        assert refused["retry_after_ms"] > 0
        assert response.headers["ratelimit"].startswith('"daily";r=0;')


async def test_a_hundred_at_once_give_one_applied(house: House) -> None:
    responses = await asyncio.gather(*[house.free.post("/api/v1/vote", UP) for _ in range(100)])
    statuses = sorted(response.json()["status"] for response in responses)
    assert statuses == ["applied"] + ["unchanged"] * 99
    assert (await house.door.get("/api/v1/boards/songs/items/s1")).json()["item"]["up_votes"] == 1


async def test_a_stop_leaves_no_vote_of_a_busy_client_in_doubt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_module, "_DRAINED_WITHIN", 0.3)
    begun = asyncio.Event()
    codes: set[str | None] = set()

    async def post() -> None:
        while "overloaded" not in codes:
            results = (await house.enterprise.post("/api/v1/votes", {"votes": [UP] * 1000})).json()["results"]
            codes.update(result.get("code") for result in results)
            begun.set()

    posting = [asyncio.create_task(post()) for _ in range(6)]
    await begun.wait()
    await house.services.drain()
    await asyncio.gather(*posting)
    assert codes == {None, "overloaded"}
