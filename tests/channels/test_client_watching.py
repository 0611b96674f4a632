"""Boards that the client watches, as a scripted server shows them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from channels.client import BoardView
from channels.delta import diff
from channels.errors import ErrorCode, PlauditError
from channels.protocol import (
    Error,
    Ping,
    Pong,
    Resumed,
    Subscribe,
    Unsubscribe,
)
from channels.wire import delta_of, snapshot_of
from tests.channels.scripted import LABELS, Peer, connect, server, view


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
