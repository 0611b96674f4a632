"""Compressed websockets: who gets them, and that votes and views are the same in them."""

import msgspec
import pytest

from app.websocket import PIECE
from channels import wire
from channels.deflate import compressed
from channels.frames import DEFLATED, TEXT, Message
from loadtests.bench.clients.sockets import masked
from tests.app.socket.test_boards import Watcher
from tests.app.sockets import JSON, MSGPACK, Client, OpenStage, Stage

both = pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])


@pytest.fixture(autouse=True)
def tails(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was compressed."""
    found: list[bytes] = []

    def kept(data: bytes) -> bytes:
        found.append(data)
        return compressed(data)

    monkeypatch.setattr(wire, "compressed", kept)
    return found


def agreed(client: Client) -> bool:
    response = client.connection.response
    assert response is not None
    return any(line.startswith("permessage-deflate") for line in response.headers.get_all("Sec-WebSocket-Extensions"))


@both
async def test_a_browsers_votes_and_views(stage: Stage, subprotocol: str, tails: list[bytes]) -> None:
    # Long enough to be compressed when they enter the view.
    about = {"artist": "Vela", "platform": "suno", "platform_url": "https://suno.example/song"}
    await stage.admin("/songs", [{"id": f"n{n}", "title": f"{n} lanterns " * 20, **about} for n in range(3)])
    key = await stage.key()
    async with (
        stage.connect(subprotocol, "deflate", Origin=stage.url) as page,
        stage.connect(subprotocol, "deflate", Origin=stage.url) as other,
        stage.viewer(subprotocol) as plain,
    ):
        assert agreed(page)
        assert agreed(other)
        assert not agreed(plain)
        assert (await page.ask("hello", token=key))["type"] == "welcome"
        assert (await other.ask("hello"))["type"] == "welcome"
        watchers = []
        for number, client in enumerate((page, other, plain)):
            for board in ["tools"] * number + ["songs"]:
                first = await client.ask("subscribe", board=board, top=2)
            watchers.append(Watcher(client, first))
        assert len({watcher.sub for watcher in watchers}) == 3
        assert len(tails) == 1
        assert (await page.vote("n2"))["status"] == "applied"
        for watcher in watchers:
            assert (await watcher.until(n2=1))["type"] == "delta"
            assert list(watcher.entries) == ["n2", "n0"]
            assert watcher.entries["n2"]["title"] == "2 lanterns " * 20
        # Three know the view by three numbers, two of them take it compressed: once is enough.
        assert len(tails) == 2


@pytest.mark.parametrize(
    ("deflate", "expected"), [("browsers", (False, True)), ("all", (True, True)), ("off", (False, False))]
)
async def test_only_browsers_unless_all_are_to_or_none(
    open_stage: OpenStage, deflate: str, expected: tuple[bool, bool]
) -> None:
    async with (
        open_stage(deflate=deflate) as stage,
        stage.connect(compression="deflate") as agent,
        stage.connect(compression="deflate", Origin=stage.url) as page,
    ):
        assert (agreed(agent), agreed(page)) == expected
        for client in (agent, page):
            assert (await client.ask("hello"))["type"] == "welcome"
            assert (await client.ask("ping"))["type"] == "pong"


async def test_votes_in_large_frames_weigh_as_many_as_they_are_and_bombs_weigh_their_size(
    open_stage: OpenStage,
) -> None:
    async with open_stage(deflate="all", messages_per_second=1000) as stage:
        vote = {"type": "vote", "board": "songs", "item": "s1", "vote": "up"}
        key = await stage.key()
        async with stage.connect(compression="deflate") as agent:
            assert (await agent.ask("hello", token=key))["type"] == "welcome"
            await agent.send([vote | {"id": n} for n in range(990)])
            assert [(await agent.next())["type"] for _ in range(990)] == ["ack"] * 990
        async with stage.connect(compression="deflate") as bomber:
            assert (await bomber.ask("hello"))["type"] == "welcome"
            for n in range(100):
                await bomber.connection.send((f'{{"type":"ping","id":{n}}}' + " " * 65_000).encode(), text=True)
            assert (await bomber.closed()).code == 4429


async def test_what_comes_compressed_behind_a_message_that_waits_is_not_without_end(open_stage: OpenStage) -> None:
    many = msgspec.json.encode([{"type": "ping", "id": 1}] * 2500)
    sent = masked(b'{"type":"subscribe","id":1,"board":"songs"}')
    while len(sent) < 2 * PIECE:
        small = compressed(many)
        sent += bytes((0x80 | DEFLATED | TEXT, 0xFE)) + len(small).to_bytes(2, "big") + bytes(4) + small
    async with open_stage(deflate="all") as stage, stage.connect(compression="deflate") as client:
        assert (await client.ask("hello"))["type"] == "welcome"
        (connection,) = stage.services.gateway._connections
        waiting: list[int] = []
        received = connection.received

        def noted(message: Message) -> None:
            received(message)
            waiting.append(len(connection.unanswered()))

        # A subclass, as a connection has slots.
        connection.__class__ = type(
            "Noted", (type(connection),), {"__slots__": (), "received": lambda _, message: noted(message)}
        )
        client.connection.transport.write(sent)
        assert (await client.closed()).code == 4429
        assert 0 < max(waiting) <= connection._session.most_waiting


async def test_a_bomb_ends_its_connection_alone(open_stage: OpenStage) -> None:
    async with (
        open_stage(deflate="all") as stage,
        stage.connect(compression="deflate") as bomber,
        stage.connect(compression="deflate") as other,
    ):
        for client in (bomber, other):
            assert (await client.ask("hello"))["type"] == "welcome"
        await bomber.connection.send(b" " * 5_000_000, text=True)
        assert (await bomber.closed()).code == 1009
        assert (await other.ask("ping"))["type"] == "pong"
