"""Voting by a person: every kind of ballot, shown at once, then confirmed or undone with the reason."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from playwright.async_api import Locator, Page, expect

from channels.client import Vote
from tests.app.running import http_client
from tests.app.web.lively import Lively
from tests.app.web.test_access import check

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEADER = "#table tbody tr:first-child"
SONG = "sonoa-glass-rivers"
TITLE = "Glass Rivers"
NONE = "\N{EN DASH}"


async def live(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    await expect(page.locator(LEADER)).to_be_visible()


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_role("button", name="Vote", exact=True).click()
    await page.get_by_label("Key", exact=True).fill(key)
    await page.get_by_role("button", name="Use the key").click()


async def test_a_vote_is_shown_at_once_then_confirmed_or_undone(page: Page, scene: Lively) -> None:
    (key,) = await scene.agents(1, "voter")
    await live(page, f"{scene.url}/boards/songs")
    await sign_in(page, key)
    await expect(page.locator("#agent")).to_contain_text("voter-0")
    item = await page.locator(f"{LEADER}").get_attribute("data-item")
    row = page.locator(f"#table tr[data-item='{item}']")
    score = int(await row.locator(".score").inner_text())
    up, down = row.locator(".cast.up"), row.locator(".cast.down")
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await expect(row.locator(".score")).to_have_text(str(score + 1))
    await expect(row).not_to_have_class("pending")
    # A ballot on this board is final: the server says so, and the page takes back what it supposed.
    await down.click()
    await expect(page.get_by_role("alert")).to_contain_text("You have voted on this already: take that vote back first")
    await expect(up).to_have_attribute("aria-pressed", "true")
    await expect(down).to_have_attribute("aria-pressed", "false")
    await expect(row.locator(".score")).to_have_text(str(score + 1))
    # The key outlives a reload, and with it what was voted; other tabs know nothing of it.
    await page.reload()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "false")
    await expect(row.locator(".score")).to_have_text(str(score))
    assert await page.evaluate("localStorage.length + document.cookie.length") == 0
    await page.get_by_role("button", name="Stop voting").click()
    await expect(up).to_have_count(0)
    assert await page.evaluate("sessionStorage.length") == 0
    await expect(page.locator("body")).to_have_attribute("data-state", "live")


@pytest.mark.parametrize("width", [320, 1280])
async def test_an_item_that_is_not_in_the_ranking_shown_is_voted_on_in_its_details(
    page: Page, scene: Lively, width: int
) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    (key,) = await scene.agents(1, f"finder-{width}")
    last = (await scene.entries("limit=40"))[-1]["item_id"]
    await live(page, f"{scene.url}/boards/songs?top=3")
    await sign_in(page, key)
    await page.goto(f"{scene.url}/boards/songs?top=3&item={last}")
    row = page.locator(f"plaudit-item tr[data-item='{last}']")
    score = int(await row.locator(".score").inner_text())
    await row.locator(".cast.up").click()
    await expect(row.locator(".cast.up")).to_have_attribute("aria-pressed", "true")
    await expect(row.locator(".score")).to_have_text(str(score + 1))
    await expect(row).not_to_have_class("pending")
    await check(page)
    # A row that is in both tables tells the same in both.
    await page.goto(f"{scene.url}/boards/songs?item={last}")
    both = page.locator(f"tr[data-item='{last}'] .cast.up")
    await expect(both).to_have_count(2)
    for button in await both.all():
        await expect(button).to_have_attribute("aria-pressed", "true")
    await page.locator(f"plaudit-item tr[data-item='{last}'] .cast.up").click()
    for button in await both.all():
        await expect(button).to_have_attribute("aria-pressed", "false")
    # Its title keeps the better part of the room.
    title = await row.locator(".title").bounding_box()
    assert title is not None
    assert title["width"] > 0.25 * (await row.bounding_box() or title)["width"]
    await page.evaluate("sessionStorage.clear()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_pressed_button_can_be_told_from_its_ground(
    page: Page, scene: Lively, scheme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    (key,) = await scene.agents(1, f"seer-{scheme}")
    await live(page, f"{scene.url}/boards/songs")
    await sign_in(page, key)
    for place, way in ((1, "up"), (2, "down")):
        item = await page.locator(f"#table tbody tr:nth-child({place})").get_attribute("data-item")
        row = page.locator(f"#table tr[data-item='{item}']")
        await row.locator(f".cast.{way}").click()
        await expect(row.locator(f".cast.{way}")).to_have_attribute("aria-pressed", "true")
        await expect(row).not_to_have_class("pending")
        ink, ground = await row.locator(f".cast.{way}").evaluate(
            "(button) => [getComputedStyle(button).color, getComputedStyle(button).backgroundColor]"
        )
        assert ink != ground


async def test_a_key_that_is_unknown_is_refused_and_forgotten(page: Page, scene: Lively) -> None:
    await live(page, f"{scene.url}/boards/songs")
    await sign_in(page, "not-a-key")
    await expect(page.get_by_role("alert")).to_contain_text("This key is unknown")
    await expect(page.locator("body")).to_have_attribute("data-state", "live")
    assert await page.evaluate("sessionStorage.length") == 0
    await page.get_by_role("button", name="Vote", exact=True).click()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#enter")).to_be_hidden()


async def open_board(scene: Lively, slug: str, **rules: Any) -> None:
    """A board with two songs."""
    headers = {"authorization": f"Bearer {scene.where.admin_key}"}
    board = {"slug": slug, "title": slug.capitalize(), "item_type": "song"} | rules
    async with http_client(base_url=f"{scene.url}/api/v1", headers=headers) as client:
        made = await client.post("/boards", json=board)
        assert made.status_code == 201, made.text
        items = [{"item_id": SONG}, {"item_id": "loomwave-umbra"}]
        assert (await client.post(f"/boards/{slug}/items", json=items)).status_code == 201


async def see(row: Locator, score: str, up: str) -> None:
    """Waits until the server has said so too."""
    await expect(row.locator(".score")).to_have_text(score)
    await expect(row.locator(".votes.up")).to_have_text(up)
    await expect(row).not_to_have_class("pending")


@pytest.mark.parametrize(
    ("slug", "ballot", "label", "choices"),
    [
        ("jury", {"kind": "points", "min": 1, "max": 12}, "Points", [NONE, *map(str, range(12, 0, -1))]),
        ("stars", {"kind": "stars"}, "Stars", [NONE, "5 ★", "4 ★", "3 ★", "2 ★", "1 ★"]),
    ],
)
async def test_points_and_stars_are_chosen_changed_and_taken_back(
    page: Page, scene: Lively, slug: str, ballot: dict[str, Any], label: str, choices: list[str]
) -> None:
    await open_board(scene, slug, ballot=ballot, ballots_change=True)
    (key,) = await scene.agents(1, slug)
    await live(page, f"{scene.url}/boards/{slug}")
    await sign_in(page, key)
    row = page.locator(f"#table tr[data-item='{SONG}']")
    chosen = page.get_by_label(f"{label} for {TITLE}", exact=True)
    await expect(chosen.locator("option")).to_have_text(choices)
    await chosen.select_option("4")
    await see(row, "4", "1")
    await expect(page.locator(LEADER)).to_have_attribute("data-item", SONG)
    # By keys alone, as in any list.
    await chosen.focus()
    await page.keyboard.press("5")
    await page.keyboard.press("Tab")
    await see(row, "5", "1")
    await check(page)
    await page.reload()
    await expect(chosen).to_have_value("5")
    await chosen.select_option(NONE)
    await see(row, "0", "0")
    await expect(chosen).to_have_value("")
    assert (await scene.get(f"/api/v1/boards/{slug}"))["entries"][0]["score"] == 0


async def test_a_final_ballot_stands_as_it_was_chosen(page: Page, scene: Lively) -> None:
    await open_board(
        scene, "strict", ballot={"kind": "points", "min": -5, "max": 10_000}, weights={"enterprise": 99.99}
    )
    (key,) = await scene.agents(1, "strict")
    await live(page, f"{scene.url}/boards/strict")
    await sign_in(page, key)
    row = page.locator(f"#table tr[data-item='{SONG}']")
    # Too many values for a list: they are typed.
    typed = page.get_by_role("spinbutton", name=f"Points for {TITLE}")
    await typed.fill("9999")
    await typed.press("Enter")
    await see(row, "999,800.01", "1")
    await typed.fill("9998")
    await typed.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("You have voted on this already: take that vote back first")
    await expect(typed).to_have_value("9999")
    await see(row, "999,800.01", "1")
    other = page.get_by_role("spinbutton", name="Points for Umbra")
    await other.fill("10001")
    await other.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("This board takes a value from -5 to 10000")
    await expect(other).to_have_value("")
    await check(page)
    for path, width in (("strict", 1280), ("strict", 320), ("strict?wall", 1920)):
        await page.set_viewport_size({"width": width, "height": width * 9 // 16})
        await live(page, f"{scene.url}/boards/{path}")
        await expect(page.locator(f"{LEADER} .score")).to_have_text("999,800.01")
        # Numbers of any length have their room.
        assert await page.locator(f"{LEADER} td").evaluate_all(
            "(cells) => cells.every((cell) => cell.scrollWidth <= cell.clientWidth || !cell.offsetWidth)"
        )


async def test_votes_that_are_never_against_are_shown_as_such(page: Page, scene: Lively) -> None:
    await open_board(scene, "liked", ballot={"kind": "like"})
    (key,) = await scene.agents(1, "fan")
    await live(page, f"{scene.url}/boards/liked?item={SONG}")
    await expect(page.get_by_role("columnheader", name="Votes", exact=True).first).to_be_visible()
    await expect(page.get_by_role("columnheader", name="Down")).to_have_count(0)
    await scene.vote(key, Vote("liked", SONG, "up"))
    await expect(page.locator("#item")).to_contain_text("score 1 · 1 vote")
    await sign_in(page, key)
    row = page.locator(f"#table tr[data-item='{SONG}']")
    await expect(row.locator(".cast")).to_have_count(1)
    await expect(row.locator(".cast")).to_have_attribute("aria-pressed", "true")
    await row.locator(".cast").click()
    await see(row, "0", "0")


async def test_ballots_are_offered_while_the_board_is_open(page: Page, scene: Lively) -> None:
    opens = datetime.now(UTC) + timedelta(hours=1)
    times = {"opens_at": opens.isoformat(), "closes_at": (opens + timedelta(hours=1)).isoformat()}
    await open_board(scene, "soon", ballot={"kind": "updown"}, **times)
    (key,) = await scene.agents(1, "early")
    await page.clock.install()
    await live(page, f"{scene.url}/boards/soon")
    await sign_in(page, key)
    status, ballots = page.locator("#status"), page.locator("#table .cast")
    await expect(page.locator("#agent")).to_contain_text("early-0")
    await expect(status).to_contain_text("Voting opens")
    await expect(ballots).to_have_count(0)
    await page.clock.fast_forward("01:00:01")
    await expect(status).to_have_text("Live")
    await expect(ballots.first).to_be_visible()
    await page.clock.fast_forward("01:00:00")
    await expect(status).to_contain_text("Voting closed")
    await expect(ballots).to_have_count(0)
