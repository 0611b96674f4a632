"""Votes on the page over connections that break: it never shows as counted, or as not, what it does not know."""

import pytest
from playwright.async_api import Page, expect

from channels.errors import RESTART, ErrorCode
from channels.protocol import Ack, CastVote, Error, Hello, Retract, Subscribe, Welcome
from tests.app.web.scripted import delta, resumed, serving, snapshot, view
from tests.app.web.watched import see, see_state, start
from tests.channels.scripted import Peer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_vote_that_was_cut_off_is_cast_again(page: Page) -> None:
    first = view(1, a=3, b=2)

    async def cut_off(peer: Peer) -> None:
        await start(peer, first)
        assert (await peer.receive(CastVote)).value == 1
        await peer.socket.close(RESTART)

    async def comes_back(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        again = await peer.receive(CastVote)
        assert (again.board, again.item, again.value) == ("songs", "a", 1)
        await peer.send(resumed(ask, first), Ack(again.id, "applied", 5, 4, 2, 0, 98))
        await peer.until_gone()

    async with serving(cut_off, comes_back) as url:
        await page.goto(f"{url}/boards/songs")
        await page.get_by_role("button", name="Vote up: Glass Rivers").click()
        await see(page, a="4", b="2")
        await see_state(page, "live")
        await expect(page.locator("#agent")).to_have_text("critic-7 · 98 left today")
        await expect(page.locator("tr.pending")).to_have_count(0)
        await page.close()


async def hold(page: Page, *items: str) -> None:
    """Lets the server say from now on that these have a vote for them."""
    votes = [{"board": "songs", "item_id": item, "value": 1} for item in items]
    await page.unroute_all()
    await page.route("**/api/v1/me/votes*", lambda route: route.fulfill(json={"votes": votes, "total": len(votes)}))


async def see_held(page: Page, *, held: bool) -> None:
    button = page.get_by_role("button", name="Vote up: Glass Rivers")
    await expect(button).to_have_attribute("aria-pressed", "true" if held else "false")
    await expect(page.locator("tr.pending")).to_have_count(0)


async def test_a_retraction_that_finds_nothing_any_more_was_done_before(page: Page) -> None:
    first, second = view(1, a=3, b=2.5), view(2, a=2, b=2.5)

    async def cut_off(peer: Peer) -> None:
        await start(peer, first)
        await peer.receive(Retract)
        await hold(page)
        await peer.socket.close(RESTART)

    async def comes_back(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        again = await peer.receive(Retract)
        await peer.send(resumed(ask, first), delta(first, second))
        await peer.send(Error(again.id, "no_ballot", "There is no ballot to retract", temporary=False))
        await peer.until_gone()

    async with serving(cut_off, comes_back) as url:
        await hold(page, "a")
        await page.goto(f"{url}/boards/songs")
        await see_held(page, held=True)
        await page.get_by_role("button", name="Vote up: Glass Rivers").click()
        await see(page, b="2.5", a="2")
        await see_held(page, held=False)
        await expect(page.locator("#notice")).to_be_empty()
        await page.close()


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("code", ["internal", "voting_closed"])
async def test_what_nobody_knows_of_a_vote_is_not_told_but_asked(page: Page, code: ErrorCode, counted: bool) -> None:
    first = view(1, a=3, b=2)

    async def cut_off(peer: Peer) -> None:
        await start(peer, first)
        await peer.receive(CastVote)
        await peer.socket.close(RESTART)

    async def answers(peer: Peer) -> None:
        ask = await start(peer, first) if code == "internal" else None
        if ask is None:
            await peer.greet()
            await peer.send(resumed(await peer.receive(Subscribe), first))
        vote = await peer.receive(CastVote)
        await hold(page, *["a"] * counted)
        await peer.send(Error(vote.id, code, "So it is", temporary=False))
        await peer.until_gone()

    # An internal error says nothing, and a refusal says nothing of what was sent before the connection was lost.
    async with serving(*([answers] if code == "internal" else [cut_off, answers])) as url:
        await hold(page)
        await page.goto(f"{url}/boards/songs")
        await page.get_by_role("button", name="Vote up: Glass Rivers").click()
        await expect(page.get_by_role("alert")).to_have_text(
            "Glass Rivers: So it is. It is not known whether your vote was counted."
        )
        await see_held(page, held=counted)
        await see(page, a="3", b="2")
        await page.close()


async def test_a_refusal_tells_that_a_vote_was_not_counted(page: Page) -> None:
    async def script(peer: Peer) -> None:
        await start(peer, view(1, a=3, b=2))
        vote = await peer.receive(CastVote)
        await peer.send(Error(vote.id, "voting_closed", "Voting is not open", temporary=False))
        retraction = await peer.receive(Retract)
        await peer.send(Error(retraction.id, "voting_closed", "Voting is not open", temporary=False))
        await peer.until_gone()

    async with serving(script) as url:
        await hold(page, "b")
        await page.goto(f"{url}/boards/songs")
        await page.get_by_role("button", name="Vote up: Glass Rivers").click()
        await expect(page.get_by_role("alert")).to_contain_text("Your vote was not counted.")
        await see_held(page, held=False)
        await page.get_by_role("button", name="Vote up: Second <b>Sight</b>").click()
        await expect(page.get_by_role("alert")).to_contain_text("Your vote was not taken back.")
        await page.close()


async def test_a_key_that_is_changed_under_way_leaves_it_open_what_became_of_a_vote(page: Page) -> None:
    async def unanswered(peer: Peer) -> None:
        await start(peer, view(1, a=3, b=2))
        await peer.receive(CastVote)
        await page.get_by_role("button", name="Stop voting").click()
        await peer.until_gone()

    async def viewed(peer: Peer) -> None:
        hello = await peer.receive(Hello)
        await peer.send(Welcome(hello.id, "s", None, None, None, 25, 0))
        await peer.send(snapshot(await peer.receive(Subscribe), view(2, a=4, b=2)))
        await peer.until_gone()

    async with serving(unanswered, viewed) as url:
        await page.goto(f"{url}/boards/songs")
        await page.get_by_role("button", name="Vote up: Glass Rivers").click()
        await expect(page.get_by_role("alert")).to_contain_text("It is not known whether your vote was counted.")
        await see(page, a="4", b="2")
        await page.close()


async def test_a_vote_under_way_stays_pressed_over_a_new_connection(page: Page) -> None:
    first = view(1, a=3, b=2)

    async def cut_off(peer: Peer) -> None:
        await start(peer, first)
        await peer.receive(CastVote)
        await peer.socket.close(RESTART)

    async def comes_back(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.receive(Subscribe), first))
        again = await peer.receive(CastVote)
        await peer.send(Ack(again.id, "applied", 5, 4, 2, 0, 98))
        await peer.until_gone()

    async with serving(cut_off, comes_back) as url:
        await page.goto(f"{url}/boards/songs")
        await page.get_by_role("button", name="Vote up: Glass Rivers").click()
        await expect(page.locator("#agent")).to_have_text("critic-7 · 98 left today")
        await see_held(page, held=True)
        await page.close()
