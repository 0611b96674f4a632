"""What goes with a live ranking: its past, what is said about its items, how lively it is, and its events."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from app.calls import Answer, Call, Request, answer, header, path_part, read_query, services_of, time_given
from app.security import tenant_of
from app.shapes.live import (
    Activity,
    Comment,
    Comments,
    CommentsQuery,
    EventsQuery,
    History,
    HistoryQuery,
    Line,
)
from app.standings import check_window
from channels.errors import PlauditError
from channels.ranking import score_of
from storage import history
from storage.calendar import moment
from storage.comments import CommentMade
from storage.types import Board, Query, TopView

_SPAN_MS: Final = 3_600_000
_SHARED: Final = {"cache-control": "max-age=15", "vary": "Authorization"}
_ASK_MS: Final = 2000
_ASK_MS_PER_VIEWER: Final = 4

_LINE: Final = {"item_id": "suno_123", "title": "Glass Rivers", "artist": "Vela", "ranks": [3, 1], "scores": [9, 12.5]}
_HISTORY: Final = {
    "board": "songs",
    "window": "all",
    "since": "2026-05-16T18:00:00Z",
    "until": "2026-05-16T19:00:00Z",
    "times": ["2026-05-16T18:00:00Z", "2026-05-16T18:31:00Z"],
    "items": [_LINE],
}
_COMMENT: Final = {
    "agent_id": "critic-7",
    "vote": "up",
    "value": 1,
    "comment": "that bridge",
    "voted_at": "2026-05-16T19:00:00Z",
    "seq": 90210,
}
_EVENT: Final = 'event: delta\nid: b7f3c1-482\ndata: {"type":"delta","sub":1,"prev":481,"version":482}\n\n'


@get(
    "/api/v1/boards/{board:str}/history",
    call=Call(
        tag="boards",
        summary="How a ranking stood over time",
        text="Those that are first at the end, `item` besides; at most `samples` moments after the one at the start.",
        tenant=True,
        query=HistoryQuery,
        answers={200: Answer("The past of the ranking.", History, _HISTORY)},
        errors=("invalid", "unknown_board", "unknown_item"),
    ),
)
async def read_history(request: Request) -> ASGIResponse:
    """The past of a ranking."""
    services, tenant = services_of(request), await tenant_of(request)
    query = read_query(request, HistoryQuery)
    board = await services.registry.board(tenant, path_part(request, "board"))
    check_window(board, query.window)
    until = services.now() if query.until is None else time_given(query.until)
    since = until - _SPAN_MS if query.since is None else time_given(query.since)
    if since >= until:
        raise PlauditError("invalid", "`since` is not before `until`")
    if until - since > history.HOURS_KEPT or since <= 0:
        raise PlauditError("invalid", f"At most {timedelta(milliseconds=history.HOURS_KEPT).days} days are kept")
    async with services.looking_back.turn():
        lines = await services.history.lines(
            board.number, query.window, since, until, top=query.top, item_id=query.item, samples=query.samples
        )
        items = await asyncio.to_thread(lambda: [_line(line) for line in lines.items])
    times = [moment(at) for at in lines.times]
    told = History(board.slug, query.window, moment(since), moment(until), times, items)
    return answer(told, headers=_SHARED)


@get(
    "/api/v1/boards/{board:str}/items/{item_id:str}/comments",
    call=Call(
        tag="boards",
        summary="What agents say with their ballots on an item, newest first",
        text="Ballots that were changed or retracted since are not in it. It is behind the votes by up to a second.",
        tenant=True,
        query=CommentsQuery,
        answers={
            200: Answer(
                "A page of comments.",
                Comments,
                {"board": "songs", "item_id": "suno_123", "comments": [_COMMENT], "next": 90210},
            )
        },
        errors=("invalid", "unknown_board", "unknown_item"),
    ),
)
async def read_comments(request: Request) -> ASGIResponse:
    """Comments on an item."""
    services, tenant = services_of(request), await tenant_of(request)
    query = read_query(request, CommentsQuery)
    board = await services.registry.board(tenant, path_part(request, "board"))
    item = path_part(request, "item_id")
    # One more than wanted tells whether there is a page after this one.
    found = await services.comments.newest(board.number, item, query.before, query.limit + 1)
    page = found[: query.limit]
    rest = page[-1].seq if len(found) > query.limit else None
    return answer(Comments(board.slug, item, [_comment(board, made) for made in page], rest))


@get(
    "/api/v1/boards/{board:str}/activity",
    call=Call(
        tag="boards",
        summary="How lively a board is",
        text="Votes that changed something, and connections that watch, both over all servers.",
        tenant=True,
        answers={
            200: Answer(
                "Votes a second and viewers.",
                Activity,
                {"board": "songs", "votes_per_second": 12.4, "viewers": 310, "ask_after_ms": 3240},
            )
        },
        errors=("unknown_board",),
    ),
)
async def read_activity(request: Request) -> ASGIResponse:
    """Votes a second and viewers, from memory. A crowd is asked to ask less often."""
    services, tenant = services_of(request), await tenant_of(request)
    board = await services.registry.board(tenant, path_part(request, "board"))
    known = services.activity
    viewers = known.viewers(board.number)
    wait = _ASK_MS + _ASK_MS_PER_VIEWER * viewers
    return answer(Activity(board.slug, known.votes_per_second(board.number), viewers, wait))


@get(
    "/api/v1/boards/{board:str}/events",
    call=Call(
        tag="boards",
        summary="A live view of a board as server-sent events",
        text="For those who can't hold a websocket. The events `snapshot`, `resumed` and `delta` carry the websocket's "
        "messages of these names, and the state that they lead to as their id. Who comes back with it in "
        "`Last-Event-ID`, as browsers do, gets what it missed.",
        tenant=True,
        query=EventsQuery,
        answers={200: Answer("Events without end.", str, _EVENT, media_type="text/event-stream")},
        errors=("invalid", "unknown_board"),
    ),
)
async def read_events(request: Request) -> ASGIResponse:
    """A stream of a board's states."""
    services, tenant = services_of(request), await tenant_of(request)
    query = read_query(request, EventsQuery)
    board = await services.registry.board(tenant, path_part(request, "board"))
    check_window(board, query.window)
    epoch, version = _state(header(request, b"last-event-id"))
    wanted = Query(board.number, query.window, TopView(query.top))
    return await services.streams.open(board, wanted, epoch, version)


def _state(last_event_id: str | None) -> tuple[str | None, int | None]:
    """The state that a reader holds. One that can't be read is none: it then gets a snapshot."""
    epoch, _, version = (last_event_id or "").rpartition("-")
    known = epoch and version.isascii() and version.isdigit() and len(version) < 20
    return (epoch, int(version)) if known else (None, None)


def _line(line: history.Line) -> Line:
    scores = [None if points is None else score_of(points) for points in line.points]
    return Line(line.item_id, line.title, line.ranks, scores, UNSET if line.artist is None else line.artist)


def _comment(board: Board, made: CommentMade) -> Comment:
    choice = ("up" if made.value > 0 else "down") if board.ballot in {"updown", "like"} else None
    return Comment(made.agent_id, choice, made.value, made.comment, moment(made.voted_at), made.seq)  # type: ignore[arg-type]  # a choice is one of two words


ROUTES: Final = (read_history, read_comments, read_activity, read_events)
