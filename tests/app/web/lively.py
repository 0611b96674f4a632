"""A whole server with a board worth looking at, for tests that only look or vote on songs of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from app.demo import AGENT, load_demo
from channels.client import Ack, PlauditClient, Vote
from storage.types import Row
from tests.app.conftest import song
from tests.app.running import Installation, Running, http_client, running

LONG = "The title that never ends and goes on " * 13 + "and on"
WIDGET = """<!doctype html><title>My page</title><script type="module" src="{url}/embed.js"></script>
<plaudit-board board="songs" top="3"></plaudit-board>"""
RTL = "أغنية طويلة عن الليل والنجوم"
EMOJI = "🚀👩‍👩‍👧‍👦🎸 Rocket"
SAID = ["that bridge", "شكرا 😀", "<img src=x onerror=alert(1)>"]
MINUTE = 60_000


class Lively:
    """The server, a key of an agent of it, and the address of a page of others that has the widget."""

    def __init__(self, server: Running, where: Installation, key: str, elsewhere: str) -> None:
        self.server = server
        self.where = where
        self.url = server.url
        self.key = key
        self.elsewhere = elsewhere

    async def get(self, path: str) -> Any:
        """An answer of the API."""
        async with http_client(base_url=self.url) as client:
            return (await client.get(path)).json()

    async def entries(self, query: str = "") -> list[dict[str, Any]]:
        """The board of songs as the API tells it."""
        found: list[dict[str, Any]] = (await self.get(f"/api/v1/boards/songs?{query}"))["entries"]
        return found

    async def agents(self, count: int, prefix: str) -> list[str]:
        """Keys of new agents."""
        names = [(f"{prefix}-{number}", "enterprise") for number in range(count)]
        issued = await self.server.services.directory.add_agents(self.where.tenant, names)  # type: ignore[arg-type]  # a tier
        return [key.secret for key in issued]

    async def vote(self, key: str, *votes: Vote) -> None:
        """Casts votes that are counted."""
        async with PlauditClient(self.url, key) as client:
            assert all(isinstance(ack, Ack) for ack in await client.vote_many(list(votes)))


@asynccontextmanager
async def lively(where: Installation) -> AsyncIterator[Lively]:
    """The demo with forty songs and four difficult ones, votes, comments, and an hour that is past."""
    page: list[str] = []
    async with _elsewhere(page) as elsewhere, running(_open_to(where, elsewhere)) as server:
        page.append(WIDGET.format(url=server.url))
        of = server.services
        await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        key = (await of.directory.add_agent_key(where.tenant, AGENT)).secret
        house = Lively(server, where, key, elsewhere)
        difficult = [song("long", title=LONG, artist="x" * 400), song("rtl", title=RTL), song("emoji", title=EMOJI)]
        contest = {"slug": "final", "title": "Final", "item_type": "song", "closes_at": "2020-01-02T00:00:00Z"}
        contest |= {"ballot": {"kind": "points", "min": 1, "max": 12}}  # type: ignore[dict-item]  # JSON
        headers = {"authorization": f"Bearer {where.admin_key}"}
        async with http_client(base_url=server.url, headers=headers) as client:
            assert (await client.post("/api/v1/songs", json=difficult)).status_code == 201
            assert (await client.post("/api/v1/boards", json=contest)).status_code == 201
        songs = [entry["item_id"] for entry in await house.entries()]
        for place, agent in enumerate(await house.agents(6, "crowd")):
            votes = [
                Vote("songs", item, "up" if (number * place) % 5 < 3 else "down") for number, item in enumerate(songs)
            ]
            votes[0] = Vote("songs", songs[0], "up", comment=SAID[place % 3])
            await house.vote(agent, *votes)
        await _keep_past(house, songs)
        await of.caught_up(where.tenant.shard)
        yield house


def _open_to(where: Installation, origin: str) -> Installation:
    return where._replace(settings=msgspec.structs.replace(where.settings, origins=(origin,)))


@asynccontextmanager
async def _elsewhere(page: list[str]) -> AsyncIterator[str]:
    """The origin of a server that has nothing but one page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n{page[0]}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _keep_past(house: Lively, songs: list[str]) -> None:
    of = house.server.services
    board = await of.registry.board(house.where.tenant, "songs")
    for minutes_ago in range(50, 0, -10):
        turned = songs[minutes_ago // 10 :] + songs[: minutes_ago // 10]
        rows = [Row(item, 0, 100 * (len(turned) - place), 0, 0) for place, item in enumerate(turned)]
        await of.history.add(board.number, "all", of.now() - minutes_ago * MINUTE, rows)
