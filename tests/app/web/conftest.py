"""A real browser for the page's tests."""

import os
import shutil
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from storage.embedded import EmbeddedServers
from tests.app.running import install
from tests.app.web.lively import Lively, lively
from tests.databases import Databases

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The run's Chromium."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        missing = "the page's tests need Chromium: apt install chromium, or brew install --cask chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A fresh window; a script error in it, or something that the content policy stopped, fails the test."""
    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    await context.close()
    assert wrong == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(servers: EmbeddedServers, databases: Databases) -> AsyncIterator[Lively]:
    """A server with a board worth looking at, for all tests of a module."""
    async with databases.take() as database_url:
        where = await install(database_url, servers.redis_url, f"test-{uuid4().hex}")
        async with lively(where) as opened:
            yield opened
