"""The client against a scripted server: each test says what the server answers, connection by connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from channels.client import BoardView, PlauditClient, Vote
from channels.codec import CODECS, JSON, MSGPACK, Codec
from channels.delta import diff
from channels.errors import ErrorCode, PlauditError
from channels.link import websocket_url
from channels.protocol import (
    Ack,
    Bye,
    CastVote,
    ClientMessage,
    Error,
    Hello,
    Ping,
    Pong,
    Resumed,
    Retract,
    ServerMessage,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from channels.ranking import Row, View, rank_rows
from channels.wire import Label, delta_of, snapshot_of

M = TypeVar("M", bound=ClientMessage)
LABELS = {"a": Label("Glass Rivers", "Vela"), "b": Label("Second")}


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.codec = CODECS[socket.subprotocol or ""]
        self._read: list[ClientMessage] = []

    @property
    def unread(self) -> int:
        """How many messages of the last frame were not taken yet."""
        return len(self._read)

    async def receive(self, kind: type[M]) -> M:
        if not self._read:
            for message in self.codec.decode(await self.socket.recv(decode=False)):
                assert isinstance(message, ClientMessage)
                self._read.append(message)
        message = self._read.pop(0)
        assert isinstance(message, kind), message
        return message

    async def send(self, *messages: ServerMessage) -> None:
        payload = self.codec.encode(list(messages) if len(messages) > 1 else messages[0])
        await self.socket.send(payload, text=self.codec is JSON)

    async def greet(self) -> Hello:
        hello = await self.receive(Hello)
        await self.send(Welcome(hello.id, "s", "critic-7", "free", 100, 25, 0))
        return hello

    async def until_gone(self) -> None:
        await self.socket.wait_closed()


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def server(*scripts: Script, port: int = 0) -> AsyncIterator[str]:
    """A server that follows one script per connection, in order; what a script raises fails the test."""
    waiting = list(scripts)
    failures: list[BaseException] = []

    async def answer(socket: ServerConnection) -> None:
        try:
            await waiting.pop(0)(Peer(socket))
        except BaseException as error:
            failures.append(error)
            raise

    async with asyncio.timeout(20):
        async with serve(answer, "127.0.0.1", port, subprotocols=[Subprotocol(name) for name in CODECS]) as running:
            port = next(iter(running.sockets)).getsockname()[1]
            yield f"http://127.0.0.1:{port}"
    if failures:
        raise failures[0]
    assert not waiting, "a connection that the test expected was not made"


def connect(
    url: str, codec: Codec = MSGPACK, *, outbox: int = 1000, resend: bool = True, key: str | None = "key"
) -> PlauditClient:
    return PlauditClient(url, key, codec=codec, outbox=outbox, resend=resend, jitter=lambda: 0.0)


def applied(message_id: str | int, seq: int = 1) -> Ack:
    return Ack(message_id, "applied", seq, 12.5, 13, 1, 99)


def view(version: int, **points: int) -> View:
    rows = rank_rows([Row(item, 0, value * 100, 1, 0, None) for item, value in points.items()])
    return View.of("e", version, len(rows), rows)


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


@pytest.mark.parametrize(("item", "comment"), [("a\n", None), ("a", "x" * 2001), ("", None)])
async def test_what_no_server_could_take_is_refused_at_once(item: str, comment: str | None) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        with pytest.raises(PlauditError, match="invalid"):
            await client.vote("songs", item, "up", comment)


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
        votes.insert(1, Vote("songs", "bad\0", "up"))
        results = await client.vote_many(votes)
    bad = results.pop(1)
    assert isinstance(bad, PlauditError)
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


async def test_a_refused_key_is_said_at_once() -> None:
    async def with_a_word(peer: Peer) -> None:
        hello = await peer.receive(Hello)
        await peer.send(Error(hello.id, "unauthorized", "revoked", temporary=False))
        await peer.until_gone()

    async def without(peer: Peer) -> None:
        await peer.receive(Hello)
        await peer.socket.close(4401, "bad token")

    async with server(with_a_word, without) as url:
        for words in ("revoked", "bad token"):
            with pytest.raises(PlauditError, match=words):
                await connect(url).__aenter__()


async def test_a_key_revoked_later_ends_everything() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive(CastVote)
        await peer.socket.close(4401, "revoked")

    async with server(script) as url, connect(url) as client:
        for _ in range(2):
            with pytest.raises(PlauditError, match="revoked"):
                await client.vote("songs", "a", "up")
        with pytest.raises(PlauditError, match="revoked"):
            await anext(client.watch("songs"))


async def test_the_connection_is_told_of() -> None:
    told: list[bool] = []

    async def cut_off(peer: Peer) -> None:
        await peer.greet()
        ping = await peer.receive(Ping)
        await peer.send(Pong(ping.id, 1))
        await peer.socket.close(1001)

    async def stay(peer: Peer) -> None:
        await peer.greet()
        ping = await peer.receive(Ping)
        await peer.send(Pong(ping.id, 2))
        await peer.until_gone()

    async with server(cut_off, stay) as url:
        client = PlauditClient(url, jitter=lambda: 0.0, on_connection=told.append)
        assert not client.connected
        async with client:
            assert client.connected
            assert await client.ping() == 1
            assert await client.ping() == 2
        assert not client.connected
    assert told == [True, False, True]


async def test_a_server_that_is_about_to_start_is_waited_for() -> None:
    refused = asyncio.Event()

    def jitter() -> float:
        refused.set()
        return 0.0

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.until_gone()

    async with server() as url:
        port = urlsplit(url).port
    assert port is not None
    entering = asyncio.create_task(PlauditClient(url, patience=20, jitter=jitter).__aenter__())
    await refused.wait()
    async with server(script, port=port):
        client = await entering
        assert client.welcome is not None
        await client.__aexit__(None, None, None)


async def test_how_long_to_stay_away_is_the_servers_to_say() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def come_later(peer: Peer) -> None:
        await peer.receive(Hello)
        await peer.send(Bye(1013, "too many connections", 50))
        await peer.socket.close(1013)
        times.append(loop.time())

    async def script(peer: Peer) -> None:
        times.append(loop.time())
        await peer.greet()
        await peer.until_gone()

    async with server(come_later, script) as url, PlauditClient(url, patience=20, jitter=lambda: 0.0):
        pass
    assert times[1] - times[0] >= 0.045


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await connect("http://127.0.0.1:1").vote("songs", "a", "up")


async def test_no_server_is_an_error() -> None:
    async with server() as url:
        pass
    with pytest.raises(OSError, match="onnect"):
        await connect(url).__aenter__()


async def test_watching_a_board() -> None:
    views = [view(1, a=5), view(2, a=5, b=7), view(3, a=9, b=7)]
    shown = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        assert (ask.board, ask.window, ask.top, ask.version) == ("songs", "day", 10, None)
        snapshot = snapshot_of(views[0], LABELS, "songs", "day")
        snapshot.id, snapshot.sub = ask.id, 4
        await peer.send(snapshot)
        for old, new in pairwise(views):
            await shown.wait()
            shown.clear()
            change = diff(old, new)
            assert change is not None
            delta = delta_of(change, LABELS)
            delta.sub = 4
            await peer.send(delta)
        assert (await peer.receive(Unsubscribe)).sub == 4
        await peer.until_gone()

    async with server(script) as url, connect(url, key=None) as client:
        seen = []
        async with aclosing(client.watch("songs", top=10, window="day")) as boards:
            async for board in boards:
                seen.append([(entry.item, entry.rank, entry.title) for entry in board.entries])
                shown.set()
                if board.version == 3:
                    break
        with pytest.raises(PlauditError):
            await client.vote("songs", "\0", "up")
    a, b = "Glass Rivers", "Second"
    assert seen == [[("a", 1, a)], [("b", 1, b), ("a", 2, a)], [("a", 1, a), ("b", 2, b)]]


async def test_a_watcher_resumes_after_a_reconnect() -> None:
    old, new = view(1, a=5), view(2, a=6)

    async def first(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        snapshot = snapshot_of(old, LABELS, "songs", "all")
        snapshot.id, snapshot.sub = ask.id, 1
        await peer.send(snapshot)
        await peer.socket.close(1001)

    async def second(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        assert (ask.epoch, ask.version) == ("e", 1)
        change = diff(old, new)
        assert change is not None
        delta = delta_of(change, LABELS)
        delta.sub = 9
        await peer.send(Resumed(ask.id, 9, "e", 1), delta)
        await peer.until_gone()

    async with server(first, second) as url, connect(url) as client:
        watching = client.watch("songs")
        assert [(await anext(watching)).version for _ in range(2)] == [1, 2]
        await watching.aclose()


async def test_numbers_of_an_old_connection_are_forgotten() -> None:
    old, new = view(1, a=5), view(2, a=6)
    change = diff(old, new)
    assert change is not None

    async def greet_two(peer: Peer) -> tuple[Subscribe, Subscribe]:
        await peer.greet()
        songs, tools = await peer.receive(Subscribe), await peer.receive(Subscribe)
        assert (songs.board, tools.board) == ("songs", "tools")
        return songs, tools

    async def first(peer: Peer) -> None:
        songs, tools = await greet_two(peer)
        for ask, sub in ((songs, 1), (tools, 2)):
            snapshot = snapshot_of(old, LABELS, ask.board, "all")
            snapshot.id, snapshot.sub = ask.id, sub
            await peer.send(snapshot)
        await peer.socket.close(1001)

    async def second(peer: Peer) -> None:
        songs, tools = await greet_two(peer)
        delta = delta_of(change, LABELS)
        delta.sub = 1
        await peer.send(Resumed(tools.id, 1, "e", 1), delta)
        delta.sub = 2
        await peer.send(Resumed(songs.id, 2, "e", 1), delta)
        ping = await peer.receive(Ping)
        await peer.send(Pong(ping.id, 0))
        await peer.until_gone()

    async with (
        server(first, second) as url,
        connect(url) as client,
        aclosing(client.watch("songs")) as songs,
        aclosing(client.watch("tools")) as tools,
    ):
        watching = [asyncio.create_task(seen_until(boards, 2)) for boards in (songs, tools)]
        assert [await versions for versions in watching] == [[1, 2], [1, 2]]
        await client.ping()


async def seen_until(boards: AsyncIterator[BoardView], version: int) -> list[int]:
    seen: list[int] = []
    while not seen or seen[-1] != version:
        seen.append((await anext(boards)).version)
    return seen


async def test_a_watcher_that_diverged_asks_anew() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for sub in (1, 2):
            ask = await peer.receive(Subscribe)
            assert ask.version is None
            snapshot = snapshot_of(view(sub, a=5), LABELS, "songs", "all")
            snapshot.id, snapshot.sub = ask.id, sub
            snapshot.digest += 2 - sub
            await peer.send(snapshot)
            if sub == 1:
                assert (await peer.receive(Unsubscribe)).sub == 1
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        watching = client.watch("songs")
        assert (await anext(watching)).version == 2
        await watching.aclose()


async def test_a_snapshot_that_nobody_asked_for_is_shown() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        for version, asked in ((1, ask.id), (2, None)):
            snapshot = snapshot_of(view(version, a=version), LABELS, "songs", "all")
            snapshot.id, snapshot.sub = asked, 1
            await peer.send(snapshot)
            ping = await peer.receive(Ping)
            await peer.send(Pong(ping.id, version))
        await peer.until_gone()

    async with server(script) as url, connect(url) as client, aclosing(client.watch("songs")) as boards:
        for version in (1, 2):
            assert (await anext(boards)).version == version
            await client.ping()


async def test_another_state_than_the_one_that_is_held_is_not_resumed() -> None:
    async def first(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        snapshot = snapshot_of(view(1, a=5), LABELS, "songs", "all")
        snapshot.id, snapshot.sub = ask.id, 1
        await peer.send(snapshot)
        await peer.socket.close(1001)

    async def second(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        await peer.send(Resumed(ask.id, 1, "another epoch", 1))
        assert (await peer.receive(Unsubscribe)).sub == 1
        ask = await peer.receive(Subscribe)
        assert ask.version is None
        snapshot = snapshot_of(view(7, a=5), LABELS, "songs", "all")
        snapshot.id, snapshot.sub = ask.id, 2
        await peer.send(snapshot)
        await peer.until_gone()

    async with server(first, second) as url, connect(url) as client, aclosing(client.watch("songs")) as boards:
        assert [(await anext(boards)).version for _ in range(2)] == [1, 7]


@pytest.mark.parametrize("code", ["overloaded", "internal"])
async def test_a_subscription_that_is_refused_for_now_is_asked_for_again(code: ErrorCode) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for _ in range(3):
            ask = await peer.receive(Subscribe)
            await peer.send(Error(ask.id, code, "", temporary=True, retry_after_ms=1))
        ask = await peer.receive(Subscribe)
        snapshot = snapshot_of(view(1, a=5), LABELS, "songs", "all")
        snapshot.id, snapshot.sub = ask.id, 1
        await peer.send(snapshot)
        await peer.until_gone()

    async with server(script) as url, connect(url) as client, aclosing(client.watch("songs")) as boards:
        assert (await anext(boards)).version == 1


async def test_a_board_that_is_gone_after_a_reconnect_ends_its_watching() -> None:
    async def first(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        snapshot = snapshot_of(view(1, a=5), LABELS, "songs", "all")
        snapshot.id, snapshot.sub = ask.id, 1
        await peer.send(snapshot)
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        await peer.send(Error(ask.id, "unknown_board", "no such board", temporary=False))
        ping = await peer.receive(Ping)
        await peer.send(Pong(ping.id, 0))
        await peer.until_gone()

    async with server(first, second) as url, connect(url) as client:
        watching = client.watch("songs")
        await anext(watching)
        with pytest.raises(PlauditError, match="unknown_board"):
            await anext(watching)
        await client.ping()


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"top": 0}, "invalid"),
        ({"top": 5, "around": "a"}, "invalid"),
        ({"items": ["a\n"]}, "invalid"),
        ({"items": ["\N{GUITAR}" * 255] * 100}, "too_large"),
    ],
)
async def test_a_view_that_no_server_could_show_is_refused_at_once(ask: dict[str, Any], code: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        with pytest.raises(PlauditError) as caught:
            await anext(client.watch("songs", **ask))
    assert caught.value.code == code


async def test_a_refused_subscription_is_raised() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        await peer.send(Error(ask.id, "unknown_board", "no such board", temporary=False))
        await peer.until_gone()

    async with server(script) as url, connect(url) as client:
        with pytest.raises(PlauditError, match="unknown_board"):
            await anext(client.watch("nothing"))


async def test_closing_ends_those_who_wait() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive(CastVote)
        arrived.set()
        await peer.until_gone()

    async with server(script) as url:
        async with connect(url) as client:
            waiting = asyncio.create_task(client.vote("songs", "a", "up"))
            await arrived.wait()
        with pytest.raises(ConnectionAbortedError):
            await waiting


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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://host:8000", "ws://host:8000/ws"),
        ("https://host/", "wss://host/ws"),
        ("ws://host/proxied/ws", "ws://host/proxied/ws"),
    ],
)
def test_a_servers_address_is_enough(given: str, expected: str) -> None:
    assert websocket_url(given) == expected


@pytest.mark.parametrize("given", ["host:8000", "", "ftp://host", "http://"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="address"):
        websocket_url(given)
