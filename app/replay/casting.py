"""Casts ballots over websockets: a connection per agent, all at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from channels.client import LOST, PlauditClient, Vote

_AT_ONCE = 500  # votes of one agent that wait for their acks


class Failure(NamedTuple):
    """A vote that was not counted, and why."""

    agent: str
    vote: Vote
    error: Exception


class Outcome(NamedTuple):
    """What became of all votes; `seconds` from the first one sent to the last one answered."""

    statuses: Counter[str]
    failures: list[Failure]
    seconds: float


class _Pace:
    """Lets a number of votes go in a second, over all agents; None for all that come."""

    def __init__(self, speed: float | None) -> None:
        self._interval = 0.0 if speed is None else 1 / speed
        self._next = 0.0

    async def turn(self) -> None:
        if self._interval:
            now = asyncio.get_running_loop().time()
            due = max(self._next, now)
            self._next = due + self._interval
            await asyncio.sleep(due - now)


class Casting:
    """Votes by agent, cast over `url`; `on_vote` is called whenever one has its outcome."""

    def __init__(self, url: str, speed: float | None, on_vote: Callable[[], object]) -> None:
        self._url = url
        self._pace = _Pace(speed)
        self._on_vote = on_vote
        self._statuses: Counter[str] = Counter()
        self._failures: list[Failure] = []
        self._started = 0.0

    async def run(self, keys: Mapping[str, str], votes: Mapping[str, Sequence[Vote]]) -> Outcome:
        """Casts all votes. Raises one of `LOST` where an agent can't connect."""
        loop = asyncio.get_running_loop()
        connected = asyncio.Barrier(len(votes))
        try:
            async with asyncio.TaskGroup() as group:
                for agent, cast in votes.items():
                    group.create_task(self._agent(agent, keys[agent], cast, connected))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return Outcome(self._statuses, self._failures, loop.time() - self._started)

    async def _agent(self, agent: str, key: str, votes: Sequence[Vote], connected: asyncio.Barrier) -> None:
        async with PlauditClient(self._url, key) as client:
            # Whoever is there first waits, so that the votes of all come at once.
            await connected.wait()
            self._started = self._started or asyncio.get_running_loop().time()
            for start in range(0, len(votes), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for vote in votes[start : start + _AT_ONCE]:
                        await self._pace.turn()
                        group.create_task(self._vote(client, agent, vote))

    async def _vote(self, client: PlauditClient, agent: str, vote: Vote) -> None:
        try:
            self._statuses[(await client.vote(*vote)).status] += 1
        except LOST as error:
            self._failures.append(Failure(agent, vote, error))
        self._on_vote()
