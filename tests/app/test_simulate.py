"""A simulation against a whole server."""

import asyncio
import random

import asyncpg
import pytest
import pytest_asyncio

from app.admin import Admin
from app.demo import load_demo
from app.simulate import lively, simulate
from channels.client import PlauditClient
from channels.errors import PlauditError
from tests.app.running import Installation, Running, install, running


@pytest_asyncio.fixture
async def installation(database_url: str, redis_url: str, prefix: str) -> Installation:
    """Stores of the test's own."""
    return await install(database_url, redis_url, prefix)


async def furnish(server: Running, where: Installation) -> None:
    of = server.services
    await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())


async def test_a_board_comes_to_life_until_it_is_cancelled(installation: Installation) -> None:
    enough = asyncio.Event()
    outcomes: list[str] = []

    def acted(outcome: str) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 300:
            enough.set()

    async with running(installation) as server:
        await furnish(server, installation)
        work = asyncio.create_task(
            simulate(server.url, installation.admin_key, agents=8, rate=2000, on_act=acted, chance=random.Random(7))
        )
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait([work, waiting], return_when=asyncio.FIRST_COMPLETED)
        assert enough.is_set(), work
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert set(outcomes) == {"applied", "retracted"}
        assert server.services.gateway.agents == 0
        async with Admin(server.url, installation.admin_key) as admin:
            standings = await admin.ranking("songs")
            assert len({standing.score for standing in standings}) > 3
    connection = await asyncpg.connect(installation.database_url)
    keys = "select count(*) made, count(revoked_at) void from api_keys k join agents a on a.id = k.agent_id"
    counts = await connection.fetchrow(f"{keys} where a.agent_id like 'sim-%'")
    assert counts is not None
    assert (counts["made"], counts["void"]) == (8, 8)
    await connection.close()


async def test_ballots_of_an_earlier_run_do_no_harm(installation: Installation) -> None:
    async with running(installation) as server:
        await furnish(server, installation)
        for _ in range(2):
            # The same chance both times: every first vote of the second run has been cast in the first.
            outcomes = await simulate(
                server.url,
                installation.admin_key,
                boards=["tools"],
                agents=4,
                rate=500,
                seconds=0.1,
                chance=random.Random(7),
            )
        assert set(outcomes) <= {"applied", "retracted", "unchanged", "already_voted"}
        assert outcomes["retracted"] >= 4


async def test_a_demo_lives_while_it_is_served_and_leaves_nobody_behind(installation: Installation) -> None:
    async with running(installation) as server, PlauditClient(server.url) as viewer:
        await furnish(server, installation)
        async with asyncio.timeout(30), lively(server.url, installation.admin_key):
            async for board in viewer.watch("songs", top=1):
                if board.entries[0].score:
                    break
            assert server.services.gateway.agents > 0
        assert server.services.gateway.agents == 0


async def test_what_can_not_be_voted_on_is_an_error(installation: Installation) -> None:
    async with running(installation) as server:
        with pytest.raises(PlauditError, match="unknown_board"):
            await simulate(server.url, installation.admin_key, boards=["nothing"])
        with pytest.raises(ValueError, match="nothing to vote on"):
            await simulate(server.url, installation.admin_key)
