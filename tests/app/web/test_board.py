"""The page of a board in a real browser: everything that one can do on it."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from channels.client import Vote
from tests.app.web.lively import EMOJI, LONG, RTL, SAID, Lively

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEADER = "#table tbody tr:first-child"


async def live(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    await expect(page.locator(LEADER)).to_be_visible()


async def order(page: Page, table: str = "#table") -> list[str]:
    found: list[str] = await page.evaluate(
        "(table) => [...document.querySelectorAll(`${table} tbody tr`)].map((row) => row.dataset.item)", table
    )
    return found


async def test_the_boards_are_listed_with_their_leaders(page: Page, scene: Lively) -> None:
    await page.goto(scene.url)
    cards = page.locator(".card")
    await expect(cards.locator("h2")).to_have_text(["Songs", "Tools", "Final"])
    first = (await scene.entries("limit=1"))[0]
    await expect(cards.nth(0).locator(".lead b")).to_have_text(first["title"])
    await expect(cards.nth(1)).to_contain_text("12 listed, nobody leads yet")
    await expect(cards.nth(2)).to_contain_text("Contest · Closed")
    await cards.nth(0).click()
    await expect(page).to_have_url(f"{scene.url}/boards/songs")
    await expect(page.locator("h1")).to_have_text("Songs")
    await page.get_by_role("link", name="All boards").click()
    await expect(page).to_have_url(f"{scene.url}/")


async def test_an_address_without_a_board_is_answered_too(page: Page, scene: Lively) -> None:
    for path in ("/boards", "/boards/"):
        await page.goto(f"{scene.url}{path}")
        await expect(page).to_have_url(f"{scene.url}/")
    await page.goto(f"{scene.url}/boards/%zz")
    await expect(page.locator("#status")).to_have_text("There is no board '%zz'.")


async def test_windows_are_tabs_for_keys_too(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs")
    await page.get_by_role("tab", name="All time").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Today")).to_have_attribute("aria-selected", "true")
    await expect(page).to_have_url(f"{scene.url}/boards/songs?window=day")
    expected = [entry["item_id"] for entry in await scene.entries("window=day")]
    await expect(page.locator("#table tbody tr")).to_have_count(len(expected))
    assert await order(page) == expected
    await page.keyboard.press("End")
    await expect(page.get_by_role("tab", name="Trending")).to_be_focused()
    await page.reload()
    await expect(page.get_by_role("tab", name="Trending")).to_have_attribute("aria-selected", "true")


async def test_a_search_follows_an_item_wherever_it_stands(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs?top=5")
    box = page.get_by_role("combobox", name="Find on this board")
    await box.fill("glas rivrs")
    await expect(page.get_by_role("option").first).to_contain_text("Glass Rivers")
    await box.press("Enter")
    panel = page.locator("#item")
    await expect(panel.get_by_role("heading", name="Glass Rivers")).to_be_focused()
    await expect(page).to_have_url(f"{scene.url}/boards/songs?top=5&item=sonoa-glass-rivers")
    around = await scene.get("/api/v1/boards/songs/items/sonoa-glass-rivers?around=3")
    await expect(panel.locator("tbody tr")).to_have_count(len(around["neighbours"]))
    assert await order(page, "#item") == [entry["item_id"] for entry in around["neighbours"]]
    # The neighbours change with every vote on it.
    before = around["item"]["score"]
    for key in await scene.agents(3, "fans"):
        await scene.vote(key, Vote("songs", "sonoa-glass-rivers", "up"))
    chosen = panel.locator("tr.chosen .score")
    await expect(chosen).to_have_text(str(before + 3))
    await page.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    await expect(box).to_be_focused()


async def test_the_details_tell_what_was_said_and_what_was(page: Page, scene: Lively) -> None:
    first = next(entry for entry in await scene.entries("limit=50") if entry["up_votes"] == 6)
    await live(page, f"{scene.url}/boards/songs")
    await page.locator(f"#table tr[data-item='{first['item_id']}'] button.title").click()
    panel = page.locator("#item")
    await expect(panel.get_by_role("heading", name=first["title"])).to_be_visible()
    chart = panel.locator("plaudit-chart svg")
    await expect(chart).to_have_attribute("aria-label", re.compile(f"^{re.escape(first['title'])}: rank from "))
    assert len(re.findall("H", await chart.locator("path.line").first.get_attribute("d") or "")) > 3
    await expect(page.locator("plaudit-bump .trace")).to_have_count(10)


async def test_comments_come_newest_first_and_page_by_page(page: Page, scene: Lively) -> None:
    item = "loomwave-umbra"
    for number, key in enumerate(await scene.agents(12, "talkers")):
        words = SAID[number] if number < len(SAID) else f"number {number}"
        await scene.vote(key, Vote("songs", item, "up", comment=words))
    await scene.server.services.caught_up(scene.where.tenant.shard)
    await live(page, f"{scene.url}/boards/songs?item={item}")
    comments = page.locator("#item .comments li p")
    newest = [f"number {number}" for number in range(11, 2, -1)] + [SAID[2]]
    await expect(comments).to_have_text(newest)
    await page.get_by_role("button", name="Older comments").click()
    await expect(comments).to_have_text([*newest, SAID[1], SAID[0]])
    await expect(page.get_by_role("button", name="Older comments")).to_be_hidden()
    late = (await scene.agents(1, "late"))[0]
    await scene.vote(late, Vote("songs", item, "down", comment="I beg to differ"))
    await expect(comments.first).to_have_text("I beg to differ")
    await expect(comments).to_have_count(13)


async def test_two_pages_and_the_wall_agree(page: Page, browser: Browser, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs?top=10")
    wall, other = await browser.new_page(), await browser.new_page()
    await live(wall, f"{scene.url}/boards/songs?wall&window=day")
    await expect(wall.locator("h1")).to_have_text("Songs · Today")
    await expect(wall).to_have_title("Songs · Today · Plaudit")
    await live(wall, f"{scene.url}/boards/songs?wall")
    await expect(wall.locator("h1")).to_have_text("Songs")
    await live(other, f"{scene.url}/boards/songs")
    (key,) = await scene.agents(1, "one-more")
    items = [entry["item_id"] for entry in await scene.entries("limit=8")]
    await scene.vote(key, *[Vote("songs", item, "down" if place % 2 else "up") for place, item in enumerate(items)])
    expected = [(entry["item_id"], str(entry["score"])) for entry in await scene.entries("limit=10")]
    for shown in (page, wall, other):
        scores = shown.locator("#table tbody tr:nth-child(-n+10) .score")
        await expect(scores).to_have_text([score for _, score in expected])
        assert (await order(shown))[:10] == [item for item, _ in expected]
        await expect(shown.locator("#viewers")).to_have_text("3", timeout=8000)
    assert await wall.locator("button:visible, a:visible, input:visible").count() == 0
    code = wall.locator("#code img")
    assert await code.evaluate("(image) => image.complete && image.naturalWidth > 0")
    await wall.close()
    await other.close()


async def test_votes_a_second_are_told(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/tools")
    tools = (await scene.get("/api/v1/boards/tools"))["entries"]
    (key,) = await scene.agents(1, "busy")
    await scene.vote(key, *[Vote("tools", tool["item_id"], "up") for tool in tools[:10]])
    # Ten votes in the mean of five seconds; it is told within some seconds, and gone after some more.
    await expect(page.locator("#rate")).to_have_text("2", timeout=8000)
    await expect(page.locator("#age")).to_contain_text("ago")


async def test_titles_from_right_to_left_of_any_length_fit_any_screen(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs?top=50")
    for width in (320, 768, 1200, 3840):
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        heights: list[float] = await page.evaluate(
            "[...new Set([...document.querySelectorAll('#table tbody tr')].map((row) => row.offsetHeight))]"
        )
        assert len(heights) == 1
    for item, title in (("long", LONG.strip()), ("rtl", RTL), ("emoji", EMOJI)):
        await expect(page.locator(f"#table tr[data-item='{item}'] .title")).to_have_text(title)
    assert await page.locator("tr[data-item='rtl'] .title").evaluate("(title) => title.matches(':dir(rtl)')")


async def test_news_are_said_to_those_who_listen_but_not_all(page: Page, scene: Lively) -> None:
    await page.clock.install()
    await live(page, f"{scene.url}/boards/songs")
    leader, _, third = await scene.entries("limit=3")
    keys = await scene.agents(leader["score"] - third["score"] + 1, "jury")
    said = page.locator("#announcer")
    for key in keys:
        await scene.vote(key, Vote("songs", third["item_id"], "up"))
    await expect(page.locator(f"{LEADER} .title")).to_have_text(third["title"])
    await expect(said).to_have_text("")
    await page.clock.run_for(11_000)
    await expect(said).to_contain_text(f"{third['title']} leads with")


async def test_the_widget_lives_in_other_pages(page: Page, scene: Lively) -> None:
    await page.goto(scene.elsewhere)
    expected = [entry["title"] for entry in await scene.entries("limit=3")]
    await expect(page.locator("plaudit-board tbody .title")).to_have_text(expected)
    await expect(page.locator("plaudit-board .widget")).to_have_attribute("data-state", "live")
    await page.locator("plaudit-board").evaluate("(board) => board.setAttribute('top', 5)")
    await expect(page.locator("plaudit-board tbody tr")).to_have_count(5)
    await page.locator("plaudit-board").evaluate("(board) => board.remove()")
    await page.close()
