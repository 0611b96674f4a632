"""A batch of votes, as `lua/apply.lua` takes it, and its answer as outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from storage import scripts
from storage.calendar import periods_at
from storage.types import Known, Outcome, Status, Vote

log = structlog.get_logger(__name__)

Reply = Callable[[Outcome], None]

_STATUSES: Final = tuple(Status)
_WIDTH: Final = 7


class Batch:
    """Votes that are applied together; `oldest` is when the first of them came, `sent` when they first went out.

    Its number makes it harmless to send it twice, however late the first copy arrives. One that nobody waits for
    any more is void: sent again without its votes, so that no copy can be applied later. `doubtful`: it was
    sent, and its answer did not come.
    """

    __slots__ = ("doubtful", "number", "oldest", "replies", "sent", "votes")

    def __init__(self, number: int, votes: list[Vote], replies: list[Reply], oldest: float) -> None:
        self.number = number
        self.votes = votes
        self.replies = replies
        self.oldest = oldest
        self.sent = time.monotonic()
        self.doubtful = False

    def void(self) -> None:
        """Answers that nobody knows, and forgets the votes."""
        replies, self.replies, self.votes = self.replies, [], []
        answer_all(replies, Status.UNKNOWN)


def pack_batch(
    sender: str,
    number: int,
    known: Known,
    backlog_limit: int,
    now: int,
    votes: Sequence[Vote],
    leeway: int = 0,
) -> bytes:
    """One batch: each board, item and agent once, votes as references to them.

    The numbers of a sender's batches rise; the same number again is answered as it was the first time.
    """
    boards: dict[int, int] = {}
    items: dict[tuple[int, str], int] = {}
    agents: dict[int, int] = {}
    flat_boards: list[int] = []
    flat_items: list[int | str] = []
    flat_agents: list[int] = []
    flat: list[int | str | bool] = []
    for vote in votes:
        board = vote.board
        board_index = boards.get(board.number)
        if board_index is None:
            board_index = boards[board.number] = len(boards) + 1
            opens, closes = board.opens_at or 0, board.closes_at or 0
            flat_boards += (board.number, board.ballots_change, opens, closes, scripts.window_bits(board))
        item = board.number, vote.item_id
        item_index = items.get(item)
        if item_index is None:
            item_index = items[item] = len(items) + 1
            flat_items += (board_index, vote.item_id)
        agent_index = agents.get(vote.agent)
        if agent_index is None:
            agent_index = agents[vote.agent] = len(agents) + 1
            flat_agents += (vote.agent, -1 if vote.daily_limit is None else vote.daily_limit)
        value = False if vote.value is None else vote.value
        flat += (agent_index, item_index, value, vote.weight, vote.comment or False, vote.ranked)
    head = (sender, number, known.epoch, known.floor, backlog_limit, now, periods_at(now))
    return scripts.pack((*head, flat_boards, flat_items, flat_agents, flat, leeway))


def outcomes_of(reply: scripts.ApplyReply) -> list[Outcome]:
    """What became of each vote of a batch, in its order."""
    flat = reply.results
    return [
        Outcome(
            _STATUSES[flat[n]],
            flat[n + 1] or None,
            flat[n + 2],
            flat[n + 3],
            flat[n + 4],
            None if flat[n + 5] < 0 else flat[n + 5],
            flat[n + 6] or None,
        )
        for n in range(0, len(flat), _WIDTH)
    ]


def answer_all(replies: Sequence[Reply], status: Status) -> None:
    """Gives everybody the same outcome."""
    for answer in replies:
        try:
            answer(Outcome(status))
        except Exception:
            log.exception("an answer could not be given")
