"""Boards and their rankings, and making them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

import msgspec
from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from app.calls import (
    Answer,
    Call,
    Request,
    answer,
    check_distinct,
    encode,
    header,
    path_part,
    raw_answer,
    read_objects,
    read_query,
    services_of,
)
from app.creation import new_board, tell_live
from app.pages import Page, Pages, State, etag, matches
from app.security import admin_of, tenant_of
from app.services import Services
from app.shapes import (
    Ballot,
    BoardList,
    BoardDescription,
    DailyQuery,
    Entry,
    Listed,
    BoardRules,
    NewEntry,
    Ranking,
    RankingQuery,
    Standing,
    StandingQuery,
    Trending,
)
from channels.errors import PlauditError
from channels.ranking import View, score_of
from channels.wire import Label, entry_of
from storage.calendar import moment
from storage.directory import BoardsChanged
from storage.types import AroundView, Board, TopView, Window

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
_BOARD: Final = {
    "slug": "esc-2024",
    "title": "The contest of 2024",
    "kind": "contest",
    "item_type": "song",
    "ballot": {"kind": "points", "min": 1, "max": 12},
    "ballots_change": True,
    "windows": ["all", "trending"],
    "opens_at": "2024-05-11T19:00:00Z",
    "closes_at": "2024-05-11T22:30:00Z",
    "state": "closed",
}
_RULES: Final = {key: value for key, value in _BOARD.items() if key not in {"kind", "state"}}
_RANKING_ANSWERS: Final = {
    200: Answer("The ranking.", Ranking, _STATE | {"entries": [_ENTRY]}, ("ETag",)),
    304: Answer("The ranking that the client has still stands.", headers=("ETag",)),
}


@get(
    "/api/v1/boards",
    call=Call(
        tag="boards",
        summary="The boards of the tenant",
        tenant=True,
        answers={200: Answer("All boards, oldest first.", BoardList, {"boards": [_BOARD]})},
        errors=("unknown_board",),
    ),
)
async def list_boards(request: Request) -> ASGIResponse:
    """Every board of the tenant."""
    services = services_of(request)
    boards = await services.registry.boards(await tenant_of(request))
    now = services.now()
    return answer(BoardList([_described(board, now) for board in boards.values()]))


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
    tenant = await tenant_of(request)
    query = read_query(request, RankingQuery)
    board = await services_of(request).registry.board(tenant, path_part(request, "board"))
    return await _ranking(request, board, query.window, TopView(query.limit, query.offset))


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
    tenant = await tenant_of(request)
    query = read_query(request, DailyQuery)
    board = await services_of(request).registry.board(tenant, f"{query.item_type}s")
    return await _ranking(request, board, "day", TopView(query.limit))


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


@post(
    "/api/v1/boards",
    call=Call(
        tag="administration",
        summary="Makes a board",
        text="One board or an array of up to 1,000, made all or not at all. "
        "`ballots_change` is false and `windows` are all five unless said otherwise.",
        key="admin",
        body=BoardRules | list[BoardRules],
        examples={"contest": _RULES, "two": [_RULES, _RULES | {"slug": "esc-2025"}]},
        answers={201: Answer("What was made, in the same order.", BoardDescription | list[BoardDescription], _BOARD)},
        errors=("invalid", "forbidden", "exists", "too_large"),
    ),
)
async def add_boards(request: Request) -> ASGIResponse:
    """New boards."""
    services, tenant = services_of(request), await admin_of(request)
    given, many = await read_objects(request, _decode_boards)
    check_distinct([rules.slug for rules in given])
    boards = await services.boards.add(tenant, [new_board(rules) for rules in given])
    services.registry.forget_boards(tenant.number)
    await tell_live(services, boards)
    await services.directory.notify(BoardsChanged(tenant.number, tenant.shard))
    made = [_described(board, services.now()) for board in boards]
    return answer(made if many else made[0], 201)


@post(
    "/api/v1/boards/{board:str}/items",
    call=Call(
        tag="administration",
        summary="Puts an item on a board",
        text="One item or an array of up to 1,000, all or none, with score 0. Items are of the board's type.",
        key="admin",
        body=NewEntry | list[NewEntry],
        examples={"one": {"item_id": "suno_123"}, "two": [{"item_id": "suno_123"}, {"item_id": "udio_9"}]},
        answers={
            201: Answer(
                "What is on the board now, in the same order.",
                Listed | list[Listed],
                {"board": "esc-2024", "item_id": "suno_123"},
            )
        },
        errors=("invalid", "forbidden", "unknown_board", "unknown_item", "exists", "too_large"),
    ),
)
async def add_board_items(request: Request) -> ASGIResponse:
    """Items onto a board."""
    services, tenant = services_of(request), await admin_of(request)
    board = await services.registry.board(tenant, path_part(request, "board"))
    given, many = await read_objects(request, _decode_entries)
    check_distinct([entry.item_id for entry in given])
    items = await services.boards.add_items(board, [entry.item_id for entry in given])
    await tell_live(services, [board], items)
    listed = [Listed(board.slug, entry.item_id) for entry in given]
    return answer(listed if many else listed[0], 201)


_decode_boards = msgspec.json.Decoder[Any](BoardRules | list[BoardRules]).decode
_decode_entries = msgspec.json.Decoder[Any](NewEntry | list[NewEntry]).decode


async def _ranking(request: Request, board: Board, window: Window, top: TopView) -> ASGIResponse:
    """Part of a ranking, encoded once for each state of its board."""
    services, pages = services_of(request), cast("Pages", request.app.state.pages)
    key, state = (board.number, window, top), services.standings.state(board)
    body = pages.get(key, state)
    if body is None or state is None:
        view = await services.standings.view(board, window, top)
        entries = await _entries(services, board, view)
        body = encode(Ranking(board.slug, window, view.epoch, view.version, view.total, entries))
        state = view.epoch, view.version
        pages.put(key, Page(state, body))
    if matches(header(request, b"if-none-match"), state):
        return raw_answer(b"", 304, _ranking_headers(state))
    return raw_answer(body, 200, _ranking_headers(state))


def _ranking_headers(state: State) -> Mapping[str, str]:
    # The same URL shows another tenant's board to another tenant's key.
    return {"etag": etag(state), "cache-control": "no-cache", "vary": "Authorization"}


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


def _described(board: Board, now: int) -> BoardDescription:
    weights = board.weights
    return BoardDescription(
        slug=board.slug,
        title=board.title,
        kind="perpetual" if board.opens_at is None and board.closes_at is None else "contest",
        item_type=board.item_type,
        ballot=Ballot(board.ballot, board.minimum, board.maximum),
        ballots_change=board.ballots_change,
        windows=list(board.windows),
        opens_at=_moment(board.opens_at),
        closes_at=_moment(board.closes_at),
        state=board.state(now),
        weights=UNSET if weights is None else {tier: score_of(weight) for tier, weight in weights.items()},
    )


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)


ROUTES: Final = (
    list_boards,
    read_ranking,
    top_daily,
    read_standing,
    trending,
    add_boards,
    add_board_items,
)
