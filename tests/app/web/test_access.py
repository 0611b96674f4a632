"""Who uses the page by other means than eyes and mouse: axe's rules, and the keyboard alone."""

from importlib.resources import files

import pytest
from playwright.async_api import Browser, Page, expect

from tests.app.web.lively import Lively

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
SONG = "sonoa-glass-rivers"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def check(page: Page) -> None:
    """Raises where axe finds a rule broken."""
    # What fades in is measured when it is there.
    await page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    # Handed over by the debugger, which the content policy does not concern.
    await page.evaluate(AXE)
    found = await page.evaluate(
        """async (rules) => (await axe.run({ runOnly: rules, resultTypes: ["violations"] })).violations.map(
            ({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html.slice(0, 120))],
        )""",
        RULES,
    )
    assert found == []


async def live(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    await expect(page.locator("#table tbody tr").first).to_be_visible()
    await expect(page.locator("plaudit-bump .trace").first).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1200)])
async def test_axe_finds_nothing(browser: Browser, scene: Lively, scheme: str, width: int) -> None:
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        viewport={"width": width, "height": 900},
    )
    page = await context.new_page()
    await page.goto(scene.url)
    await expect(page.locator(".card .lead b").first).to_be_visible()
    await check(page)
    await live(page, f"{scene.url}/boards/songs?top=12")
    await check(page)
    await page.get_by_role("combobox", name="Find on this board").fill("glass")
    await expect(page.get_by_role("option").first).to_be_visible()
    await check(page)
    await live(page, f"{scene.url}/boards/songs?top=12&item={SONG}")
    await expect(page.locator("#item plaudit-chart svg")).to_be_visible()
    await expect(page.locator("#item tbody tr").first).to_be_visible()
    await check(page)
    await live(page, f"{scene.url}/boards/songs?top=12")
    await page.get_by_role("button", name="Vote", exact=True).click()
    await check(page)
    await page.get_by_label("Key", exact=True).fill(scene.key)
    await page.get_by_role("button", name="Use the key").click()
    await expect(page.locator(".cast").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await check(page)
    await context.close()


@pytest.mark.parametrize("path", ["/boards/songs?wall", "/boards/none"])
async def test_axe_finds_nothing_on_a_wall_or_where_nothing_is(browser: Browser, scene: Lively, path: str) -> None:
    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(f"{scene.url}{path}")
    await expect(page.locator("#status")).to_have_text("Live" if "wall" in path else "There is no board 'none'.")
    await check(page)
    await context.close()


async def test_everything_can_be_reached_by_keys(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs?top=3")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="To the ranking")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    first = page.locator("#table tbody button.title").first
    await expect(first).to_be_focused()
    await page.keyboard.press("Enter")
    title = page.locator("#item h2").first
    await expect(title).to_be_focused()
    await expect(title).to_have_text(await first.inner_text())
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Close the details")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#item")).to_be_hidden()
    await expect(first).to_be_focused()


async def test_details_on_a_phone_cover_the_ranking_until_back(page: Page, scene: Lively) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    await live(page, f"{scene.url}/boards/songs?top=3")
    first = page.locator("#table tbody button.title").first
    await first.click()
    await expect(page.locator("#item h2").first).to_be_focused()
    # What is covered can't be reached by keys, and can when it is seen again.
    await expect(page.locator("#ranking")).to_have_js_property("inert", value=True)
    await page.go_back()
    await expect(page.locator("#item")).to_be_hidden()
    await expect(page).to_have_url(f"{scene.url}/boards/songs?top=3")
    await expect(page.locator("#ranking")).to_have_js_property("inert", value=False)
    await expect(first).to_be_focused()
    # Closed by its button, it leaves no page behind that Back would have to pass.
    await first.click()
    await page.get_by_role("button", name="Close the details").click()
    await expect(page.locator("#item")).to_be_hidden()
    await expect(page).to_have_url(f"{scene.url}/boards/songs?top=3")


async def test_the_ranking_is_a_table_to_those_who_listen(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs?top=2")
    leader = (await scene.entries("limit=1"))[0]
    table = page.get_by_role("table", name="Ranking by score, highest first")
    heads = ["Rank", "Movement in an hour", "Title", "Share of up votes", "Up", "Down", "Score"]
    await expect(table.get_by_role("columnheader")).to_have_count(len(heads))
    for name in heads:
        await expect(table.get_by_role("columnheader", name=name, exact=name != "Rank").first).to_be_attached()
    await expect(table.get_by_role("rowheader").first).to_contain_text(leader["title"])
    await expect(table).to_have_attribute("aria-rowcount", "44")
    await expect(table.get_by_role("row").nth(2)).to_have_attribute("aria-rowindex", "3")
