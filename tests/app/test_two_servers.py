"""Two servers on the same stores are one: what either is told, both show."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from tests.app.running import http_client
from tests.app.sockets import Message, Stage, opened


@pytest_asyncio.fixture
async def other(stage: Stage) -> AsyncIterator[Stage]:
    """A second server beside the stage."""
    async with opened(stage.where) as second:
        # Announcements are heard from the moment that the store confirms it.
        await stage.until(lambda: stage.services.hub._listening and second.services.hub._listening)
        yield second


async def test_a_vote_through_one_reaches_the_viewers_of_both(stage: Stage, other: Stage) -> None:
    key = await stage.key()
    async with stage.viewer() as here, other.viewer() as there, stage.agent(key) as first, other.agent(key) as second:
        snapshots = [await viewer.ask("subscribe", board="songs") for viewer in (here, there)]
        assert snapshots[0]["epoch"] == snapshots[1]["epoch"]
        for agent, item in ((first, "s3"), (second, "s2")):
            ack = await agent.vote(item)
            assert ack["status"] == "applied"
            deltas = [await viewer.next() for viewer in (here, there)]
            for delta in deltas:
                assert [(entry["item"], entry["score"]) for entry in delta["entries"]] == [(item, 1)]
            for field in ("prev", "version", "digest", "total"):
                assert deltas[0][field] == deltas[1][field]


async def test_while_nothing_is_heard_no_page_counts_as_the_newest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.services
    board = (await services.registry.boards(stage.where.tenant))["songs"]
    await stage.ranking()
    await stage.until(lambda: services.standings.state(board) is not None)

    async def silent(_: Iterable[int]) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield None

    monkeypatch.setattr(services.live, "changes", silent)
    services._announcements.begin_anew()
    await stage.until(lambda: services.standings.state(board) is None)


async def test_both_show_the_same_boards(stage: Stage, other: Stage) -> None:
    async with stage.agent() as agent, other.viewer() as viewer:
        await viewer.ask("subscribe", board="songs")
        before = await other.ranking()
        await agent.vote("s2")
        await viewer.next()
        pages = [await server.ranking() for server in (stage, other)]
        assert pages[0] == pages[1]
        assert pages[0]["version"] > before["version"]
        async with http_client() as http:
            path = "/api/v1/boards/songs"
            tag = (await http.get(stage.url + path)).headers["etag"]
            assert (await http.get(other.url + path, headers={"if-none-match": tag})).status_code == 304


async def test_a_position_from_one_is_good_at_the_other(stage: Stage, other: Stage) -> None:
    async with stage.viewer() as here, other.viewer() as there, other.viewer() as steady, stage.agent() as agent:
        held = await here.ask("subscribe", board="songs")
        await steady.ask("subscribe", board="songs")
        await agent.vote("s2")
        delta = await steady.next()
        position = {"epoch": held["epoch"], "version": held["version"]}
        assert (await there.ask("subscribe", board="songs", **position))["type"] == "resumed"
        assert (await there.next()) | {"sub": 0} == delta | {"sub": 0}


async def test_what_is_made_on_one_is_known_on_the_other(stage: Stage, other: Stage) -> None:
    async with other.agent(await stage.key()) as agent:
        assert (await agent.vote(board="fresh"))["code"] == "unknown_board"
        await stage.board("fresh")
        async with asyncio.timeout(10):  # the notice arrives when it arrives
            while (answer := await agent.vote(board="fresh")).get("code") == "unknown_board":
                pass
        assert answer["status"] == "applied"


async def test_a_tenant_that_is_made_beside_servers_is_served_by_them(stage: Stage, other: Stage) -> None:
    await stage.tenant("guest")
    for server in (stage, other):
        async with server.connect() as client:
            assert (await client.ask("hello", tenant="guest"))["type"] == "welcome"
            assert (await client.ask("subscribe", board="tools"))["entries"] == []


async def test_a_hundred_connections_over_both_cast_one_ballot_once(stage: Stage, other: Stage) -> None:
    key = await stage.key()

    async def cast(server: Stage, ready: asyncio.Barrier) -> Message:
        async with server.agent(key) as client:
            await ready.wait()
            return await client.vote()

    ready = asyncio.Barrier(100)
    acks = await asyncio.gather(*(cast((stage, other)[n % 2], ready) for n in range(100)))
    assert sorted(ack["status"] for ack in acks) == ["applied"] + ["unchanged"] * 99
    assert {ack["score"] for ack in acks} == {1}
    assert len({ack["seq"] for ack in acks}) == 2  # its own, and null
