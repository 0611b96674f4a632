"""Agents that vote without pause, and do not rest before every vote of theirs has an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from websockets.asyncio.client import ClientConnection

from storage.tasks import end
from tests.faults.line import Line, Requests, Websocket
from tests.faults.memory import Cast, Key, Memory

BURST: Final = 4
COPIES: Final = 5
_AGAIN_AFTER: Final = 0.1
_RETRACTED: Final = 0.08
_CONTRARY: Final = 0.1


class Ballots(NamedTuple):
    """Boards of a round, by how their ballots behave, and what stands on them."""

    final: str
    free: str
    items: Sequence[str]


class Voter:
    """One agent. It has several connections and uses one of them, or all at once while `insistent`."""

    def __init__(self, name: str, lines: Sequence[Line], random: Random) -> None:
        self.name = name
        self.lines = lines
        self.insistent = False
        self._random = random
        self._line = 0

    async def vote(self, ballots: Ballots, memory: Memory, *, retracts: bool) -> None:
        """Casts a burst of votes, each again and again until it is answered."""
        casts = list(self._choose(ballots, retracts=retracts).values())
        while unsettled := [cast for cast in casts if not cast.settled]:
            if self.insistent:
                await asyncio.gather(*(line.cast(unsettled, memory) for line in self.lines))
            else:
                await self.lines[self._line].cast(unsettled, memory)
            if any(not cast.settled for cast in unsettled):
                self._line = self._random.randrange(len(self.lines))
                await asyncio.sleep(_AGAIN_AFTER)

    def _choose(self, ballots: Ballots, *, retracts: bool) -> dict[Key, Cast]:
        chosen: dict[Key, Cast] = {}
        while len(chosen) < BURST:
            item = self._random.choice(ballots.items)
            if self._random.random() < 0.5:
                # Mostly what this agent has voted before, were it asked again.
                choice = 1 if Random(f"{self.name} {item}").random() < 0.7 else -1
                value: int | None = -choice if self._random.random() < _CONTRARY else choice
                key = Key(self.name, ballots.final, item)
            else:
                value = None if retracts and self._random.random() < _RETRACTED else self._random.randint(1, 10)
                key = Key(self.name, ballots.free, item)
            chosen.setdefault(key, Cast(key, value))
        return chosen


class Load:
    """All voters, together at `rate` votes a second while a round is on."""

    def __init__(self, voters: Sequence[Voter], rate: float, random: Random) -> None:
        self.voters = voters
        self.zombies: list[ClientConnection] = []
        self._rate = rate
        self._random = random
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self.memory = Memory()
        self.ballots: Ballots | None = None

    def begin(self, ballots: Ballots) -> Memory:
        """Lets everybody vote on the boards of a round."""
        self.ballots, self.memory = ballots, Memory()
        self._ended.clear()
        self._tasks = [asyncio.create_task(self._keep_voting(voter, ballots, self.memory)) for voter in self.voters]
        return self.memory

    async def finish(self, within: float) -> int:
        """Returns when every vote is answered; answers how many agents have one that is not."""
        self._ended.set()
        _, stuck = await asyncio.wait(self._tasks, timeout=within)
        for task in stuck:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        for socket in self.zombies:
            socket.transport.abort()
        self.zombies.clear()
        for voter in self.voters:
            voter.insistent = False
        return len(stuck)

    async def close(self) -> None:
        """Ends everything and closes every connection."""
        await end(*self._tasks)
        await asyncio.gather(*(line.close() for voter in self.voters for line in voter.lines))

    @property
    def websockets(self) -> list[tuple[Voter, Websocket]]:
        """Every line that is a websocket and in use."""
        lines = [(voter, line) for voter in self.voters for line in voter.lines]
        return [(voter, line) for voter, line in lines if isinstance(line, Websocket) and line.connected]

    async def _keep_voting(self, voter: Voter, ballots: Ballots, memory: Memory) -> None:
        period = BURST * len(self.voters) / self._rate
        retracts = isinstance(voter.lines[0], Websocket)
        loop = asyncio.get_running_loop()
        due = loop.time() + period * self._random.random()
        while not self._ended.is_set():
            await self._until(due)
            await voter.vote(ballots, memory, retracts=retracts)
            # Who was held up does not make up for it: that would be a second fault.
            due = max(due + period, loop.time())

    async def _until(self, due: float) -> None:
        try:
            async with asyncio.timeout_at(due):
                await self._ended.wait()
        except TimeoutError:
            return


def make_load(keys: dict[str, str], pick: Callable[[], str], rate: float, random: Random) -> Load:
    """A load of one voter for each agent's key, one in ten of them over HTTP."""
    voters = []
    for number, (name, key) in enumerate(keys.items()):
        lines: Sequence[Line]
        if number % 10 == 9:
            lines = [Requests(key, pick) for _ in range(COPIES)]
        else:
            lines = [Websocket(key, pick) for _ in range(COPIES)]
        voters.append(Voter(name, lines, Random(random.random())))
    return Load(voters, rate, random)
