"""Boards as server-sent events, from a real server and, for what it rarely meets, from a room alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from app.demo import load_demo
from app.streams import WAITING, Reader, Streams
from channels.client import PlauditClient
from channels.errors import PlauditError
from channels.frames import frame, payload_of
from channels.hub import Hub
from channels.protocol import Delta, Resumed, Snapshot
from channels.ranking import View, rank_rows
from channels.room import Room, Subscription
from channels.wire import change_of, view_of
from storage.types import Query, Row, TopView
from tests.app.running import Installation, Running, http_client, install, running
from tests.storage.shard import board

Message = Snapshot | Delta | Resumed


class Event:
    """One event as it was read."""

    def __init__(self, lines: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in lines)
        self.id = fields["id"]
        self.message: Any = msgspec.json.decode(fields["data"], type=Message)
        assert fields["event"] == type(self.message).__name__.lower()


@asynccontextmanager
async def reading(url: str, query: str = "", last: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of the board of songs."""
    headers = {} if last is None else {"last-event-id": last}
    async with (
        http_client(timeout=10) as client,
        client.stream("GET", f"{url}/api/v1/boards/songs/events{query}", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        yield parsed(response.aiter_lines())


async def parsed(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    held: list[str] = []
    async for line in lines:
        if line:
            held.append(line)
            continue
        if held and held[0].startswith("event"):
            yield Event(held)
        held = []


async def demo(server: Running, where: Installation) -> str:
    of = server.services
    agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
    return (await of.directory.add_agent_key(where.tenant, agent)).secret


async def test_a_snapshot_then_deltas_and_back_again(database_url: str, redis_url: str, prefix: str) -> None:
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server, asyncio.timeout(20):
        key = await demo(server, where)
        async with PlauditClient(server.url, key) as client, reading(server.url, "?top=3") as events:
            first = await anext(events)
            shown = view_of(first.message, top=True)
            assert first.id == f"{shown.epoch}-{shown.version}"
            assert (shown.digest, len(shown.rows), first.message.sub) == (first.message.digest, 3, 1)
            await client.vote("songs", "sonoa-glass-rivers", "up")
            event = await anext(events)
            change = change_of(event.message, shown)
            assert event.id == f"{shown.epoch}-{change.version}"
            assert [(row.item, row.points) for row in change.rows] == [("sonoa-glass-rivers", 100)]
            assert server.services.hub.rooms == 1
            await client.vote("songs", "loomwave-umbra", "up")
            missed = await anext(events)
            async with reading(server.url, "?top=3", event.id) as again:
                resumed = await anext(again)
                # Cut off here, it would come back with the state that it had, not with one that it was yet to get.
                assert (resumed.message.version, resumed.id) == (change.version, event.id)
                assert (await anext(again)).message == missed.message
            async with reading(server.url, "?top=3", "what-is-this") as anew:
                assert isinstance((await anext(anew)).message, Snapshot)


async def test_streams_end_with_the_server(database_url: str, redis_url: str, prefix: str) -> None:
    where = await install(database_url, redis_url, prefix)
    async with asyncio.timeout(20):
        async with running(where) as server:
            stream = reading(server.url)
            events = await stream.__aenter__()
            await anext(events)
            assert len(server.services.streams) == 1
            began = asyncio.get_running_loop().time()
        # In order, and not because uvicorn lost patience with an answer that never ends.
        assert asyncio.get_running_loop().time() - began < 5
        assert [event async for event in events] == []
        assert len(server.services.streams) == 0
        await stream.__aexit__(None, None, None)


async def test_a_reader_that_leaves_leaves_nothing(database_url: str, redis_url: str, prefix: str) -> None:
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server, asyncio.timeout(20):
        async with reading(server.url) as events:
            await anext(events)
            assert server.services.hub.rooms == 1
        while server.services.hub.rooms or len(server.services.streams):
            await asyncio.sleep(0.01)


def shown(version: int, items: int = 3) -> View:
    rows = [Row(f"item-{n:05}" + "x" * 200, 0, 100 * version, version, 0, None) for n in range(items)]
    return View.of("e1", version, items, rank_rows(rows))


def seated(view: View) -> tuple[Room, Reader]:
    """A reader in a room."""
    room = Room(board(), Query(1, "all", TopView(1000)), top=True)
    room.advance(view)
    reader = Reader(lambda: None)
    subscription = Subscription(room, reader, 1)
    room.add(subscription)
    reader.attach(subscription, room.resume(reader.codec, 1, 1, None, None))
    return room, reader


def messages(events: bytes) -> list[Any]:
    return [Event(lines.split("\n")).message for lines in events.decode().split("\n\n") if lines]


async def test_a_reader_that_does_not_keep_up_gets_it_all_in_one() -> None:
    room, reader = seated(shown(1, 1000))
    for version in range(2, 60):
        room.advance(shown(version, 1000))
    assert reader.blocked
    # One frame over the mark at most, however much happens.
    assert reader._size < WAITING + 400_000
    await reader.take(0)
    reader.taken()
    merged = messages(await reader.take(0))
    assert len(merged) == 1
    assert merged[0].version == 59
    assert merged[0].digest == shown(59, 1000).digest
    reader.taken()
    assert not reader.blocked
    room.advance(shown(60, 1000))
    assert [message.version for message in messages(await reader.take(0))] == [60]


async def test_another_epoch_is_in_the_id() -> None:
    room, reader = seated(shown(7))
    assert b"\nid: e1-7\n" in await reader.take(0)
    view = shown(1)
    room.advance(View.of("e-2", 1, 3, list(view.rows.values())))
    assert b"event: snapshot\nid: e-2-1\n" in await reader.take(0)


async def test_a_lull_is_filled_and_an_end_is_told() -> None:
    _, reader = seated(shown(1))
    await reader.take(0)
    assert (await reader.take(0.001)).startswith(b":")
    waiting = asyncio.create_task(reader.take(10))
    await asyncio.sleep(0)
    reader.close()
    assert (await waiting).startswith(b":")
    assert reader.closed


async def test_there_are_only_so_many() -> None:
    async def views(*_: object) -> list[View]:
        return [shown(1)]

    async def labels(*_: object) -> dict[str, Any]:
        return {}

    clock = asyncio.get_running_loop().time
    hub = Hub(views, labels, clock, rate=10, unavailable=OSError, passing=BlockingIOError)
    running = asyncio.create_task(hub.run())
    streams = Streams(hub, 25, 1, lambda: 0.5)
    query = Query(1, "all", TopView(3))
    await streams.open(board(), query, None, None)
    for _ in range(2):
        with pytest.raises(PlauditError) as refused:
            await streams.open(board(), query, None, None)
        assert refused.value.code == "overloaded"
        streams.close()
    assert hub.viewers() == {0: {1: 1}}
    running.cancel()


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_gives_back_its_payload(size: int) -> None:
    payload = bytes(size)
    assert payload_of(frame(1, payload)) == payload
