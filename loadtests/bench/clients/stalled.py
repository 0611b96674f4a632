"""Viewers who stop reading. Their receive buffers are small, so that the server soon notices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loadtests.bench.clients.sockets import Socket
from loadtests.bench.worker import work

_RECEIVED = 4096
_VIEWS = 60


class Viewer(Socket):
    """Watches a board in some views at a time, and reads no further than to the first of them."""

    def __init__(self, board: str) -> None:
        super().__init__()
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._board = board.encode()

    def opened(self) -> None:
        # Each view is another room, so each is a delta of its own.
        views = [
            b'{"type":"subscribe","id":%d,"board":"%s","top":%d}' % (n, self._board, 50 + n)
            for n in range(1, _VIEWS + 1)
        ]
        self.send([b'[{"type":"hello","id":0},%s]' % b",".join(views)])

    def received(self, payloads: list[bytes]) -> None:
        if not self.stopped.done() and any(b'"snapshot"' in payload for payload in payloads):
            self.stop()
            self.stopped.set_result(None)


class Stalled:
    """Connections that nobody reads from."""

    def __init__(self, viewers: Sequence[Viewer]) -> None:
        self._viewers = viewers

    @classmethod
    async def open(cls, *, port: int, board: str, count: int) -> Stalled:
        """Connects, one after the other, until all of them watch and read nothing any more."""
        viewers = [Viewer(board) for _ in range(count)]
        for viewer in viewers:
            await viewer.connect(port, _RECEIVED)
            await viewer.stopped
        return cls(viewers)

    async def count(self) -> int:
        """How many there are."""
        return len(self._viewers)


if __name__ == "__main__":
    work(Stalled.open)
