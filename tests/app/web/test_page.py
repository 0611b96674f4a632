"""The page in a real browser, from a real server with real stores."""

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from app.address import address_in
from app.demo import AGENT, load_demo
from channels.client import Ack, PlauditClient, Vote
from tests.app.running import Installation, Running, http_client, install, running
from tests.app.serving import STARTS_WITHIN, STOPS_WITHIN, complaints, plaudit

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def installation(database_url: str, redis_url: str, prefix: str) -> Installation:
    """Stores of the test's own."""
    return await install(database_url, redis_url, prefix)


async def add_demo(server: Running, where: Installation) -> str:
    """The demo catalogue; answers a key of its agent."""
    services = server.services
    agent = await load_demo(
        services.directory, services.catalogue, services.boards, services.live, where.tenant, services.now()
    )
    return (await services.directory.add_agent_key(where.tenant, agent)).secret


async def told(server: Running) -> list[Any]:
    """The first fifty as the API tells them."""
    async with http_client(base_url=server.url) as client:
        entries = (await client.get("/api/v1/boards/songs?limit=50")).json()["entries"]
    return [[entry["item_id"], str(entry["rank"]), entry["title"], str(entry["score"])] for entry in entries]


async def shown(page: Page) -> list[Any]:
    """What the page shows."""
    rows: list[Any] = await page.evaluate(
        """[...document.querySelectorAll("#table tbody tr")].map((row) => [
            row.dataset.item, ...[".rank", ".title", ".score"].map((cell) => row.querySelector(cell).textContent)
        ])"""
    )
    return rows


async def see(page: Page, expected: list[Any]) -> None:
    """Waits until the page is live and its scores are these, then compares all of it."""
    await expect(page.locator("#table tbody .score")).to_have_text([score for *_, score in expected])
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    assert await shown(page) == expected


async def test_after_a_hundred_votes_every_page_shows_what_the_api_tells(
    page: Page, browser: Browser, installation: Installation
) -> None:
    chance = random.Random(7)
    async with running(installation) as server:
        await add_demo(server, installation)
        await page.goto(f"{server.url}/boards/songs")
        await expect(page.locator("#table tbody tr")).to_have_count(40)
        songs = [item for item, *_ in await told(server)]
        issued = await server.services.directory.add_agents(installation.tenant, [(f"a{n}", "free") for n in range(5)])
        for key in issued:
            votes = [Vote("songs", song, chance.choice(["up", "up", "down"])) for song in chance.sample(songs, 20)]
            async with PlauditClient(server.url, key.secret) as client:
                assert all(isinstance(ack, Ack) for ack in await client.vote_many(votes))
        expected = await told(server)
        assert len({score for *_, score in expected}) > 3
        await see(page, expected)
        other = await browser.new_page()
        await other.goto(f"{server.url}/boards/songs")
        await see(other, expected)
        await other.close()
        await page.close()


async def test_browsers_get_their_deltas_compressed(page: Page, installation: Installation) -> None:
    async with running(installation) as server:
        await page.goto(server.url)
        extensions = await page.evaluate(
            """url => new Promise((done, fail) => {
                const socket = new WebSocket(url);
                socket.onopen = () => done(socket.extensions);
                socket.onerror = () => fail(new Error("no websocket"));
            })""",
            server.url.replace("http", "ws", 1) + "/ws",
        )
        assert extensions.startswith("permessage-deflate")
        await page.close()


async def test_a_server_that_restarts_is_waited_for(page: Page, installation: Installation) -> None:
    async with running(installation) as server:
        key = await add_demo(server, installation)
        await page.goto(f"{server.url}/boards/songs")
        await expect(page.locator("#table tbody tr")).to_have_count(40)
    await expect(page.locator("body")).to_have_attribute("data-state", "lost")
    async with running(installation, server.port) as server:
        async with PlauditClient(server.url, key) as client:
            assert client.welcome is not None
            assert client.welcome.agent_id == AGENT
            await client.vote("songs", "sonoa-glass-rivers", "up")
        expected = await told(server)
        assert expected[0] == ["sonoa-glass-rivers", "1", "Glass Rivers", "1"]
        await see(page, expected)
        await page.close()


async def test_the_demo_moves_within_seconds_and_shows_a_vote_from_a_terminal(
    page: Page, database_url: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    here = {"PLAUDIT_DATA": str(tmp_path)}
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PLAUDIT_PREFIX": prefix}
    server = await plaudit("serve", "--demo", "--port", "0", "--log-level", "warning", **here, **stores)
    assert server.stdout is not None
    async with asyncio.timeout(STARTS_WITHIN):
        while b"an agent's key" not in await server.stdout.readline():
            pass
    async with asyncio.timeout(10):
        await page.goto(f"{address_in(tmp_path)}/boards/songs")
        await expect(page.locator("#table tbody tr")).to_have_count(40)
        first = await shown(page)
        await expect(page.locator("#table tbody tr:first-child .score")).not_to_have_text(first[0][-1])
    await page.locator("#table tr[data-item='loomwave-umbra'] button.title").click()
    voter = await plaudit("vote", "songs", "loomwave-umbra", "up", "--comment", "that bridge", **here)
    async with asyncio.timeout(STARTS_WITHIN):
        said, _ = await voter.communicate()
    assert said.startswith(b"applied: ")
    await expect(page.locator("#item .comments")).to_contain_text("that bridge")
    server.send_signal(signal.SIGTERM)
    async with asyncio.timeout(STOPS_WITHIN):
        _, errors = await server.communicate()
    assert (server.returncode, complaints(errors)) == (0, [])
    await expect(page.locator("body")).to_have_attribute("data-state", "lost")
    await page.close()
