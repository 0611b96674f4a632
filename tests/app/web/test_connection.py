"""The page against a scripted server: what it asks, what it shows, and that it never shows as live what is not."""

import asyncio

import pytest
from msgspec.structs import replace
from playwright.async_api import Page, expect

from channels.errors import BAD_TOKEN, RESTART
from channels.protocol import Bye, Error, Hello, Ping, Pong, Subscribe, Unsubscribe, Welcome
from channels.ranking import View, rank_rows
from storage.types import Row
from tests.app.web.scripted import delta, resumed, serving, snapshot, view
from tests.app.web.watched import see, see_state, start
from tests.channels.scripted import Peer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_ranking_moves_as_deltas_come(page: Page) -> None:
    first, second = view(1, a=3, b=2, c=1), view(2, a=3, b=2, c=2.5)
    shown = asyncio.Event()

    async def script(peer: Peer) -> None:
        ask = await start(peer, first)
        assert (ask.board, ask.window, ask.top, ask.version) == ("songs", "all", 50, None)
        await shown.wait()
        await peer.send(delta(first, second))
        await peer.until_gone()

    async with serving(script) as url:
        await page.goto(f"{url}/boards/songs")
        await see(page, a="3", b="2", c="1")
        await see_state(page, "live")
        shown.set()
        await see(page, a="3", c="2.5", b="2")
        await expect(page.locator("#table tbody .rank")).to_have_text(["1", "2", "3"])
        await expect(page.locator("#table tbody .title")).to_have_text(
            ["Glass Rivers", "Third Rail", "Second <b>Sight</b>"]
        )
        await expect(page.locator("#shown")).to_have_text("3 of 3")
        await page.close()


async def test_items_come_and_go_and_movement_is_told(page: Page) -> None:
    rows = [Row("a", 0, 300, 3, 0, 3), Row("b", 0, 200, 4, 2, 1)]
    first = View.of("e1", 1, 3, rank_rows(rows))
    second = View.of("e1", 2, 3, rank_rows([Row("c", 0, 900, 9, 0, None), rows[0]]))
    shown = asyncio.Event()

    async def script(peer: Peer) -> None:
        await start(peer, first)
        await shown.wait()
        await peer.send(delta(first, second))
        await peer.until_gone()

    async with serving(script) as url:
        await page.goto(f"{url}/boards/songs")
        await expect(page.locator("#table tbody .arrow")).to_have_text(["▲2", "▼1"])
        shown.set()
        await see(page, c="9", a="3")
        await expect(page.locator("#table tbody .arrow")).to_have_text(["new", "▲1"])
        await expect(page.locator("#table tbody .movement .spoken")).to_have_text(["new", "up 1"])
        await page.close()


async def test_the_address_says_which_board_of_whom(page: Page) -> None:
    async def script(peer: Peer) -> None:
        hello = await peer.receive(Hello)
        assert (hello.tenant, hello.token) == ("payportpro", None)
        await peer.send(Welcome(hello.id, "s", None, None, None, 25, 0))
        ask = await peer.receive(Subscribe)
        assert ask.board == "esc-2016"
        await peer.send(snapshot(ask, view(1, a=1)))
        await peer.until_gone()

    async with serving(script) as url:
        await page.goto(f"{url}/boards/esc-2016?tenant=payportpro")
        await see(page, a="1")
        await expect(page.locator("h1")).to_have_text("esc-2016")
        await page.close()


async def test_a_tampered_delta_is_found_and_the_board_asked_for_anew(page: Page) -> None:
    first, second, third = view(1, a=3, b=2), view(2, a=3, b=4), view(3, a=5, b=4)
    greyed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await start(peer, first)
        honest = delta(first, second)
        await peer.send(replace(honest, entries=[replace(honest.entries[0], score=40)]))
        assert (await peer.receive(Unsubscribe)).sub == 5
        ask = await peer.receive(Subscribe)
        assert (ask.epoch, ask.version) == (None, None)
        await greyed.wait()
        # What is still under way for the old subscription must not be taken for the new one's.
        await peer.send(delta(second, third), snapshot(ask, second))
        await peer.until_gone()

    async with serving(script) as url:
        await page.goto(f"{url}/boards/songs")
        await see_state(page, "connecting")
        await see(page, a="3", b="2")
        greyed.set()
        await see(page, b="4", a="3")
        await see_state(page, "live")
        await page.close()


async def test_a_lost_connection_is_told_and_resumed(page: Page) -> None:
    first, second = view(1, a=3, b=2), view(2, a=3, b=4)
    greyed = asyncio.Event()

    async def falls(peer: Peer) -> None:
        await start(peer, first)
        await peer.send(Bye(RESTART, "restart", 1))
        await peer.socket.close(RESTART)

    async def comes_back(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        assert (ask.epoch, ask.version) == ("e1", 1)
        await greyed.wait()
        await peer.send(resumed(ask, first), delta(first, second))
        await peer.until_gone()

    async with serving(falls, comes_back) as url:
        await page.goto(f"{url}/boards/songs")
        await see_state(page, "lost")
        await expect(page.locator("#status")).to_contain_text("Connection lost, trying again. What you see is from")
        await see(page, a="3", b="2")
        greyed.set()
        await see(page, b="4", a="3")
        await see_state(page, "live")
        await page.close()


async def test_a_snapshot_that_does_not_hold_is_never_shown(page: Page) -> None:
    async def lies(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        await peer.send(replace(snapshot(ask, view(1, a=99)), digest=1))
        await peer.until_gone()

    async def tells(peer: Peer) -> None:
        await start(peer, view(1, a=3))
        await peer.until_gone()

    async with serving(lies, tells) as url:
        await page.goto(f"{url}/boards/songs")
        await see(page, a="3")
        await see_state(page, "live")
        await page.close()


async def pause(page: Page) -> None:
    """Stops the page's clock, within a second of its own."""
    await page.clock.pause_at((await page.evaluate("Date.now()")) / 1000 + 1)


# Whatever the server's heartbeat, no board looks live for more than ten seconds of silence.
@pytest.mark.parametrize(("heartbeat", "silence_ms", "answer_ms"), [(25, 6_000, 4_000), (3, 3_000, 3_000)])
async def test_silence_is_probed_and_then_counts_as_loss(
    page: Page, heartbeat: float, silence_ms: int, answer_ms: int
) -> None:
    first, second = view(1, a=3), view(2, a=4)
    asked, asked_again = asyncio.Event(), asyncio.Event()

    async def falls_silent(peer: Peer) -> None:
        hello = await peer.receive(Hello)
        await peer.send(Welcome(hello.id, "s", None, None, None, heartbeat, 0))
        await peer.send(snapshot(await peer.receive(Subscribe), first))
        ping = await peer.receive(Ping)
        asked.set()
        await peer.send(Pong(ping.id, 0), delta(first, second))
        await peer.receive(Ping)
        asked_again.set()
        await peer.until_gone()

    async def alive(peer: Peer) -> None:
        await start(peer, view(3, a=5))
        await peer.until_gone()

    async with serving(falls_silent, alive) as url:
        await page.clock.install()
        await page.goto(f"{url}/boards/songs")
        await see(page, a="3")
        await pause(page)
        await page.clock.fast_forward(silence_ms)
        await asked.wait()
        await page.clock.resume()
        await see(page, a="4")
        await see_state(page, "live")
        await pause(page)
        await page.clock.fast_forward(silence_ms)
        await asked_again.wait()
        await page.clock.fast_forward(answer_ms)
        await see_state(page, "lost")
        await page.clock.resume()
        await see(page, a="5")
        await see_state(page, "live")
        await page.close()


async def test_a_refusal_is_told_and_not_repeated(page: Page) -> None:
    async def unknown(peer: Peer) -> None:
        await peer.greet()
        ask = await peer.receive(Subscribe)
        await peer.send(Error(ask.id, "unknown_board", "There is no board 'nope'", temporary=False))
        await peer.until_gone()

    async def closed(peer: Peer) -> None:
        await peer.receive(Hello)
        await peer.socket.close(BAD_TOKEN, "bad token")

    async with serving(unknown, closed) as url:
        await page.goto(f"{url}/boards/nope")
        await expect(page.locator("#status")).to_have_text("There is no board 'nope'.")
        await see_state(page, "refused")
        await page.goto(f"{url}/boards/songs")
        await expect(page.locator("#status")).to_have_text("bad token.")
        await page.close()


async def test_it_fits_a_narrow_screen(page: Page) -> None:
    async def script(peer: Peer) -> None:
        await start(peer, view(1, **{"a": 3, "b": 2, "x" * 120: 1}))
        await peer.until_gone()

    async with serving(script) as url:
        await page.set_viewport_size({"width": 320, "height": 600})
        await page.goto(f"{url}/boards/songs")
        await expect(page.locator("#table tbody tr")).to_have_count(3)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await page.close()


async def test_a_board_that_was_rebuilt_is_shown_though_nobody_asked(page: Page) -> None:
    first = view(7, a=3, b=2)
    rebuilt = View.of("e2", 1, 2, list(view(1, b=5, a=3).rows.values()))
    shown = asyncio.Event()

    async def script(peer: Peer) -> None:
        ask = await start(peer, first)
        await shown.wait()
        unasked = snapshot(ask, rebuilt)
        unasked.id = None
        await peer.send(unasked)
        await peer.until_gone()

    async with serving(script) as url:
        await page.goto(f"{url}/boards/songs")
        await see(page, a="3", b="2")
        shown.set()
        await see(page, b="5", a="3")
        await see_state(page, "live")
        await page.close()


async def test_an_answer_that_comes_too_late_is_let_go(page: Page) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        late = await peer.receive(Subscribe)
        ask = await peer.receive(Subscribe)
        assert (late.window, ask.window) == ("all", "day")
        message = snapshot(late, view(9, a=9))
        message.sub = 4
        await peer.send(message, snapshot(ask, view(1, b=2)))
        # Else the server would go on to send what nobody sees.
        assert (await peer.receive(Unsubscribe)).sub == 4
        await peer.until_gone()

    async with serving(script) as url:
        await page.goto(f"{url}/boards/songs")
        await page.get_by_role("tab", name="Today").click()
        await see(page, b="2")
        await see_state(page, "live")
        await page.close()
