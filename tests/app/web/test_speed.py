"""What the page costs a browser: a thousand rows, twenty deltas a second, everything in motion."""

import asyncio
import random
from itertools import pairwise
from statistics import median

import pytest
from playwright.async_api import Browser, CDPSession, Page, expect

from channels.protocol import Subscribe
from channels.ranking import View
from tests.app.web.scripted import delta, serving, snapshot, view
from tests.channels.scripted import Peer

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROWS = 1000
DELTAS = 60
A_SECOND = 20
CHANGES = 25
BOUND_MS = 8.0
"""Twice what it may cost on a machine of our own: this one may be slow."""


def history(chance: random.Random) -> list[View]:
    """A board of a thousand, and what votes make of it: most of them near the top."""
    scores: dict[str, float] = {f"song-{n:04}": float(ROWS - n) for n in range(ROWS)}
    views = [view(1, **scores)]
    for version in range(2, DELTAS + 2):
        for _ in range(CHANGES):
            scores[f"song-{min(int(chance.expovariate(1 / 120)), ROWS - 1):04}"] += chance.randint(-4, 9)
        views.append(view(version, **scores))
    return views


async def script_ms(session: CDPSession) -> float:
    """Milliseconds that the page's scripts have run so far."""
    answer = await session.send("Performance.getMetrics")
    return 1000 * float(next(metric["value"] for metric in answer["metrics"] if metric["name"] == "ScriptDuration"))


async def intervals(page: Page) -> list[float]:
    """Milliseconds between frames while the board is scrolled from its top to its end."""
    found: list[float] = await page.evaluate(
        """() => new Promise((done) => {
            const times = [];
            const way = document.documentElement.scrollHeight - innerHeight;
            function step(now) {
                times.push(now);
                scrollTo({ top: (way * times.length) / 90, behavior: "instant" });
                if (times.length < 90) requestAnimationFrame(step);
                else done(times.slice(1).map((time, index) => time - times[index]));
            }
            requestAnimationFrame(step);
        })"""
    )
    return found


async def test_twenty_deltas_a_second_on_a_thousand_rows(browser: Browser) -> None:
    views = history(random.Random(5))
    watched, finished = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        assert ask.top == ROWS
        await peer.send(snapshot(ask, views[0]))
        await watched.wait()
        for old, new in pairwise(views):
            await peer.send(delta(old, new))
            await asyncio.sleep(1 / A_SECOND)  # the pace is what is tried here
        finished.set()
        await peer.until_gone()

    async with serving(script) as url:
        context = await browser.new_context(reduced_motion="no-preference", viewport={"width": 1200, "height": 900})
        page = await context.new_page()
        await page.goto(f"{url}/boards/songs?top={ROWS}")
        await expect(page.locator("#table tbody tr")).to_have_count(ROWS)
        frames = await intervals(page)
        await page.evaluate("scrollTo(0, 0)")
        session = await context.new_cdp_session(page)
        # The time that the scripts had the processor for, whatever else goes on on this machine.
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = await script_ms(session)
        watched.set()
        await asyncio.wait_for(finished.wait(), 20)
        spent = (await script_ms(session) - before) / DELTAS
        last = [f"{row.points // 100:,}" for row in views[-1].rows.values()][:20]
        await expect(page.locator("#table tbody tr:nth-child(-n+20) .score")).to_have_text(last)
        await context.close()
    print(f"\nscript per delta: {spent:.2f} ms; scrolling, median frame: {median(frames):.1f} ms")  # noqa: T201  # the figure is what the test is for
    assert spent < BOUND_MS
    # A machine without a graphics card, shared with other tests: half of 60 frames a second still shows a jam.
    assert median(frames) < 34
