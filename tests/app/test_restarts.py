"""Votes through a server that is killed and started again and again: each one counts, and counts once.

With PLAUDIT_CHAOS=1 in the environment it is tried at length: 10,000 votes, twenty restarts.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import cycle
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from app.admin import Admin
from channels.client import Ack, PlauditClient, Vote
from storage.embedded import running
from tests.app.conftest import song
from tests.app.running import http_client
from tests.app.serving import Serving, serving

RESTARTS, AGENTS, SONGS = (20, 25, 400) if os.environ.get("PLAUDIT_CHAOS") else (3, 15, 100)
VOTES = AGENTS * SONGS
AT_ONCE = 20
"""Votes of one agent that wait for their acks: a few hundred of all agents are under way at every end."""


@pytest_asyncio.fixture
async def server(short_folder: Path) -> AsyncIterator[Serving]:
    """A whole server on an empty folder."""
    async with serving(short_folder / "restarts") as server:
        yield server


class Tally:
    """What was acknowledged so far, and who waits for how much."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self._grown = asyncio.Condition()

    async def add(self, ack: Ack) -> None:
        self.statuses[ack.status] += 1
        async with self._grown:
            self._grown.notify_all()

    async def reach(self, number: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: self.statuses.total() >= number)


async def cast_all(url: str, key: str, agent: int, tally: Tally) -> None:
    async def cast(client: PlauditClient, vote: Vote) -> None:
        await tally.add(await client.vote(*vote))

    async with PlauditClient(url, key, outbox=AT_ONCE) as client, asyncio.TaskGroup() as votes:
        for number in range(SONGS):
            votes.create_task(cast(client, Vote("songs", f"s{(number + agent) % SONGS}", "up")))


async def watch(url: str, seen: list[int]) -> None:
    """Follows the board until every vote is on it; notes the sum of scores whenever the board changes."""
    async with PlauditClient(url) as viewer, aclosing(viewer.watch("songs", top=1000)) as boards:
        async for board in boards:
            seen.append(sum(entry.up_votes for entry in board.entries))
            if seen[-1] == VOTES:
                return


async def end_again_and_again(server: Serving, tally: Tally) -> None:
    """Ends the server in the middle of the votes, by turns without warning and in order."""
    ends = cycle((signal.SIGKILL, signal.SIGTERM))
    for restart in range(RESTARTS):
        await tally.reach((restart + 1) * VOTES // (RESTARTS + 1))
        await server.end(next(ends))
        await server.start()


async def archived(server: Serving) -> tuple[int, int, int]:
    """Events, pairs of agent and song among them, and ballots, as PostgreSQL has them."""
    addresses = running(server.data)
    assert addresses is not None
    connection = await asyncpg.connect(addresses.database_url)
    try:
        events = await connection.fetchrow("select count(*), count(distinct (agent_id, item_id)) from vote_events")
        assert events is not None
        return (*events, await connection.fetchval("select count(*) from votes"))
    finally:
        await connection.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing can be killed here")
async def test_every_vote_counts_once_though_the_server_is_killed_again_and_again(server: Serving) -> None:
    async with Admin(server.url, server.admin_key) as admin:
        await admin.add("/songs", [song(f"s{number}") for number in range(SONGS)])
        issued = await admin.agent_keys([f"agent{number}" for number in range(AGENTS)])
    keys = [agent.api_key for agent in issued.values()]
    tally, seen = Tally(), list[int]()
    async with asyncio.timeout(60 + 20 * RESTARTS), asyncio.TaskGroup() as group:
        group.create_task(watch(server.url, seen))
        group.create_task(end_again_and_again(server, tally))
        for agent, key in enumerate(keys):
            group.create_task(cast_all(server.url, key, agent, tally))

    assert tally.statuses.total() == VOTES
    assert set(tally.statuses) <= {"applied", "unchanged"}
    # Nobody ever saw a vote come and go: what is acknowledged stays, and nothing is counted twice.
    assert seen == sorted(seen)

    async with http_client(base_url=server.url) as http:
        ranking = (await http.get("/api/v1/boards/songs", params={"limit": 1000})).json()["entries"]
        assert {(entry["score"], entry["up_votes"], entry["down_votes"]) for entry in ranking} == {(AGENTS, AGENTS, 0)}
        assert len(ranking) == SONGS
        for key in keys:
            mine = await http.get("/api/v1/me/votes", headers={"authorization": f"Bearer {key}"})
            assert mine.json()["total"] == SONGS  # answered only when the archive has everything
    assert await archived(server) == (VOTES, VOTES, VOTES)
    print(f"{VOTES:,} votes through {RESTARTS} restarts: {dict(tally.statuses)}, {len(seen):,} boards seen")  # noqa: T201
