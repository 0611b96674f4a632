"""One agent who makes boards change at a steady rate, and remembers when each burst of votes went out."""

from __future__ import annotations

import asyncio
import time

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from loadtests.bench.worker import work

_FRAME_VOTES = 400


class Burst(msgspec.Struct, frozen=True):
    """Bursts that went out: when each did, by the value that its votes had; and answers that were no ack."""

    sent: dict[str, float]
    refused: int


class Bursts(WSListener):
    """Votes on the first `width` items of every board, each burst with a higher value than the one before.

    The boards take points and let ballots change; nobody else gives as many points.
    """

    def __init__(self, key: str, boards: list[str], width: int) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._key = key
        self._targets = [(board, n) for board in boards for n in range(width)]
        self._value = 1000
        self._refused = 0
        self._transport: WSTransport | None = None

    @classmethod
    async def open(cls, *, port: int, key: str, boards: list[str], width: int) -> Bursts:
        """Connects."""
        agent = cls(key, boards, width)
        await ws_connect(lambda: agent, f"ws://127.0.0.1:{port}/ws")
        await agent.ready
        return agent

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.send(WSMsgType.TEXT, b'{"type":"hello","id":0,"token":"%s"}' % self._key.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if not self.ready.done():
            self.ready.set_result(None)
        self._refused += payload.count(b'"type":"error"')

    async def run(self, *, seconds: float, rate: float) -> Burst:
        """So many bursts a second."""
        sent: dict[str, float] = {}
        began = time.monotonic()
        for n in range(int(seconds * rate)):
            await asyncio.sleep(began + n / rate - time.monotonic())
            self._value += 1
            sent[f"{self._value:g}"] = time.monotonic()
            self._send()
        # The last one, too, has its time to arrive before anybody counts.
        await asyncio.sleep(began + seconds - time.monotonic())
        return Burst(sent, self._refused)

    def _send(self) -> None:
        assert self._transport is not None
        for start in range(0, len(self._targets), _FRAME_VOTES):
            votes = [
                b'{"type":"vote","id":%d,"board":"%s","item":"i%06d","value":%d}' % (n, board.encode(), n, self._value)
                for board, n in self._targets[start : start + _FRAME_VOTES]
            ]
            self._transport.send(WSMsgType.TEXT, b"[%s]" % b",".join(votes))


if __name__ == "__main__":
    work(Bursts.open)
