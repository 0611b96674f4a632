"""Votes that wait to become a batch, and whoever waits outside until there is room for more of them. No I/O."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from storage.batches import Batch, Reply, answer_all
from storage.types import Status, Vote

BATCH_LIMIT: Final = 1000
"""Votes in one batch at most: a script should not hold the store for longer than some milliseconds."""

CROWDED: Final = BATCH_LIMIT
"""Waiting votes above which whoever can wait should: the next batch is full."""

TURN: Final = 16
"""Votes that somebody may bring at a time while others wait for room."""


class WaitingVotes:
    """The votes of one shard that are in no batch yet, in the order in which they came."""

    def __init__(self) -> None:
        self._votes: list[Vote] = []
        self._replies: list[Reply] = []
        # When the first vote of each batch to come arrived: only full batches leave others behind.
        self._arrivals: deque[float] = deque()
        self._outside: deque[asyncio.Future[None]] = deque()
        self._coming = 0  # of those, let in and not here yet

    def __len__(self) -> int:
        return len(self._votes)

    def put(self, vote: Vote, reply: Reply) -> None:
        """Takes a vote, and who is to hear of its outcome."""
        if len(self._votes) % BATCH_LIMIT == 0:
            self._arrivals.append(time.monotonic())
        self._votes.append(vote)
        self._replies.append(reply)

    def take(self, number: int) -> Batch:
        """The oldest votes as a batch of this number; one without votes where none waits."""
        oldest = self._arrivals.popleft() if self._votes else time.monotonic()
        batch = Batch(number, self._votes[:BATCH_LIMIT], self._replies[:BATCH_LIMIT], oldest)
        del self._votes[:BATCH_LIMIT]
        del self._replies[:BATCH_LIMIT]
        self._let_in()
        return batch

    def refuse(self) -> None:
        """Answers every vote that it cannot be taken now."""
        replies, self._replies, self._votes = self._replies, [], []
        self._arrivals.clear()
        answer_all(replies, Status.OVERLOADED)
        self._let_in()

    def is_crowded(self, brought: int) -> bool:
        """Whether somebody who has brought so many votes, and can wait, should wait for `room` for the next one."""
        return len(self._votes) >= CROWDED or (brought % TURN == 0 and bool(self._outside))

    async def room(self) -> None:
        """Returns when there is room for some votes, first come, first served; or when votes are being refused."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._outside.append(turn)
        # The crowd may be gone since it was looked at, and nothing would tell.
        self._let_in()
        try:
            await turn
        finally:
            # Once it is seen what was brought: maybe nothing, and then others may come in.
            loop.call_soon(self._let_in if turn.cancelled() else self._came)

    def _came(self) -> None:
        self._coming -= 1
        self._let_in()

    def _let_in(self) -> None:
        """Lets in as many of those who wait outside as there is room for what they may bring."""
        room = (CROWDED - len(self._votes)) // TURN - self._coming
        while self._outside and room > 0:
            turn = self._outside.popleft()
            if not turn.done():
                turn.set_result(None)
                self._coming += 1
                room -= 1
