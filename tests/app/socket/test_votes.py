"""Voting over the websocket: every status and every error of the contract, exactly one answer per id."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.voting import Voting
from channels.errors import ERRORS
from tests.app.sockets import JSON, MSGPACK, Client, Message, OpenStage, Stage

both = pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])


def vote(name: int | str, item: str = "s1", **fields: Any) -> Message:
    """A vote as it is sent; fields that are `...` are left out."""
    message = {"type": "vote", "id": name, "board": "songs", "item": item, "vote": "up", **fields}
    return {field: value for field, value in message.items() if value is not ...}


def tally(ack: Message) -> tuple[Any, ...]:
    return ack["status"], ack["score"], ack["up_votes"], ack["down_votes"]


def refused(error: Message, code: str) -> None:
    assert (error["type"], error["code"]) == ("error", code)
    assert error["temporary"] is ERRORS[code].temporary
    assert error["message"]


@both
async def test_votes_are_applied_and_final(stage: Stage, subprotocol: str) -> None:
    async with stage.agent(subprotocol=subprotocol) as client:
        first = await client.vote("s1", comment="that bridge")
        assert first == {
            "type": "ack", "id": 2, "status": "applied", "seq": first["seq"], "score": 1, "up_votes": 1,
            "down_votes": 0, "quota_remaining": None,
        }  # fmt: skip
        second = await client.vote("s2", "down")
        assert (tally(second), second["seq"]) == (("applied", -1, 0, 1), first["seq"] + 1)
        again = await client.vote("s1")
        assert (tally(again), again["seq"]) == (("unchanged", 1, 1, 0), None)
        refused(await client.vote("s1", "down"), "already_voted")
        # The value of an up-or-down ballot may be said in numbers.
        assert tally(await client.ask("vote", board="songs", item="s3", value=-1)) == ("applied", -1, 0, 1)
        assert tally(await client.ask("vote", board="songs", item="s3", value=-1)) == ("unchanged", -1, 0, 1)


async def test_ballots_may_be_retracted(stage: Stage) -> None:
    async with stage.agent() as client:
        refused(await client.ask("retract", board="songs", item="s1"), "no_ballot")
        await client.vote("s1")
        gone = await client.ask("retract", board="songs", item="s1")
        assert (tally(gone), isinstance(gone["seq"], int)) == (("retracted", 0, 0, 0), True)
        refused(await client.ask("retract", board="songs", item="s1"), "no_ballot")
        refused(await client.ask("retract", board="songs", item="s9"), "unknown_item")
        refused(await client.ask("retract", board="nowhere", item="s1"), "unknown_board")
        assert tally(await client.vote("s1", "down")) == ("applied", -1, 0, 1)


async def test_where_ballots_may_change_they_do(stage: Stage) -> None:
    await stage.board("fickle", ballots_change=True)
    async with stage.agent() as client:
        assert tally(await client.vote(board="fickle")) == ("applied", 1, 1, 0)
        changed = await client.vote(vote="down", board="fickle")
        assert (tally(changed), isinstance(changed["seq"], int)) == (("changed", -1, 0, 1), True)
        assert tally(await client.vote(vote="down", board="fickle")) == ("unchanged", -1, 0, 1)


async def test_every_kind_of_ballot(stage: Stage) -> None:
    kinds: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
        ("points", {"value": 12}, [{"value": 0}, {"value": 13}, {"vote": "up"}]),
        ("stars", {"value": 5}, [{"value": 0}, {"value": 6}, {"vote": "up"}]),
        ("like", {"vote": "up"}, [{"vote": "down"}, {"value": -1}, {"value": 2}]),
        ("updown", {"vote": "down"}, [{"value": 0}, {"value": 2}, {"value": -(2**63)}]),
    ]
    for kind, fits, wrong in kinds:
        await stage.board(f"of-{kind}", kind)
        async with stage.agent(await stage.key(kind)) as client:
            for fields in wrong:
                refused(await client.ask("vote", board=f"of-{kind}", item="s1", **fields), "invalid")
            ack = await client.ask("vote", board=f"of-{kind}", item="s1", **fits)
            score = fits.get("value", -1 if fits.get("vote") == "down" else 1)
            assert (ack["status"], ack["score"]) == ("applied", score)


async def test_what_is_wrong_with_a_vote_is_said_and_changes_nothing(stage: Stage) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"vote": ...}, "invalid"),
        ({"vote": "sideways"}, "invalid"),
        ({"vote": 1}, "invalid"),
        ({"value": 1}, "invalid"),
        ({"vote": ..., "value": "1"}, "invalid"),
        ({"vote": ..., "value": 1.5}, "invalid"),
        ({"vote": ..., "value": True}, "invalid"),
        ({"weight": 100}, "invalid"),
        ({"agent_id": "other"}, "invalid"),
        ({"item": ...}, "invalid"),
        ({"item": ""}, "invalid"),
        ({"item": 7}, "invalid"),
        ({"item": "x" * 256}, "invalid"),
        ({"item": "s1\n"}, "invalid"),
        ({"item": "s1\u0085"}, "invalid"),
        ({"board": ...}, "invalid"),
        ({"board": "x" * 256}, "invalid"),
        ({"comment": "x" * 2001}, "invalid"),
        ({"comment": "\u0000"}, "invalid"),
        ({"comment": 7}, "invalid"),
        ({"board": "nowhere"}, "unknown_board"),
        ({"board": ""}, "unknown_board"),
        ({"board": "\u0000"}, "unknown_board"),
        ({"board": "tools"}, "unknown_item"),
        ({"item": "S1"}, "unknown_item"),
        ({"item": "s1 "}, "unknown_item"),
        ({"item": "x" * 255, "comment": "é" * 2000}, "unknown_item"),
    ]
    async with stage.agent() as client:
        for name, (fields, code) in enumerate(wrong):
            await client.send(vote(f"n{name}", **fields))
            answer = await client.next()
            assert (answer["id"], answer["code"]) == (f"n{name}", code), fields
            refused(answer, code)
        assert {entry["score"] for entry in (await stage.ranking())["entries"]} == {0}
        assert (await client.vote())["status"] == "applied"


async def test_a_message_whose_own_name_is_wrong_is_answered_without_it(stage: Stage) -> None:
    async with stage.agent() as client:
        for wrong in (None, 1.5, ..., "x" * 256, 2**63, [1], True):
            await client.send(vote(0, id=wrong))
            answer = await client.next()
            assert (answer["id"], answer["code"]) == (None, "invalid"), wrong
        for name in ("", "x" * 255, -(2**63), 2**63 - 1, 0):
            assert (await client.ask("ping", id=name))["id"] == name


@both
async def test_one_bad_vote_among_good_ones(stage: Stage, subprotocol: str) -> None:
    async with stage.agent(subprotocol=subprotocol) as client:
        await client.send([
            vote("a"), vote("b", "s2", vote=7), vote("c", "nothing"), {"type": "vote", "id": "d"}, vote("e", "s3"),
        ])  # fmt: skip
        answers = {answer["id"]: answer for answer in [await client.next() for _ in range(5)]}
        assert {name: answer.get("status", answer.get("code")) for name, answer in answers.items()} == {
            "a": "applied", "b": "invalid", "c": "unknown_item", "d": "invalid", "e": "applied",
        }  # fmt: skip
        assert (await client.ask("ping"))["type"] == "pong"


async def test_hello_and_what_follows_may_come_in_one_frame(stage: Stage) -> None:
    key = await stage.key()
    async with stage.connect() as client:
        await client.send([
            {"type": "hello", "id": 1, "token": key}, vote(2), {"type": "subscribe", "id": 3, "board": "songs"},
            vote(4, "s2"), {"type": "ping", "id": 5},
        ])  # fmt: skip
        answers = [await client.answer(name) for name in (1, 2, 3, 4, 5)]
        assert [answer["type"] for answer in answers] == ["welcome", "ack", "snapshot", "ack", "pong"]
        assert [entry["item"] for entry in answers[2]["entries"]] == ["s1", "s2", "s3"]


async def answers_of(client: Client, count: int) -> dict[int, Message]:
    """So many answers, all to different messages."""
    found: dict[int, Message] = {}
    for _ in range(count):
        answer = await client.next()
        assert answer["id"] not in found
        found[answer["id"]] = answer
    return found


async def test_every_message_has_exactly_one_answer(stage: Stage) -> None:
    songs = [
        {"id": f"x{n}", "title": "X", "artist": "Y", "platform": "suno", "platform_url": "https://suno.example"}
        for n in range(500)
    ]
    await stage.admin("/songs", songs)
    async with stage.agent() as client:
        for start in range(0, 2000, 250):
            await client.send([vote(start + n, f"x{(start + n) % 500}") for n in range(250)])
        found = await answers_of(client, 2000)
        assert sorted(found) == list(range(2000))
        statuses = [found[name]["status"] for name in range(2000)]
        assert statuses == ["applied"] * 500 + ["unchanged"] * 1500
        seqs = [found[name]["seq"] for name in range(500)]
        assert seqs == list(range(seqs[0], seqs[0] + 500))
        assert (await client.ask("ping", id="last"))["type"] == "pong"


async def test_a_frame_of_over_a_thousand_votes_is_refused_vote_by_vote(stage: Stage) -> None:
    async with stage.agent(subprotocol=MSGPACK) as client:
        await client.send([vote(n) for n in range(1001)])
        assert {answer["code"] for answer in (await answers_of(client, 1001)).values()} == {"too_large"}
        await client.send([vote(n) for n in range(1000)])
        assert [answer["status"] for answer in (await answers_of(client, 1000)).values()].count("applied") == 1


async def test_viewers_do_not_vote(stage: Stage) -> None:
    async with stage.viewer() as client:
        refused(await client.vote(), "unauthorized")
        refused(await client.ask("retract", board="songs", item="s1"), "unauthorized")
        assert (await client.ask("ping"))["type"] == "pong"


async def test_votes_are_taken_while_a_board_is_open(stage: Stage) -> None:
    now = datetime.now(UTC)
    await stage.board("later", opens_at=(now + timedelta(hours=1)).isoformat())
    await stage.board("over", closes_at=(now - timedelta(hours=1)).isoformat())
    await stage.board("on", opens_at=now.isoformat(), closes_at=(now + timedelta(hours=1)).isoformat())
    async with stage.agent() as client:
        refused(await client.vote(board="later"), "voting_closed")
        refused(await client.vote(board="over"), "voting_closed")
        refused(await client.ask("retract", board="over", item="s1"), "voting_closed")
        assert (await client.vote(board="on"))["status"] == "applied"


async def test_the_days_quota(open_stage: OpenStage) -> None:
    async with open_stage(quota_free=2) as stage, stage.agent(await stage.key("a", "free")) as client:
        assert client.last is not None
        assert client.last["quota_remaining"] == 2
        assert (await client.vote("s1"))["quota_remaining"] == 1
        assert (await client.vote("s1"))["quota_remaining"] == 1
        refused(await client.vote("s9"), "unknown_item")
        assert (await client.vote("s2"))["quota_remaining"] == 0
        error = await client.vote("s3")
        refused(error, "quota_exceeded")
        assert 0 < error["retry_after_ms"] <= 24 * 3600 * 1000
        assert (await client.vote("s1"))["status"] == "unchanged"


async def test_a_full_backlog(open_stage: OpenStage) -> None:
    async with open_stage(backlog=2) as stage, stage.agent() as client:
        await stage.services.supervisor.stop(f"flusher {stage.where.tenant.shard}")
        for item in ("s1", "s2"):
            assert (await client.vote(item))["status"] == "applied"
        error = await client.vote("s3")
        refused(error, "overloaded")
        assert error["retry_after_ms"] > 0


async def test_a_bug_is_one_answer_and_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise RuntimeError("secret")

    async with stage.agent() as client:
        with monkeypatch.context() as patch:
            patch.setattr(Voting, "cast", broken)
            error = await client.vote()
            refused(error, "internal")
            assert "secret" not in error["message"]
        assert (await client.vote())["status"] == "applied"


async def test_more_messages_a_second_than_allowed(open_stage: OpenStage) -> None:
    async with open_stage(messages_per_second=20) as stage, stage.agent() as client:
        await client.send([vote(n) for n in range(100, 130)])
        answers = await answers_of(client, 30)
        fast = [answer for answer in answers.values() if answer["type"] == "error"]
        assert 8 <= len(fast) <= 11
        for error in fast:
            refused(error, "too_fast")
            assert error["retry_after_ms"] == 1000
        await client.send([vote(n) for n in range(200, 230)])
        closed = await client.closed()
        assert closed.code == 4429
        assert closed.last is not None
        assert (closed.last["type"], closed.last["code"]) == ("bye", 4429)


async def test_a_hundred_connections_cast_one_ballot_once(stage: Stage) -> None:
    key = await stage.key()

    async def cast(ready: asyncio.Barrier) -> Message:
        async with stage.agent(key) as client:
            await ready.wait()
            return await client.vote()

    ready = asyncio.Barrier(100)
    acks = await asyncio.gather(*(cast(ready) for _ in range(100)))
    assert sorted(ack["status"] for ack in acks) == ["applied"] + ["unchanged"] * 99
    assert {ack["score"] for ack in acks} == {1}


async def test_a_field_that_is_named_twice_has_its_last_value_on_both_doors(stage: Stage) -> None:
    key = await stage.key()
    async with stage.agent(key) as agent, httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http:
        body = b'{"board": "songs", "item_id": "none", "item_id": "s1", "vote": "up"}'
        answer = (await http.post(f"{stage.url}/api/v1/vote", content=body)).json()
        assert (answer["status"], answer["item_id"]) == ("applied", "s1")
        await agent.connection.send(
            '{"type": "vote", "id": 7, "board": "songs", "item": "none", "item": "s2", "vote": "up"}'
        )
        assert (await agent.answer(7))["status"] == "applied"
