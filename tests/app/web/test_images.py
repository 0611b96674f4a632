"""A board's badge and its code, as pictures that others show."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest
import segno

from app.web.images import ADDRESS, TRIED, draw_badge, draw_code
from tests.app.conftest import House, song
from tests.app.contract import refusal

SVG = "{http://www.w3.org/2000/svg}"


async def picture(house: House, path: str) -> ET.Element:
    response = await house.door._client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == "image/svg+xml"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    return ET.fromstring(response.content)  # noqa: S314  # our own


async def test_a_badge_names_the_leader_or_an_item(house: House) -> None:
    empty = await picture(house, "/boards/tools/badge.svg")
    assert empty.get("aria-label") == "Tools: #1 Tool t1 · 0"
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s2", "vote": "up"})
    assert (await picture(house, "/boards/songs/badge.svg")).get("aria-label") == "Songs: #1 Song s2 · 1"
    assert (await picture(house, "/boards/songs/badge.svg?item=s1")).get("aria-label") == "Songs: #2 Song s1 · 0"
    day = await picture(house, "/boards/songs/badge.svg?window=day")
    assert [text.text for text in day.iter(f"{SVG}text")] == ["Songs", "#1 Song s2 · 1"]


async def test_a_badge_holds_any_title(house: House) -> None:
    await house.admin.post("/api/v1/songs", song("s3", title='<script>"&\ufffe' + "x" * 480))
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s3", "vote": "up"})
    badge = await picture(house, "/boards/songs/badge.svg")
    label = badge.get("aria-label") or ""
    assert label.startswith('Songs: #1 <script>"&x')
    assert label.endswith("… · 1")
    assert float(badge.get("width") or 0) < 600


async def test_pictures_that_can_not_be(house: House) -> None:
    get = house.door._client.get
    assert refusal(await get("/boards/none/badge.svg")) == (404, "unknown_board")
    assert refusal(await get("/boards/none/qr.svg")) == (404, "unknown_board")
    assert refusal(await get("/boards/songs/badge.svg?item=none")) == (404, "unknown_item")
    assert refusal(await get("/boards/songs/badge.svg?window=year")) == (400, "invalid")


@pytest.mark.parametrize(("query", "address"), [("", ""), ("?tenant=default", "?tenant=default")])
async def test_the_code_is_of_the_page_s_address(house: House, query: str, address: str) -> None:
    drawn = await picture(house, f"/boards/songs/qr.svg{query}")
    code = segno.make(f"http://plaudit.test/boards/songs{address}", error="m", micro=False)
    # One unit a module, and three on each side that are quiet.
    assert drawn.get("width") == str(code.symbol_size(border=3)[0])
    other = segno.make("http://plaudit.test/boards/tools", error="m", micro=False)
    lines = [path.get("d") for path in drawn.iter(f"{SVG}path")]
    assert code.svg_inline(border=3, light="white").count("<path") == len(lines)
    modules = lines[-1] or "none"
    assert modules in code.svg_inline(border=3, light="white")
    assert modules not in other.svg_inline(border=3, light="white")


@pytest.mark.parametrize("host", ["a:b", "a:99999", "a" * 3000])
async def test_an_address_that_is_none_has_no_code(house: House, host: str) -> None:
    answer = await house.door._client.get("/boards/songs/qr.svg", headers={"host": host})
    assert refusal(answer) == (400, "invalid")


async def test_an_address_may_be_too_long_for_a_code(house: House) -> None:
    # With a key the tenant is the key's, whatever the address says.
    key = {"authorization": f"Bearer {house.free._key}"}
    path = "/boards/songs/qr.svg?tenant="
    longest = "x" * (ADDRESS - len("http://plaudit.test/boards/songs?tenant="))
    assert (await house.door._client.get(path + longest, headers=key)).status_code == 200
    assert refusal(await house.door._client.get(f"{path}{longest}x", headers=key)) == (400, "invalid")


async def test_a_code_is_drawn_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_code.cache_clear()
    drawn: list[str] = []
    make = segno.make

    def counted(url: str, **how: Any) -> segno.QRCode:
        drawn.append(url)
        return make(url, **how)

    monkeypatch.setattr(segno, "make", counted)
    for host in ("one.test", "two.test", "one.test"):
        await house.door._client.get("/boards/songs/qr.svg", headers={"host": host})
    assert drawn == ["http://one.test/boards/songs", "http://two.test/boards/songs"]


@pytest.mark.parametrize(("length", "tried"), [(TRIED, True), (TRIED + 1, False), (ADDRESS, False)])
def test_the_code_of_a_long_address_takes_little_time(
    monkeypatch: pytest.MonkeyPatch, length: int, tried: bool
) -> None:
    # A pattern that is tried is judged by a score; a given one by none.
    judged: list[int] = []
    judge: Any = segno.encoder.evaluate_mask

    def judging(*shape: Any) -> Any:
        judged.append(1)
        return judge(*shape)

    monkeypatch.setattr(segno.encoder, "evaluate_mask", judging)
    draw_code.__wrapped__("http://plaudit.test/".ljust(length, "x"))
    assert bool(judged) is tried


def test_wide_letters_get_more_room() -> None:
    narrow, wide = ET.fromstring(draw_badge("a", "abcdef")), ET.fromstring(draw_badge("a", "漢字漢字漢字"))  # noqa: S314  # ours
    assert int(wide.get("width") or 0) > int(narrow.get("width") or 0) + 30
