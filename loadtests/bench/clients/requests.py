"""HTTP/1.1 over kept connections, with as little work for a request as Python allows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast

import msgspec

from loadtests.bench.figures import Latencies
from loadtests.bench.worker import work

Plan = Literal["vote", "batch", "get"]

_BATCH = 100


class RequestRun(msgspec.Struct, frozen=True):
    """Requests answered in a window of time, and what they took. `cpu` is the client's, in cores."""

    answered: int
    seconds: float
    latencies: Latencies
    statuses: dict[str, int]
    size: int
    cpu: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.answered / self.seconds


class Caller(asyncio.Protocol):
    """One connection. `request` gives the k-th request of its life, whole."""

    def __init__(self, request: Callable[[int], bytes]) -> None:
        self.times: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.again = False
        self.sent_at: float | None = None
        self.size = 0
        self._request = request
        self._calls = 0
        self._held = b""
        self._needed = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def call(self) -> None:
        """Sends the next request."""
        assert self._transport is not None
        self.sent_at = time.monotonic()
        self._transport.write(self._request(self._calls))
        self._calls += 1

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        if len(data) < self._needed:
            self._held = data
            return
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._held = data
            return
        needed = end + 4 + _length(data[:end])
        if len(data) < needed:
            self._held, self._needed = data, needed
            return
        self._held, self._needed, self.size = b"", 0, needed
        self.statuses[data[9:12].decode()] += 1
        assert self.sent_at is not None
        self.times.append(time.monotonic() - self.sent_at)
        self.sent_at = None
        if self.again:
            self.call()


def _length(head: bytes) -> int:
    start = head.lower().find(b"content-length:")
    return int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def votes(key: str, board: str, items: int, n: int, batch: int | None) -> Callable[[int], bytes]:
    """One vote a request, or `batch` of them, on each item once."""

    def vote(k: int) -> bytes:
        return b'{"board":"%s","item_id":"i%06d","vote":"up"}' % (name, (k * 7919 + n * 131) % items)

    def request(k: int) -> bytes:
        if batch is None:
            return _post(b"/api/v1/vote", key, vote(k))
        body = b",".join([vote(k * batch + place) for place in range(batch)])
        return _post(b"/api/v1/votes", key, b'{"votes":[%s]}' % body)

    name = board.encode()
    return request


def _post(path: bytes, key: str, body: bytes) -> bytes:
    return (
        b"POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (path, key.encode(), len(body), body)
    )


def get(path: str) -> Callable[[int], bytes]:
    """The same page again and again."""
    request = b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % path.encode()
    return lambda k: request


def _same(caller: Caller) -> Caller:
    return caller


class Callers:
    """Many connections in one process."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        self._callers = callers

    @classmethod
    async def open(
        cls, *, port: int, plan: Plan, connections: int, keys: list[str] | None = None, board: str = "",
        items: int = 0, path: str = "",
    ) -> Callers:  # fmt: skip
        """Connects."""
        if plan == "get":
            callers = [Caller(get(path)) for _ in range(connections)]
        else:
            size = _BATCH if plan == "batch" else None
            callers = [Caller(votes(key, board, items, n, size)) for n, key in enumerate((keys or [])[:connections])]
        loop = asyncio.get_running_loop()
        for caller in callers:
            await loop.create_connection(partial(_same, caller), "127.0.0.1", port)
        return cls(callers)

    async def run(self, *, seconds: float) -> RequestRun:
        """Every connection sends the next request when one is answered."""
        for caller in self._callers:
            caller.times.clear()
            caller.statuses.clear()
            caller.again = True
            caller.call()
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        for caller in self._callers:
            caller.again = False
        took, used = time.monotonic() - began, time.process_time() - cpu
        answered = sum(len(caller.times) for caller in self._callers)
        while any(caller.sent_at is not None for caller in self._callers):
            await asyncio.sleep(0.001)
        times = [one for caller in self._callers for one in caller.times]
        statuses: Counter[str] = sum((caller.statuses for caller in self._callers), Counter())
        return RequestRun(answered, took, Latencies.of(times), dict(statuses), self._callers[0].size, used / took)


if __name__ == "__main__":
    work(Callers.open)
