"""Boards and their rules: listing them, making them, putting items on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from app.calls import Answer, Call, Request, answer, check_distinct, path_part, read_objects, services_of
from app.creation import new_board, tell_live
from app.security import admin_of, tenant_of
from app.shapes.boards import Ballot, BoardDescription, BoardList, BoardRules, Listed, NewEntry
from channels.ranking import score_of
from storage.calendar import moment
from storage.directory import BoardsChanged
from storage.types import Board

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
_decode_boards = msgspec.json.Decoder[Any](BoardRules | list[BoardRules]).decode
_decode_entries = msgspec.json.Decoder[Any](NewEntry | list[NewEntry]).decode


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


ROUTES: Final = (list_boards, add_boards, add_board_items)
