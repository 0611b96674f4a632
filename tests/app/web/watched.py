"""What somebody sees on the page of a scripted server."""

from playwright.async_api import Page, expect

from channels.protocol import Subscribe
from channels.ranking import View
from tests.app.web.scripted import snapshot
from tests.channels.scripted import Peer


async def see(page: Page, **scores: str) -> None:
    """Waits until the page shows these items in this order with these scores."""
    await expect(page.locator("#table tbody tr .score")).to_have_text(list(scores.values()))
    rows = await page.locator("#table tbody tr").all()
    assert [await row.get_attribute("data-item") for row in rows] == list(scores)


async def see_state(page: Page, state: str) -> None:
    await expect(page.locator("body")).to_have_attribute("data-state", state)


async def start(peer: Peer, first: View) -> Subscribe:
    await peer.greet()
    ask = await peer.receive(Subscribe)
    await peer.send(snapshot(ask, first))
    return ask
