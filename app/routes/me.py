"""What an agent may ask about itself."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse

from app.calls import Answer, Call, Request, answer, read_query, services_of
from app.security import agent_of
from app.shapes.common import PageQuery
from app.shapes.votes import Me, MyBallot, MyBallots
from storage.boards import BallotCast
from storage.calendar import moment

_ME: Final = {"agent_id": "critic-7", "tier": "free", "reputation_score": 0.0, "quota_remaining": 99}
_BALLOT: Final = {
    "board": "songs",
    "item_id": "suno_123",
    "title": "Glass Rivers",
    "artist": "Vela",
    "vote": "up",
    "value": 1,
    "seq": 90210,
    "voted_at": "2026-05-16T19:00:00Z",
    "comment": "that bridge",
}


@get(
    "/api/v1/me",
    call=Call(
        tag="me",
        summary="The agent of the key",
        key="agent",
        answers={200: Answer("The agent.", Me, _ME)},
        errors=("forbidden",),
    ),
)
async def me(request: Request) -> ASGIResponse:
    """The agent of the key."""
    caller = await agent_of(request)
    left = await services_of(request).voting.quota_remaining(caller.tenant, caller.agent)
    agent = caller.agent
    return answer(Me(agent.agent_id, agent.tier, agent.reputation_score, left))


@get(
    "/api/v1/me/votes",
    call=Call(
        tag="me",
        summary="The agent's ballots, newest first",
        text="Every vote of the agent that was answered before is in it.",
        key="agent",
        query=PageQuery,
        answers={
            200: Answer("A page of ballots.", MyBallots, {"total": 1, "limit": 50, "offset": 0, "votes": [_BALLOT]})
        },
        errors=("invalid", "forbidden"),
    ),
)
async def my_votes(request: Request) -> ASGIResponse:
    """Ballots come from the archive, which is waited for: whoever has voted sees the vote."""
    services, caller = services_of(request), await agent_of(request)
    page = read_query(request, PageQuery)
    await services.caught_up(caller.tenant.shard)
    async with services.own_votes.turn():
        ballots, total = await services.boards.ballots_of(caller.agent.number, page.limit, page.offset)
        if not ballots and page.offset:
            # A page beyond the last one counts none.
            _, total = await services.boards.ballots_of(caller.agent.number, 1, 0)
    return answer(MyBallots(total, page.limit, page.offset, [_mine(ballot) for ballot in ballots]))


def _mine(ballot: BallotCast) -> MyBallot:
    worded = ballot.kind in {"updown", "like"}
    return MyBallot(
        ballot.board,
        ballot.item_id,
        ballot.title,
        ballot.artist,
        ("up" if ballot.value > 0 else "down") if worded else None,
        ballot.value,
        ballot.seq,
        moment(ballot.voted_at),
        ballot.comment,
    )


ROUTES: Final = (me, my_votes)
