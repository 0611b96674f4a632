"""One agent and one viewer, a connection each: how long a vote takes to the viewer's screen."""

from __future__ import annotations

import asyncio
import random
import time

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from channels.codec import JSON
from channels.protocol import Delta
from loadtests.bench.figures import Latencies
from loadtests.bench.worker import work

_SHOWN_WITHIN = 5.0


class Screen(WSListener):
    """Waits for an item's score to be what a vote made of it."""

    def __init__(self, hello: bytes) -> None:
        self.transport: WSTransport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wanted: int | None = None
        self.shown: asyncio.Future[float] | None = None
        self._hello = hello

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.send(WSMsgType.TEXT, self._hello)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        at = time.monotonic()
        if not self.ready.done():
            self.ready.set_result(None)
        if self.wanted is None:
            return
        for message in JSON.decode_server(frame.get_payload_as_bytes()):
            if isinstance(message, Delta) and any(entry.score == self.wanted for entry in message.entries):
                self.wanted = None
                assert self.shown is not None
                self.shown.set_result(at)


class Probe:
    """Votes with values that nobody else gives, on a board that lets ballots change."""

    def __init__(self, agent: Screen, viewer: Screen, board: str) -> None:
        self._agent = agent
        self._viewer = viewer
        self._board = board.encode()
        self._value = 20_000
        self._random = random.Random(1)

    @classmethod
    async def open(cls, *, port: int, key: str, board: str) -> Probe:
        """Connects both."""
        agent = Screen(b'{"type":"hello","id":0,"token":"%s"}' % key.encode())
        hello, subscribe = b'{"type":"hello","id":0}', b'{"type":"subscribe","id":1,"board":"%s"}' % board.encode()
        viewer = Screen(b"[%s,%s]" % (hello, subscribe))
        for screen in (agent, viewer):
            await ws_connect(lambda screen=screen: screen, f"ws://127.0.0.1:{port}/ws")
            await screen.ready
        return cls(agent, viewer, board)

    async def run(self, *, count: int, least: float, most: float) -> Latencies:
        """Times from a vote to the screen, with that many seconds before each vote: not in step with ticks."""
        return Latencies.of([await self._once(self._random.uniform(least, most)) for _ in range(count)])

    async def _once(self, gap: float) -> float:
        await asyncio.sleep(gap)
        self._value += 1
        self._viewer.wanted = self._value
        self._viewer.shown = asyncio.get_running_loop().create_future()
        assert self._agent.transport is not None
        began = time.monotonic()
        vote = b'{"type":"vote","id":1,"board":"%s","item":"i000000","value":%d}' % (self._board, self._value)
        self._agent.transport.send(WSMsgType.TEXT, vote)
        return await asyncio.wait_for(self._viewer.shown, _SHOWN_WITHIN) - began


if __name__ == "__main__":
    work(Probe.open)
