"""Whatever somebody wrote is text on the page: titles, names, comments and agents that would be markup or script."""

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from channels.client import Vote
from tests.app.conftest import song
from tests.app.running import http_client
from tests.app.web.lively import Lively

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = [
    '<img src="x" onerror="alert(1)">', "<script>alert(1)</script>", '"><svg onload=alert(1)>', "javascript:alert(1)",
    "{{7*7}}", "</title><b>bold</b>", "'-alert(1)-'", "&lt;i&gt;",
]  # fmt: skip
TITLE = '<b onclick="alert(1)">The</b> board'


@pytest_asyncio.fixture(loop_scope="session")
async def silent(page: Page) -> Page:
    """A page on which no script of others says anything."""
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    return page


async def furnish(scene: Lively) -> None:
    songs = [song(f"{place}{text}", title=text, artist=text, genre=text) for place, text in enumerate(HOSTILE)]
    board = {"slug": "markup", "title": TITLE, "item_type": "song", "ballot": {"kind": "updown"}}
    headers = {"authorization": f"Bearer {scene.where.admin_key}"}
    async with http_client(base_url=f"{scene.url}/api/v1", headers=headers) as client:
        (await client.post("/songs", json=songs)).raise_for_status()
        (await client.post("/boards", json=board)).raise_for_status()
        items = [{"item_id": item["id"]} for item in songs]
        (await client.post("/boards/markup/items", json=items)).raise_for_status()
    for place, key in enumerate(await scene.agents(len(HOSTILE), HOSTILE[0])):
        await scene.vote(key, *(Vote("markup", item["item_id"], "up", comment=HOSTILE[place]) for item in items))
    await scene.server.services.caught_up(scene.where.tenant.shard)


async def test_nothing_that_was_written_is_markup(silent: Page, scene: Lively) -> None:
    await furnish(scene)
    await silent.goto(scene.url)
    await expect(silent.locator(".card h2")).to_contain_text([TITLE])
    await silent.goto(f"{scene.url}/boards/markup")
    await expect(silent.locator("h1")).to_have_text(TITLE)
    await expect(silent.locator("#table tbody tr")).to_have_count(len(HOSTILE))
    shown = await silent.locator("#table tbody tr").all_inner_texts()
    for text in HOSTILE:
        assert any(text in row for row in shown), text
    # Details have comments, and the agents that wrote them.
    await silent.locator("#table tbody tr:first-child").click()
    panel = silent.locator("#item")
    await expect(panel).to_contain_text(HOSTILE[0])
    for text in HOSTILE:
        await expect(panel).to_contain_text(text)
    for place in ("body", "#item"):
        assert await silent.locator(f"{place} :is(img[src=x], svg[onload], b[onclick], script:not([src]))").count() == 0
