"""What the client sends and is answered, by a scripted server."""

import asyncio

import pytest

from channels.client import Vote
from channels.codec import JSON, MSGPACK, Codec
from channels.errors import ErrorCode, PlauditError
from channels.protocol import (
    Ack,
    Bye,
    CastVote,
    Error,
    Hello,
    Ping,
    Pong,
    Retract,
    ServerMessage,
)
from tests.channels.scripted import Peer, applied, connect, server

BAD = [
    Vote("songs", "a\n", "up"),
    Vote("songs", "", "up"),
    Vote("songs", "a", "up", "x" * 2001),
    Vote("songs", "a", "up", "\ud800"),
    Vote("songs\udcff", "a", "up"),
    Vote("songs", "a", 2**63),
    Vote("songs", "a", 2**70),
]


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.subprotocol)
async def test_votes_and_their_acks(codec: Codec) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.greet()).token == "key"
        vote = await peer.receive(CastVote)
        assert (vote.board, vote.item, vote.vote, vote.value, vote.comment) == ("songs", "a", "up", None, "that bridge")
        await peer.send(applied(vote.id))
        vote = await peer.receive(CastVote)
        assert (vote.vote, vote.value) == (None, 12)
        await peer.send(Ack(vote.id, "unchanged", None, 12, 1, 0, None))
        retract = await peer.receive(Retract)
        await peer.send(Ack(retract.id, "retracted", 3, 0, 0, 0, None))
        ping = await peer.receive(Ping)
        await peer.send(Pong(ping.id, 1234))
        await peer.until_gone()

    async with server(script) as url, connect(url, codec) as client:
        assert client.welcome is not None
        assert client.welcome.agent_id == "critic-7"
        ack = await client.vote("songs", "a", "up", comment="that bridge")
        assert (ack.status, ack.score, ack.quota_remaining) == ("applied", 12.5, 99)
        assert (await client.vote("esc", "ch", 12)).status == "unchanged"
        assert (await client.retract("songs", "a")).status == "retracted"
        assert await client.ping() == 1234


@pytest.mark.parametrize(
    ("code", "temporary", "resend"),
    [("quota_exceeded", False, True), ("internal", True, True), ("overloaded", True, False)],
)
async def test_an_error_is_raised_with_what_the_server_said(code: ErrorCode, temporary: bool, resend: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        vote = await peer.receive(CastVote)
        await peer.send(Error(vote.id, code, "later", temporary=temporary, retry_after_ms=500))
        await peer.until_gone()

    async with server(script) as url, connect(url, resend=resend) as client:
        with pytest.raises(PlauditError, match="later") as caught:
            await client.vote("songs", "a", "up")
    assert (caught.value.code, caught.value.temporary, caught.value.retry_after) == (code, temporary, 0.5)


@pytest.mark.parametrize("code", ["overloaded", "too_fast"])
async def test_what_the_server_will_not_have_for_now_is_sent_again_when_it_says(code: ErrorCode) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        refused, taken = await peer.receive(CastVote), await peer.receive(CastVote)
        await peer.send(Error(refused.id, code, "", temporary=True, retry_after_ms=20), applied(taken.id, 1))
        loop = asyncio.get_running_loop()
        told = loop.time()
        again = await peer.receive(CastVote)
        assert loop.time() - told >= 0.02
        assert again == refused
        await peer.send(applied(again.id, 2))
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        acks = await client.vote_many([Vote("songs", "a", "up"), Vote("songs", "b", "up")])
    assert [ack.seq for ack in acks if isinstance(ack, Ack)] == [2, 1]


async def test_a_vote_waits_for_room_in_the_outbox() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        first = await peer.receive(CastVote)
        # Of three, one is on its way: the ping could only come before the others if they were not waiting.
        assert peer.unread == 0
        await peer.send(applied(first.id))
        for _ in range(2):
            await peer.send(applied((await peer.receive(CastVote)).id))
        await peer.until_gone()

    async with server(script) as url, connect(url, outbox=1) as client:
        votes = [asyncio.create_task(client.vote("songs", item, "up")) for item in "abc"]
        assert {(await vote).status for vote in votes} == {"applied"}


async def test_votes_on_one_item_keep_their_order_even_when_one_has_to_wait() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        first = await peer.receive(CastVote)
        await peer.send(Error(first.id, "too_fast", "", temporary=True, retry_after_ms=0))
        for expected in ("up", "down"):
            vote = await peer.receive(CastVote)
            assert (vote.vote, peer.unread) == (expected, 0)
            await peer.send(applied(vote.id))
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        await client.vote_many([Vote("songs", "a", "up"), Vote("songs", "a", "down")])


async def test_a_vote_that_nobody_waits_for_is_not_sent_again() -> None:
    arrived = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.receive(CastVote)
        arrived.set()
        await peer.receive(Ping)
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.greet()
        ping = await peer.receive(Ping)
        await peer.send(Pong(ping.id, 1))
        await peer.until_gone()

    async with server(first, second) as url, connect(url) as client:
        vote = asyncio.create_task(client.vote("songs", "a", "up"))
        await arrived.wait()
        vote.cancel()
        assert await client.ping() == 1


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.subprotocol)
@pytest.mark.parametrize("vote", BAD)
async def test_what_no_server_could_take_is_refused_at_once(vote: Vote, codec: Codec) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.until_gone()

    async with server(script) as url, connect(url, codec) as client:
        with pytest.raises(PlauditError, match="invalid"):
            await client.vote(*vote)


@pytest.mark.parametrize("item", ["a\n", "", "\ud800"])
async def test_neither_is_a_retraction_that_no_server_could_take(item: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        with pytest.raises(PlauditError, match="invalid"):
            await client.retract("songs", item)


async def test_a_vote_that_no_server_could_take_costs_no_other_its_outcome() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for number in range(2):
            await peer.send(applied((await peer.receive(CastVote)).id, number))
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        first, *bad, last = await client.vote_many([Vote("songs", "a", "up"), *BAD, Vote("songs", "b", "up")])
    assert [outcome.seq for outcome in (first, last) if isinstance(outcome, Ack)] == [0, 1]
    assert [outcome.code for outcome in bad if isinstance(outcome, PlauditError)] == ["invalid"] * len(BAD)


async def test_many_votes_get_their_answers_in_order_though_the_outbox_is_small() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for number in range(0, 40, 2):
            first, second = await peer.receive(CastVote), await peer.receive(CastVote)
            assert peer.unread <= 2
            await peer.send(Error(second.id, "already_voted", "", temporary=False), applied(first.id, number))
        await peer.until_gone()

    async with server(script) as url, connect(url, outbox=4) as client:
        votes = [Vote("songs", f"item{number}", "up") for number in range(40)]
        results = await client.vote_many(votes)
    assert [result.seq if isinstance(result, Ack) else result.code for result in results] == [
        expected for number in range(0, 40, 2) for expected in (number, "already_voted")
    ]


async def test_the_unanswered_is_sent_again_after_a_reconnect() -> None:
    async def cut_off(peer: Peer) -> None:
        await peer.greet()
        answered, lost = await peer.receive(CastVote), await peer.receive(CastVote)
        assert (answered.item, lost.item) == ("a", "b")
        await peer.send(applied(answered.id))
        await peer.send(Bye(1012, "the server restarts", 0))
        await peer.socket.close(1012)

    async def refuse_for_now(peer: Peer) -> None:
        await peer.receive(Hello)
        await peer.socket.close(1013)

    async def answer(peer: Peer) -> None:
        await peer.greet()
        vote = await peer.receive(CastVote)
        assert vote.item == "b"
        await peer.send(applied(vote.id))
        await peer.until_gone()

    async with server(cut_off, refuse_for_now, answer) as url, connect(url) as client:
        results = await client.vote_many([Vote("songs", "a", "up"), Vote("songs", "b", "up")])
    assert all(isinstance(result, Ack) for result in results)


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.subprotocol)
@pytest.mark.parametrize(("number", "comment"), [(100, "é" * 2000), (2001, None)])
async def test_many_votes_are_spread_over_frames_within_the_limits(
    codec: Codec, number: int, comment: str | None
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        acks: list[ServerMessage] = []
        while len(acks) < number:
            payload = await peer.socket.recv(decode=False)
            assert len(payload) <= 65536
            for message in peer.codec.decode(payload):
                assert isinstance(message, CastVote), message
                acks.append(applied(message.id))
        await peer.send(*acks)
        await peer.until_gone()

    async with server(script) as url, connect(url, codec, outbox=3000) as client:
        votes = [Vote("songs", str(item), "up", comment) for item in range(number)]
        assert all(isinstance(result, Ack) for result in await client.vote_many(votes))
