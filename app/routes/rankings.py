"""Rankings: parts of a board, one item's standing, what trends."""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import Final, cast

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from app.answers import HttpReply
from app.calls import Answer, Call, Request, answer, encode, header, path_part, read_query, services_of, to_asgi
from app.express import Respond, offer, withhold
from app.movement import PAUSE
from app.pages import Page, Pages, etag, matches
from app.security import tenant_of
from app.services import Services
from app.shapes.boards import DailyQuery, Entry, Ranking, RankingQuery, Standing, StandingQuery, Trending
from channels.errors import PlauditError
from channels.ranking import View
from channels.wire import Label, entry_of
from storage.calendar import moment
from storage.types import AroundView, Board, TopView, Window

_LONGEST_TAG: Final = 200  # of a client whose requests take the short way: it is kept
_ENTRY: Final = {
    "rank": 1,
    "item_id": "suno_123",
    "title": "Glass Rivers",
    "artist": "Vela",
    "score": 12.5,
    "up_votes": 14,
    "down_votes": 1,
    "movement": 2,
}
_STATE: Final = {"board": "songs", "window": "all", "epoch": "b7f3c1", "version": 482, "total": 40}
_RANKING_ANSWERS: Final = {
    200: Answer("The ranking.", Ranking, _STATE | {"entries": [_ENTRY]}, ("ETag",)),
    304: Answer("The ranking that the client has still stands.", headers=("ETag",)),
}


@get(
    "/api/v1/boards/{board:str}",
    call=Call(
        tag="boards",
        summary="The ranking of a board",
        text="The ETag names epoch and version of the board; with `If-None-Match` an unchanged ranking is a 304.",
        tenant=True,
        query=RankingQuery,
        answers=_RANKING_ANSWERS,
        errors=("invalid", "unknown_board"),
    ),
)
async def read_ranking(request: Request) -> ASGIResponse:
    """Part of a ranking."""
    as_of = services_of(request).registry.forgotten
    tenant = await tenant_of(request)
    query = read_query(request, RankingQuery)
    board = await services_of(request).registry.board(tenant, path_part(request, "board"))
    return await _ranking(request, board, query.window, TopView(query.limit, query.offset), as_of)


@get(
    "/api/v1/top/daily",
    call=Call(
        tag="boards",
        summary="The day's ranking of songs or of tools",
        text="The same as the board `songs` or `tools` in the window `day`.",
        tenant=True,
        query=DailyQuery,
        answers=_RANKING_ANSWERS,
        errors=("invalid", "unknown_board"),
    ),
)
async def top_daily(request: Request) -> ASGIResponse:
    """The first of the day."""
    as_of = services_of(request).registry.forgotten
    tenant = await tenant_of(request)
    query = read_query(request, DailyQuery)
    board = await services_of(request).registry.board(tenant, f"{query.item_type}s")
    return await _ranking(request, board, "day", TopView(query.limit), as_of)


@get(
    "/api/v1/boards/{board:str}/items/{item_id:str}",
    call=Call(
        tag="boards",
        summary="One item's standing and its neighbours",
        text="Up to `around` neighbours on either side, the item among them.",
        tenant=True,
        query=StandingQuery,
        answers={200: Answer("The standing.", Standing, _STATE | {"item": _ENTRY, "neighbours": [_ENTRY]})},
        errors=("invalid", "unknown_board", "unknown_item"),
    ),
)
async def read_standing(request: Request) -> ASGIResponse:
    """One item among its neighbours."""
    services, tenant = services_of(request), await tenant_of(request)
    query = read_query(request, StandingQuery)
    board = await services.registry.board(tenant, path_part(request, "board"))
    item = path_part(request, "item_id")
    view = await services.standings.view(board, query.window, AroundView(item, query.around))
    entries = await _entries(services, board, view)
    own = next((entry for entry in entries if entry.item_id == item), None)
    if own is None:
        raise PlauditError("unknown_item")
    return answer(Standing(board.slug, query.window, view.epoch, view.version, view.total, own, entries))


@get(
    "/api/v1/trending",
    call=Call(
        tag="boards",
        summary="What trends",
        text="The first ten of the boards `songs` and `tools` in the window `trending`.",
        tenant=True,
        answers={
            200: Answer(
                "Ten songs and ten tools.",
                Trending,
                {"songs": [_ENTRY], "tools": [_ENTRY], "updated_at": "2026-05-16T19:00:00Z"},
            )
        },
        errors=("unknown_board",),
    ),
)
async def trending(request: Request) -> ASGIResponse:
    """The first ten of either kind."""
    services, tenant = services_of(request), await tenant_of(request)
    songs, tools = await asyncio.gather(
        *[_trending(services, await services.registry.board(tenant, slug)) for slug in ("songs", "tools")]
    )
    return answer(Trending(songs, tools, moment(services.now())))


async def _ranking(request: Request, board: Board, window: Window, top: TopView, as_of: int) -> ASGIResponse:
    """Part of a ranking, encoded once for each state of its board."""
    services, pages = services_of(request), cast("Pages", request.app.state.pages)
    has = header(request, b"if-none-match")
    reply = _kept(services, pages, board, window, top, has)
    if reply is None:
        reply = _shown(await _page(services, pages, board, window, top), has)
    if services.registry.doubts_boards(board.tenant):
        withhold(request)
    if has is None or len(has) <= _LONGEST_TAG:
        offer(request, partial(_read_at_once, services, pages, board, window, top, has), as_of)
    return to_asgi(reply)


async def _page(services: Services, pages: Pages, board: Board, window: Window, top: TopView) -> Page:
    """A page as of now."""
    view = await services.standings.view(board, window, top)
    key, state = (board.number, window, top), (view.epoch, view.version)
    page = pages.get(key, state)  # by now: others may have asked for the same view
    if page is None:
        entries = await _entries(services, board, view)
        body = encode(Ranking(board.slug, window, view.epoch, view.version, view.total, entries))
        page = Page(state, body, pages.clock() + PAUSE if view.incomplete else inf)
        pages.put(key, page)
    return page


def _kept(
    services: Services, pages: Pages, board: Board, window: Window, top: TopView, has: str | None
) -> HttpReply | None:
    """The page, if it was made in the state that the board is known to be in."""
    page = pages.get((board.number, window, top), services.standings.state(board))
    return None if page is None else _shown(page, has)


def _read_at_once(  # what a request means, and then the request
    services: Services,
    pages: Pages,
    board: Board,
    window: Window,
    top: TopView,
    has: str | None,
    body: bytes,
    respond: Respond,
) -> bool:
    """The same where the page is there."""
    del body
    reply = _kept(services, pages, board, window, top, has)
    if reply is None:
        return False
    respond(reply)
    return True


def _shown(page: Page, has: str | None) -> HttpReply:
    # The same URL shows another tenant's board to another tenant's key.
    stands = matches(has, page.state)
    tag = etag(page.state) if stands else page.tag
    headers = {"etag": tag, "cache-control": "no-cache", "vary": "Authorization"}
    return HttpReply(304, headers, b"") if stands else HttpReply(200, headers, page.body)


async def _trending(services: Services, board: Board) -> list[Entry]:
    return await _entries(services, board, await services.standings.view(board, "trending", TopView(10)))


async def _entries(services: Services, board: Board, view: View) -> list[Entry]:
    labels = await services.standings.labels(board, view.rows)
    return [_entry(view, item, labels.get(item)) for item in view.rows]


def _entry(view: View, item: str, label: Label | None) -> Entry:
    # The websocket's entry says the same under the names of its messages.
    known = entry_of(view.rows[item], label)
    return Entry(
        known.rank,
        known.item,
        item if known.title is UNSET else known.title,
        known.score,
        known.up_votes,
        known.down_votes,
        known.movement,
        known.artist,
    )


ROUTES: Final = (read_ranking, top_daily, read_standing, trending)
