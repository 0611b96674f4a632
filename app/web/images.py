"""Pictures of a board that are made here: a badge with who leads it, and a code that leads a phone to it."""

from __future__ import annotations

import io
from functools import lru_cache
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

import segno
from litestar import Request, get
from litestar.response.base import ASGIResponse

from app.calls import path_part, read_query, services_of
from app.security import tenant_of
from app.shapes.live import BadgeQuery
from channels.errors import PlauditError
from channels.ranking import View, score_text
from channels.wire import Label
from storage.types import Board, ItemsView, TopView

TITLE: Final = 40
"""Characters of a title that a badge has room for."""

ADDRESS: Final = 300
"""Characters of an address that has a code. The longest take 4 ms to draw, in which nothing else is done."""

TRIED: Final = 120
"""Characters of an address of which all eight patterns are tried for the one that reads best: that takes 6 ms."""

_MASK: Final = 3  # what the standard calls 011: diagonals, unlike anything that text makes
_WIDE: Final = 7.4
_NOT_XML: Final = {0xFFFE: None, 0xFFFF: None}
_FONT: Final = "system-ui, 'DejaVu Sans', Verdana, sans-serif"
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_SVG: Final = "image/svg+xml"


@get("/boards/{board:str}/badge.svg", include_in_schema=False)
async def badge(request: Request[Any, Any, Any]) -> ASGIResponse:
    """Who leads the board, or with `?item=` where that item stands, for pages that show pictures alone."""
    services, tenant = services_of(request), await tenant_of(request)
    query = read_query(request, BadgeQuery)
    board = await services.registry.board(tenant, path_part(request, "board"))
    spec = TopView(1) if query.item is None else ItemsView((query.item,))
    view = await services.standings.view(board, query.window, spec)
    if query.item is not None and query.item not in view.rows:
        raise PlauditError("unknown_item")
    labels = await services.standings.labels(board, view.rows)
    picture = draw_badge(board.title, _standing(view, labels))
    # Others' caches show it to many: half a minute old is young for a picture on a page.
    return _picture(picture, "public, max-age=30")


@get("/boards/{board:str}/qr.svg", include_in_schema=False)
async def code(request: Request[Any, Any, Any]) -> ASGIResponse:
    """The address of the board's page, as the asker knows it, for phones to read."""
    board: Board = await services_of(request).registry.board(await tenant_of(request), path_part(request, "board"))
    given = request.query_params.get("tenant")
    query = f"?{urlencode({'tenant': given})}" if given else ""
    try:
        url = f"{str(request.base_url).rstrip('/')}/boards/{quote(board.slug)}{query}"
    except ValueError as error:  # a host that can't be one
        raise PlauditError("invalid", "The page's address is none") from error
    if len(url) > ADDRESS:
        raise PlauditError("invalid", f"The page's address is too long for a code: over {ADDRESS} characters")
    return _picture(draw_code(url), "no-cache")


@lru_cache(maxsize=256)
def draw_code(url: str) -> bytes:
    """The code of an address, as SVG. Raises ValueError where it is longer than any code can hold."""
    mask = None if len(url) <= TRIED else _MASK
    made = io.BytesIO()
    picture = segno.make(url, error="m", micro=False, mask=mask)
    picture.save(made, kind="svg", border=3, light="white", xmldecl=False)
    return made.getvalue()


def draw_badge(name: str, value: str) -> bytes:
    """A badge of two halves: what it is about, and what is to be said of it."""
    name, value = _cut(name), _cut(value)
    left, right = (round(_width(text) + 20) for text in (name, value))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="24" role="img" '
        f'aria-label="{escape(name)}: {escape(value)}"><title>{escape(name)}: {escape(value)}</title>'
        f'<clipPath id="r"><rect width="{left + right}" height="24" rx="5"/></clipPath><g clip-path="url(#r)">'
        f'<rect width="{left}" height="24" fill="#2b2740"/>'
        f'<rect x="{left}" width="{right}" height="24" fill="#4b3bd1"/>'
        f'</g><g fill="#fff" font-family="{_FONT}" font-size="12" text-anchor="middle">'
        f"{_text(name, left / 2, left - 14)}{_text(value, left + right / 2, right - 14)}</g></svg>"
    ).encode()


def _text(text: str, middle: float, width: float) -> str:
    # The length is given, so that a badge holds its text whatever font there is.
    size = f'textLength="{width:.0f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{middle:.1f}" y="16" {size}>{escape(text)}</text>'


def _width(text: str) -> float:
    return sum(_WIDE if ord(character) < 0x1100 else 2 * _WIDE for character in text)


def _cut(text: str) -> str:
    text = text.translate(_NOT_XML)
    return text if len(text) <= TITLE else f"{text[: TITLE - 1].rstrip()}…"


def _standing(view: View, labels: dict[str, Label]) -> str:
    if not view.rows:
        return "no entries yet"
    item, row = next(iter(view.rows.items()))
    known = labels.get(item)
    title = (known.title if known else None) or item
    return f"#{row.rank} {_cut_title(title)} · {score_text(row.points)}"


def _cut_title(title: str) -> str:
    room = TITLE - 16
    return title if len(title) <= room else f"{title[: room - 1].rstrip()}…"


def _picture(content: bytes, cache_control: str) -> ASGIResponse:
    headers = {"cache-control": cache_control, "vary": "Authorization", "content-security-policy": _POLICY}
    return ASGIResponse(body=content, media_type=_SVG, headers=headers)
