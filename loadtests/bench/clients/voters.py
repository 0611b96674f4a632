"""Agents on websockets, one vote a frame: how many are acknowledged, and how soon."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from loadtests.bench.clients.sockets import Socket
from loadtests.bench.figures import Latencies
from loadtests.bench.worker import work

Plan = Literal["unique", "uniform", "zipf"]

_SETTLES_WITHIN = 10.0
_PACE = 0.005
_AT_ONCE = 20


class VoteRun(msgspec.Struct, frozen=True):
    """Votes acknowledged in a window of time, and what they took. `cpu` is the client's, in cores."""

    acked: int
    seconds: float
    latencies: Latencies
    errors: dict[str, int]
    lost: int
    cpu: float

    @property
    def rate(self) -> float:
        """Votes a second."""
        return self.acked / self.seconds


class _Answer(msgspec.Struct, gc=False):
    type: str
    id: int | None = None
    code: str | int = ""


_decode = msgspec.json.Decoder(_Answer | list[_Answer]).decode
_encode = msgspec.json.Encoder().encode


class Voter(Socket):
    """One agent. `message` gives the k-th vote of its life, None where it has no more."""

    def __init__(self, key: str | None, message: Callable[[int], bytes | None]) -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self.errors: Counter[str] = Counter()
        self.again = False
        self.sent: dict[int, float] = {}
        self._key = key
        self._message = message
        self._cast = 0

    def opened(self) -> None:
        if self._key is None:
            self.ready.set_result(None)
        else:
            self.send([_encode({"type": "hello", "id": 0, "token": self._key})])

    def received(self, payloads: list[bytes]) -> None:
        now, voted = time.monotonic(), 0
        for payload in payloads:
            answers = _decode(payload)
            for answer in answers if isinstance(answers, list) else (answers,):
                voted += self._answered(answer, now)
        if self.again and voted:
            self.vote(voted)

    def _answered(self, answer: _Answer, now: float) -> bool:
        if answer.type == "welcome":
            self.ready.set_result(None)
            return False
        began = self.sent.pop(answer.id or 0, None)
        # An echo server answers a vote with itself.
        if began is None or answer.type not in {"ack", "vote"}:
            self.errors[str(answer.code or answer.type)] += 1
        else:
            self.times.append(now - began)
        return True

    def vote(self, count: int = 1) -> None:
        """Sends the next votes, each in a frame of its own."""
        now, messages = time.monotonic(), []
        for _ in range(count):
            message = self._message(self._cast)
            if message is None:
                break
            self._cast += 1
            self.sent[self._cast] = now
            messages.append(message)
        if messages:
            self.send(messages)


def unique(board: str, items: int, n: int) -> Callable[[int], bytes | None]:
    """Each item once, connections starting at different places and in an order that spreads over the board."""

    def message(k: int) -> bytes | None:
        if k >= items:
            return None
        return b'{"type":"vote","id":%d,"board":"%s","item":"i%06d","vote":"up"}' % (
            k + 1,
            name,
            (k * 7919 + n * 131) % items,
        )

    name = board.encode()
    return message


def repeated(board: str, choose: Callable[[], int]) -> Callable[[int], bytes | None]:
    """Any item any number of times, each time with another value: for a board whose ballots may change."""

    def message(k: int) -> bytes | None:
        return b'{"type":"vote","id":%d,"board":"%s","item":"i%06d","value":%d}' % (k + 1, name, choose(), k % 1000 + 1)

    name = board.encode()
    return message


def zipf(items: int, seed: int) -> Callable[[], int]:
    """Item n with a chance in proportion to 1 / (n + 1)."""
    weights = list(itertools.accumulate(1 / (n + 1) for n in range(items)))
    source = random.Random(seed)
    return lambda: bisect.bisect(weights, source.random() * weights[-1])


def uniform(items: int, seed: int) -> Callable[[], int]:
    """Every item but the first, which is left to others, with the same chance."""
    source = random.Random(seed)
    return lambda: 1 + int(source.random() * (items - 1))


class Voters:
    """Many agents in one process."""

    def __init__(self, voters: Sequence[Voter]) -> None:
        self._voters = voters

    @classmethod
    async def open(
        cls, *, port: int, keys: list[str | None], board: str, items: int, plan: Plan = "unique", first: int = 0
    ) -> Voters:
        """Connects an agent for each key; a floor takes those without one."""
        plans: dict[Plan, Callable[[int], Callable[[int], bytes | None]]] = {
            "unique": lambda n: unique(board, items, n),
            "uniform": lambda n: repeated(board, uniform(items, n)),
            "zipf": lambda n: repeated(board, zipf(items, n)),
        }
        voters = [Voter(key, plans[plan](first + n)) for n, key in enumerate(keys)]
        for start in range(0, len(voters), _AT_ONCE):
            await asyncio.gather(*(_connect(port, voter) for voter in voters[start : start + _AT_ONCE]))
        return cls(voters)

    async def run(self, *, seconds: float, in_flight: int) -> VoteRun:
        """Every agent sends the next vote when one is answered."""
        return await self._measured(seconds, self._fill(in_flight))

    async def paced(self, *, seconds: float, rate: float, at_once: int = 1) -> VoteRun:
        """So many votes a second, whatever becomes of them; an agent whose turn it is sends up to `at_once`."""
        return await self._measured(seconds, self._pace(rate, at_once))

    async def _fill(self, in_flight: int) -> None:
        for voter in self._voters:
            voter.again = True
            voter.vote(in_flight)

    async def _pace(self, rate: float, at_once: int) -> None:
        turn = itertools.cycle(self._voters)
        began, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate)
            while sent < due:
                count = min(at_once, due - sent)
                next(turn).vote(count)
                sent += count
            await asyncio.sleep(_PACE)

    async def _measured(self, seconds: float, load: object) -> VoteRun:
        for voter in self._voters:
            voter.times.clear()
            voter.errors.clear()
        began, cpu = time.monotonic(), time.process_time()
        loading = asyncio.ensure_future(load)  # type: ignore[call-overload]  # a coroutine
        await asyncio.sleep(seconds)
        loading.cancel()
        for voter in self._voters:
            voter.again = False
        acked = sum(len(voter.times) for voter in self._voters)
        took, used = time.monotonic() - began, time.process_time() - cpu
        await self._settled()
        errors: Counter[str] = sum((voter.errors for voter in self._voters), Counter())
        times = [one for voter in self._voters for one in voter.times]
        lost = sum(len(voter.sent) for voter in self._voters)
        return VoteRun(acked, took, Latencies.of(times), dict(errors), lost, used / took)

    async def _settled(self) -> None:
        deadline = time.monotonic() + _SETTLES_WITHIN
        while any(voter.sent for voter in self._voters) and time.monotonic() < deadline:
            await asyncio.sleep(0.001)


async def _connect(port: int, voter: Voter) -> None:
    await voter.connect(port)
    await voter.ready


if __name__ == "__main__":
    work(Voters.open)
