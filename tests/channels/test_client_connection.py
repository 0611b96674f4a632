"""How the client comes to a connection, keeps it and loses it, with a scripted server."""

import asyncio
from urllib.parse import urlsplit

import pytest

from channels.client import PlauditClient
from channels.errors import PlauditError
from channels.link import Link, websocket_url
from channels.protocol import (
    Bye,
    CastVote,
    Error,
    Hello,
    Ping,
    Pong,
)
from tests.channels.scripted import Peer, connect, server


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


async def test_a_key_that_no_server_could_take_is_said_at_once() -> None:
    with pytest.raises(PlauditError, match="invalid"):
        await connect("http://127.0.0.1:1", key="\ud800").__aenter__()


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


async def test_a_client_is_closed_even_if_its_connection_is_lost_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task group of a connection then raises the loss, and forgets that it was cancelled."""

    async def forgetful(self: Link, ready: asyncio.Future[None]) -> None:
        if not ready.done():
            ready.set_result(None)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    monkeypatch.setattr(Link, "_connect", forgetful)
    async with asyncio.timeout(1), PlauditClient("http://127.0.0.1:1"):
        pass
