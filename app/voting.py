"""From who says what to a vote on its way: the one path that every vote takes, whatever door it came through."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from app.turns import Turns
from channels.errors import ErrorCode, PlauditError
from channels.protocol import Choice
from channels.protocol import Status as StatusName
from storage.batcher import Batcher
from storage.batches import Reply
from storage.calendar import periods_at, until_tomorrow
from storage.live import LiveStore
from storage.types import Agent, Board, Outcome, Status, Tenant, Tier, Vote

DONE: Final[dict[Status, StatusName]] = {
    Status.APPLIED: "applied",
    Status.CHANGED: "changed",
    Status.UNCHANGED: "unchanged",
    Status.RETRACTED: "retracted",
}
"""What answers call that which a vote did; a vote that became of something else was refused."""

_CHOICES: Final[dict[Choice, int]] = {"up": 1, "down": -1}
_RETRY_OVERLOADED_MS: Final = 1000
_QUOTAS_AT_ONCE: Final = 16
_REFUSALS: Final[dict[Status, ErrorCode]] = {
    Status.UNKNOWN_ITEM: "unknown_item",
    Status.NO_BALLOT: "no_ballot",
    Status.ALREADY_VOTED: "already_voted",
    Status.VOTING_CLOSED: "voting_closed",
    Status.QUOTA_EXCEEDED: "quota_exceeded",
    Status.OVERLOADED: "overloaded",
    Status.UNKNOWN: "internal",
}
_WORDS: Final[dict[ErrorCode, str]] = {
    "already_voted": "You have voted on this already: take that vote back first",
    "overloaded": "The vote could not be taken now; send it again",
    "internal": "Whether the vote was counted is not known yet; send the same vote again",
}


class Voting:
    """Casts and retracts ballots.

    `batchers` are by shard; `quotas` give a tier's votes a day, None where it has no limit; `live` knows what was
    used of them; `now` gives milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        batchers: Mapping[int, Batcher],
        quotas: Mapping[Tier, int | None],
        live: LiveStore,
        now: Callable[[], int],
    ) -> None:
        self._batchers = batchers
        self._quotas = quotas
        self._live = live
        self._now = now
        self._turns = Turns(_QUOTAS_AT_ONCE)

    def quota_of(self, agent: Agent) -> int | None:
        """Votes a day that the agent may use, None where there is no limit."""
        return self._quotas[agent.tier]

    async def quota_remaining(self, tenant: Tenant, agent: Agent) -> int | None:
        """What is left of an agent's votes today; None where there is no limit.

        Raises StoreUnavailable, and PlauditError `overloaded` where too many ask at once.
        """
        limit = self.quota_of(agent)
        if limit is None:
            return None
        async with self._turns.turn():
            used = await self._live.quota_used(tenant.shard, periods_at(self._now())[0], agent.number)
        return max(0, limit - used)

    def wait_for_room(self, board: Board, brought: int) -> Coroutine[Any, Any, None] | None:
        """What somebody who has brought so many votes should wait for before the next; None where there is room."""
        batcher = self._batchers.get(board.shard)
        return batcher.room() if batcher is not None and batcher.is_crowded(brought) else None

    def is_crowded(self, board: Board) -> bool:
        """Whether whoever has a vote for the board should wait before it is cast."""
        batcher = self._batchers.get(board.shard)
        return batcher is not None and batcher.is_crowded(0)

    def cast(
        self,
        agent: Agent,
        board: Board,
        item_id: str,
        reply: Reply,
        *,
        choice: Choice | None = None,
        value: int | None = None,
        comment: str | None = None,
        ranked: bool = False,
    ) -> None:
        """Puts a vote on its way; `reply` is called with its outcome, exactly once.

        Raises PlauditError `invalid`, before anything was sent, where the board takes no such ballot.
        """
        points = ballot_value(board, choice, value)
        limit, weight = self._quotas[agent.tier], board.weight_of(agent.tier)
        self._submit(Vote(board, agent.number, item_id, points, limit, weight, comment, ranked), reply)

    def retract(self, agent: Agent, board: Board, item_id: str, reply: Reply, *, ranked: bool = False) -> None:
        """Takes a ballot back; `reply` is called with the outcome, exactly once."""
        limit = self._quotas[agent.tier]
        self._submit(Vote(board, agent.number, item_id, None, limit, ranked=ranked), reply)

    def refusal(self, outcome: Outcome) -> PlauditError | None:
        """The contract's error for an outcome, None for a vote that was taken."""
        code = _REFUSALS.get(outcome.status)
        if code is None:
            return None
        wait = None
        if code == "quota_exceeded":
            wait = until_tomorrow(self._now())
        elif code in {"overloaded", "internal"}:
            wait = _RETRY_OVERLOADED_MS
        return PlauditError(code, _WORDS.get(code, ""), wait)

    def _submit(self, vote: Vote, reply: Reply) -> None:
        batcher = self._batchers.get(vote.board.shard)
        if batcher is None:
            reply(Outcome(Status.OVERLOADED))
        else:
            batcher.submit(vote, reply)


def ballot_value(board: Board, choice: Choice | None, value: int | None) -> int:
    """The ballot's value, from either form of saying it.

    Raises PlauditError `invalid` for one that the board does not take.
    """
    if choice is not None:
        if board.ballot not in {"updown", "like"}:
            raise PlauditError("invalid", f"This board takes a value from {board.minimum} to {board.maximum}")
        value = _CHOICES[choice]
    if value is None or not board.takes(value):
        raise PlauditError("invalid", f"This board takes {_taken(board)}")
    return value


def _taken(board: Board) -> str:
    match board.ballot:
        case "updown":
            return 'the votes "up" and "down" (the values 1 and -1)'
        case "like":
            return 'the vote "up" (the value 1)'
        case _:
            return f"a value from {board.minimum} to {board.maximum}"
