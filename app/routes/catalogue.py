"""Songs and tools: finding them, and adding them to the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from litestar import get, post
from litestar.response.base import ASGIResponse

from app.calls import Answer, Call, Request, answer, check_distinct, path_part, read_objects, read_query, services_of
from app.creation import tell_live
from app.security import admin_of, tenant_of
from app.services import Services
from app.shapes.catalogue import (
    BoardCounts,
    CataloguedSong,
    CataloguedTool,
    NewSong,
    NewTool,
    SearchQuery,
    SongList,
    ToolList,
)
from channels.errors import PlauditError
from channels.ranking import score_of
from storage.catalogue import Kept, Page, Song, Tool
from storage.errors import Exists, StoreUnavailable
from storage.types import Board, ItemsView, ItemType, Row, Tenant

Shown = TypeVar("Shown", CataloguedSong, CataloguedTool)
New = TypeVar("New", NewSong, NewTool)

_SONG: Final = {
    "id": "suno_123",
    "title": "Glass Rivers",
    "artist": "Vela",
    "platform": "suno",
    "platform_url": "https://suno.example/song/123",
    "genre": "ambient",
    "mood": "calm",
    "tempo": 92,
}
_TOOL: Final = {
    "id": "stemwright",
    "name": "Stemwright",
    "website": "https://stemwright.example",
    "affiliate_link": "https://stemwright.example/?via=plaudit",
    "commission_rate": 0.2,
    "category": "stems",
    "features": ["stem separation", "key detection"],
    "pricing": "freemium",
}
_COUNTS: Final = {"up_votes": 14, "down_votes": 1, "score": 13}
_KEPT_SONG: Final = _SONG | {"created_at": "2026-05-16T19:00:00Z"} | _COUNTS | {"boards": {"songs": _COUNTS}}
_KEPT_TOOL: Final = _TOOL | {"created_at": "2026-05-16T19:00:00Z"} | _COUNTS | {"boards": {"tools": _COUNTS}}
_PAGE: Final = {"total": 1, "limit": 50, "offset": 0}


@get(
    "/api/v1/songs",
    call=Call(
        tag="catalogue",
        summary="Lists or searches songs",
        tenant=True,
        query=SearchQuery,
        answers={200: Answer("A page of songs.", SongList, _PAGE | {"songs": [_KEPT_SONG]})},
        errors=("invalid", "unknown_board"),
    ),
)
async def list_songs(request: Request) -> ASGIResponse:
    """Songs of the tenant."""
    query, page, songs = await _search(request, "song", CataloguedSong)
    return answer(SongList(page.total, query.limit, query.offset, songs))


@get(
    "/api/v1/tools",
    call=Call(
        tag="catalogue",
        summary="Lists or searches tools",
        tenant=True,
        query=SearchQuery,
        answers={200: Answer("A page of tools.", ToolList, _PAGE | {"tools": [_KEPT_TOOL]})},
        errors=("invalid", "unknown_board"),
    ),
)
async def list_tools(request: Request) -> ASGIResponse:
    """Tools of the tenant."""
    query, page, tools = await _search(request, "tool", CataloguedTool)
    return answer(ToolList(page.total, query.limit, query.offset, tools))


@get(
    "/api/v1/songs/{id:str}",
    call=Call(
        tag="catalogue",
        summary="One song",
        tenant=True,
        answers={200: Answer("The song.", CataloguedSong, _KEPT_SONG)},
        errors=("invalid", "unknown_board", "unknown_item"),
    ),
)
async def read_song(request: Request) -> ASGIResponse:
    """One song of the tenant."""
    return answer(await _find(request, "song", CataloguedSong))


@get(
    "/api/v1/tools/{id:str}",
    call=Call(
        tag="catalogue",
        summary="One tool",
        tenant=True,
        answers={200: Answer("The tool.", CataloguedTool, _KEPT_TOOL)},
        errors=("invalid", "unknown_board", "unknown_item"),
    ),
)
async def read_tool(request: Request) -> ASGIResponse:
    """One tool of the tenant."""
    return answer(await _find(request, "tool", CataloguedTool))


@post(
    "/api/v1/songs",
    call=Call(
        tag="administration",
        summary="Adds a song, which joins the board `songs`",
        text="One song or an array of up to 1,000, added all or not at all.",
        key="admin",
        body=NewSong | list[NewSong],
        examples={"one": _SONG, "two": [_SONG, _SONG | {"id": "udio_9"}]},
        answers={201: Answer("What was added, in the same order.", Song | list[Song], _SONG)},
        errors=("invalid", "forbidden", "exists", "too_large"),
    ),
)
async def add_songs(request: Request) -> ASGIResponse:
    """New songs."""
    return await _add(request, "song", _decode_songs)


@post(
    "/api/v1/tools",
    call=Call(
        tag="administration",
        summary="Adds a tool, which joins the board `tools`",
        text="One tool or an array of up to 1,000, added all or not at all.",
        key="admin",
        body=NewTool | list[NewTool],
        examples={"one": _TOOL, "two": [_TOOL, _TOOL | {"id": "chordsmith"}]},
        answers={201: Answer("What was added, in the same order.", Tool | list[Tool], _TOOL)},
        errors=("invalid", "forbidden", "exists", "too_large"),
    ),
)
async def add_tools(request: Request) -> ASGIResponse:
    """New tools."""
    return await _add(request, "tool", _decode_tools)


_decode_songs = msgspec.json.Decoder[Any](NewSong | list[NewSong]).decode
_decode_tools = msgspec.json.Decoder[Any](NewTool | list[NewTool]).decode


async def _search(request: Request, kind: ItemType, shape: type[Shown]) -> tuple[SearchQuery, Page, list[Shown]]:
    services, tenant = services_of(request), await tenant_of(request)
    query = read_query(request, SearchQuery)
    text = query.q.strip() or None
    # Nobody who only leafs through waits for those who search.
    turns = services.listings if text is None else services.searches
    async with turns.turn():
        page = await services.catalogue.search(tenant.number, kind, text, query.limit, query.offset)
    board = await services.registry.board(tenant, f"{kind}s")
    return query, page, await _shown(services, board, page.found, shape)


async def _find(request: Request, kind: ItemType, shape: type[Shown]) -> Shown:
    services, tenant = services_of(request), await tenant_of(request)
    found = await services.catalogue.find(tenant.number, kind, path_part(request, "id"))
    if found is None:
        raise PlauditError("unknown_item", f"There is no such {kind}")
    board = await services.registry.board(tenant, f"{kind}s")
    return (await _shown(services, board, [found], shape))[0]


async def _add(request: Request, kind: ItemType, decode: Any) -> ASGIResponse:
    services, tenant = services_of(request), await admin_of(request)
    given, many = await read_objects(request, decode)
    check_distinct([item.id for item in given])
    if given:
        await _put(services, tenant, kind, given)
    return answer(given if many else given[0], 201)


async def _put(services: Services, tenant: Tenant, kind: ItemType, new: list[New]) -> None:
    board = await services.registry.board(tenant, f"{kind}s")
    try:
        items = await services.catalogue.add(tenant, board, new)
    except Exists as error:
        raise PlauditError("exists", f"A {kind} of that id is there already") from error
    await tell_live(services, [board], items)


async def _shown(services: Services, board: Board, found: Sequence[Kept], shape: type[Shown]) -> list[Shown]:
    """Items with their counts on the board of their kind as they are now: the archive comes a moment later."""
    live: dict[str, Row] = {}
    if found:
        try:
            wanted = ItemsView(tuple(kept.item.id for kept in found))
            live = (await services.standings.view(board, "all", wanted)).rows
        except (StoreUnavailable, PlauditError) as error:
            if isinstance(error, PlauditError) and error.code != "overloaded":
                raise
            # A catalogue whose counts are a moment old is better than none.
            live = {}
    return [_catalogued(kept, board.slug, live.get(kept.item.id), shape) for kept in found]


def _catalogued(kept: Kept, own_board: str, row: Row | None, shape: type[Shown]) -> Shown:
    boards = {slug: BoardCounts(up, down, score_of(points)) for slug, (up, down, points) in kept.standings.items()}
    if row is not None:
        boards[own_board] = BoardCounts(row.up, row.down, score_of(row.points))
    own = boards.get(own_board, BoardCounts(0, 0, 0))
    return shape(
        **msgspec.structs.asdict(kept.item),
        created_at=kept.created_at,
        up_votes=own.up_votes,
        down_votes=own.down_votes,
        score=own.score,
        boards=boards,
    )


ROUTES: Final = (list_songs, list_tools, read_song, read_tool, add_songs, add_tools)
