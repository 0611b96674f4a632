"""The HTTP door for votes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from litestar import delete, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Raw

from app.answers import HttpReply
from app.calls import (
    NOT_STORED,
    Answer,
    Call,
    Request,
    answer,
    check_batch,
    encode,
    read_body,
    read_query,
    said,
    services_of,
    to_asgi,
)
from app.express import Respond, offer
from app.problems import as_plaudit_error, problem
from app.security import Caller, agent_of
from app.services import Services
from app.shapes.votes import NewVote, NewVotes, RawVotes, VoteError, VoteQuery, VoteResult, VoteResults
from app.voting import DONE
from channels.codec import MALFORMED
from channels.errors import ErrorCode, PlauditError
from channels.ranking import score_of
from storage.batches import Reply
from storage.calendar import until_tomorrow
from storage.errors import ArchiveUnavailable
from storage.types import Agent, Board, Outcome, Status

_DAY_SECONDS: Final = 86_400

_decode_vote = msgspec.json.Decoder(NewVote).decode
_decode_votes = msgspec.json.Decoder(RawVotes).decode

_ERRORS: Final[tuple[ErrorCode, ...]] = (
    *("invalid", "forbidden", "voting_closed", "unknown_board", "unknown_item"),
    *("already_voted", "too_large", "quota_exceeded"),
)
_RATE_HEADERS: Final = ("RateLimit", "RateLimit-Policy")
_RESULT: Final = {
    "status": "applied",
    "board": "songs",
    "item_id": "suno_123",
    "seq": 90210,
    "score": 13,
    "up_votes": 14,
    "down_votes": 1,
    "rank": 3,
    "quota_remaining": 99,
}
_UNCHANGED: Final = _RESULT | {"status": "unchanged", "seq": None}
_VOTES: Final = {
    "up": {"item_type": "song", "item_id": "suno_123", "vote": "up", "comment": "that bridge"},
    "points": {"board": "esc-2024", "item_id": "ch", "value": 12},
}


@post(
    "/api/v1/vote",
    call=Call(
        tag="votes",
        summary="Casts a vote",
        text="Where ballots are final, the same vote again is `unchanged` and a different one `already_voted`; where "
        "they may change, a different one is `changed`. Only `applied` and `changed` use the day's quota.",
        key="agent",
        body=NewVote,
        examples=_VOTES,
        answers={
            201: Answer("`applied`: a new ballot.", VoteResult, _RESULT, _RATE_HEADERS),
            200: Answer("`changed` or `unchanged`.", VoteResult, _UNCHANGED, _RATE_HEADERS),
        },
        errors=_ERRORS,
    ),
)
async def cast_vote(request: Request) -> ASGIResponse:
    """One vote."""
    started = time.perf_counter()
    services = services_of(request)
    as_of = services.registry.forgotten
    caller = await agent_of(request)
    vote = await read_body(request, _decode_vote)
    board = await _board(services, caller, vote)
    if waiting := services.voting.wait_for_room(board, 0):
        await waiting
    outcome = await _outcome(partial(_cast, services, caller.agent, board, vote))
    services.metrics.acked("http", time.perf_counter() - started)
    offer(request, partial(_cast_at_once, services, caller), as_of)
    return to_asgi(_answered(services, caller.agent, board, vote.item_id, outcome))


def _cast_at_once(services: Services, caller: Caller, body: bytes, respond: Respond) -> bool:
    """The same for a caller who is known: whatever is not plain goes the long way, which knows what to say."""
    started = time.perf_counter()
    agent = caller.agent
    try:
        vote = _decode_vote(body)
        _check_own(caller, vote)
        board = services.registry.known_board(caller.tenant, vote.board_slug)
        if board is None or services.voting.is_crowded(board):
            return False
        _cast(services, agent, board, vote, partial(_respond, services, agent, board, vote.item_id, started, respond))
    except (*MALFORMED, PlauditError):
        return False
    return True


def _respond(
    services: Services, agent: Agent, board: Board, item_id: str, started: float, respond: Respond, outcome: Outcome
) -> None:
    services.metrics.acked("http", time.perf_counter() - started)
    respond(_answered(services, agent, board, item_id, outcome))


@delete(
    "/api/v1/vote",
    status_code=200,
    call=Call(
        tag="votes",
        summary="Retracts a vote",
        text="Any ballot may be taken back while voting is open, a final one too. It gives no quota back.",
        key="agent",
        query=VoteQuery,
        answers={200: Answer("`retracted`.", VoteResult, _RESULT | {"status": "retracted"}, _RATE_HEADERS)},
        errors=("invalid", "forbidden", "voting_closed", "unknown_board", "unknown_item", "no_ballot"),
    ),
)
async def retract_vote(request: Request) -> ASGIResponse:
    """One ballot."""
    services, caller = services_of(request), await agent_of(request)
    query = read_query(request, VoteQuery)
    board = await services.registry.board(caller.tenant, query.board)
    outcome = await _outcome(
        lambda reply: services.voting.retract(caller.agent, board, query.item_id, reply, ranked=True)
    )
    return to_asgi(_answered(services, caller.agent, board, query.item_id, outcome))


@post(
    "/api/v1/votes",
    status_code=200,
    call=Call(
        tag="votes",
        summary="Casts up to 1,000 votes",
        text="Each vote counts or fails by itself, in order.",
        key="agent",
        body=NewVotes,
        examples={"two": {"votes": list(_VOTES.values())}},
        answers={
            200: Answer(
                "A result or an error for each vote.",
                VoteResults,
                {
                    "results": [
                        _RESULT,
                        {
                            "status": "error",
                            "code": "unknown_item",
                            "detail": "There is no such item on this board",
                            "temporary": False,
                        },
                    ]
                },
                _RATE_HEADERS,
            )
        },
        errors=("invalid", "forbidden", "too_large"),
    ),
)
async def cast_votes(request: Request) -> ASGIResponse:
    """Many votes, put on their way together so that they share a batch."""
    started = time.perf_counter()
    services, caller = services_of(request), await agent_of(request)
    raws = (await read_body(request, _decode_votes)).votes
    check_batch(raws)
    boards: dict[str, Board | PlauditError] = {}
    batch = _Batch(services, caller.agent, [await _understood(services, caller, raw, boards) for raw in raws])
    results = await batch.cast()
    services.metrics.acked("http", time.perf_counter() - started)
    return answer(VoteResults(results), 200, NOT_STORED | _rate_limit(services, caller.agent, batch.quota))


class _Batch:
    """Votes of one request: those that are understood are cast, the others are errors already."""

    def __init__(self, services: Services, agent: Agent, votes: Sequence[tuple[Board, NewVote] | PlauditError]) -> None:
        self.quota: int | None = None
        self._services = services
        self._agent = agent
        self._votes = votes
        self._results: list[VoteResult | VoteError | None] = [None] * len(votes)
        self._missing = len(votes)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def cast(self) -> list[VoteResult | VoteError | None]:
        """A result per vote, in order."""
        for place, vote in enumerate(self._votes):
            if isinstance(vote, PlauditError):
                self._put(place, _failed(vote))
                continue
            try:
                _cast(self._services, self._agent, *vote, partial(self._settle, place, *vote))
                more = place + 1 < len(self._votes)
                if more and (waiting := self._services.voting.wait_for_room(vote[0], place + 1)):
                    await waiting
            except PlauditError as error:
                self._put(place, _failed(error))
        if self._missing:
            await self._done
        return self._results

    def _settle(self, place: int, board: Board, vote: NewVote, outcome: Outcome) -> None:
        refusal = self._services.voting.refusal(outcome)
        if outcome.quota is not None and outcome.status is not Status.OVERLOADED:
            self.quota = outcome.quota if self.quota is None else min(self.quota, outcome.quota)
        self._put(place, _result(board, vote.item_id, outcome) if refusal is None else _failed(refusal))

    def _put(self, place: int, result: VoteResult | VoteError) -> None:
        self._results[place] = result
        self._missing -= 1
        # A request whose client has gone is cancelled, and nobody waits any more.
        if not self._missing and not self._done.done():
            self._done.set_result(None)


async def _understood(
    services: Services, caller: Caller, raw: Raw, boards: dict[str, Board | PlauditError]
) -> tuple[Board, NewVote] | PlauditError:
    """One vote of many; `boards` holds what is known of those that the others are for.

    Raises PlauditError `invalid` for bytes that are no text: then all of the body is no JSON.
    """
    try:
        vote = _read_vote(raw)
    except msgspec.ValidationError as error:
        return PlauditError("invalid", said(error))
    except MALFORMED as error:
        raise PlauditError("invalid", said(error)) from error
    try:
        _check_own(caller, vote)
    except PlauditError as error:
        return error
    board = boards.get(vote.board_slug)
    if board is None:
        try:
            board = await _board(services, caller, vote)
        except (PlauditError, ArchiveUnavailable) as error:
            board = as_plaudit_error(error)
        boards[vote.board_slug] = board
    return board if isinstance(board, PlauditError) else (board, vote)


def _read_vote(raw: Raw) -> NewVote:
    try:
        return _decode_vote(raw)
    except msgspec.ValidationError:
        # The first error ended the decoding: whether what follows is text is not known yet.
        str(raw, "utf-8")
        raise


async def _board(services: Services, caller: Caller, vote: NewVote) -> Board:
    """The board that a vote is for. Raises PlauditError `forbidden` or `unknown_board`, and ArchiveUnavailable."""
    _check_own(caller, vote)
    slug = vote.board_slug
    known = services.registry.known_board(caller.tenant, slug)
    return known or await services.registry.board(caller.tenant, slug)


def _check_own(caller: Caller, vote: NewVote) -> None:
    """Raises PlauditError `forbidden` for a vote in another agent's name."""
    if vote.agent_id is not None and vote.agent_id != caller.agent.agent_id:
        raise PlauditError("forbidden", "An agent votes for itself: `agent_id` is not the key's own agent")


def _cast(services: Services, agent: Agent, board: Board, vote: NewVote, reply: Reply) -> None:
    services.voting.cast(
        agent,
        board,
        vote.item_id,
        reply,
        choice=vote.vote,
        value=vote.value,
        comment=vote.comment,
        ranked=True,
    )


async def _outcome(put: Callable[[Reply], None]) -> Outcome:
    """The outcome, refusals too, of a vote that `put` puts on its way: what is left of the quota is told with both."""
    waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    put(lambda outcome: None if waiting.done() else waiting.set_result(outcome))
    return await waiting


def _answered(services: Services, agent: Agent, board: Board, item_id: str, outcome: Outcome) -> HttpReply:
    left = None if outcome.status is Status.OVERLOADED else outcome.quota
    headers = _rate_limit(services, agent, left)
    refusal = services.voting.refusal(outcome)
    if refusal is not None:
        return problem(refusal, headers)
    status = 201 if outcome.status is Status.APPLIED else 200
    return HttpReply(status, NOT_STORED | headers, encode(_result(board, item_id, outcome)))


def _result(board: Board, item_id: str, outcome: Outcome) -> VoteResult:
    return VoteResult(
        DONE[outcome.status],
        board.slug,
        item_id,
        outcome.seq,
        score_of(outcome.points),
        outcome.up,
        outcome.down,
        outcome.rank,
        outcome.quota,
    )


def _failed(error: PlauditError) -> VoteError:
    wait = error.retry_after_ms
    return VoteError(error.code, error.message, error.temporary, UNSET if wait is None else wait)


def _rate_limit(services: Services, agent: Agent, left: int | None) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers, for a tier that has a limit."""
    limit = services.voting.quota_of(agent)
    if limit is None:
        return {}
    fields = {"ratelimit-policy": f'"daily";q={limit};w={_DAY_SECONDS}'}
    if left is not None:
        seconds = -(-until_tomorrow(services.now()) // 1000)
        fields["ratelimit"] = f'"daily";r={left};t={seconds}'
    return fields


ROUTES: Final = (cast_vote, retract_vote, cast_votes)
