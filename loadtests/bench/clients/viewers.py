"""Viewers on websockets, who note when each delta reached them."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Iterator, Sequence

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from channels.codec import JSON
from channels.protocol import Delta
from loadtests.bench.figures import Latencies
from loadtests.bench.worker import work

_AT_ONCE = 50
_STAMP = 96


class Ages(msgspec.Struct, frozen=True):
    """How old deltas were when they arrived, counted from the vote; and how many bytes a delta had."""

    deliveries: int
    deltas: int
    size: float
    latencies: Latencies


class Seen:
    """What arrived of one board: by the first bytes of a frame, in which its version stands, when it did.

    Deltas are the same bytes for everyone, so each is looked into once.
    """

    def __init__(self, board: str) -> None:
        self.board = board
        self.samples: dict[bytes, bytes] = {}
        self.times: dict[bytes, array[float]] = {}

    def note(self, frame: WSFrame) -> None:
        """One more arrival."""
        stamp = bytes(frame.get_payload_as_memoryview()[:_STAMP])
        times = self.times.get(stamp)
        if times is None:
            self.samples[stamp] = frame.get_payload_as_bytes()
            times = self.times[stamp] = array("d")
        times.append(time.monotonic())

    def ages(self, sent: dict[str, float]) -> tuple[list[float], int, int]:
        """Ages of what arrived, the number of deltas among it, and their bytes. `sent` is by the burst's value.

        A delta is as old as the oldest burst that was not shown before it. Viewers of several processes may be shown
        bursts together in several ways: what a viewer had been shown follows from the version that its delta starts at.
        """
        found = [(_value(message), message, stamp) for stamp, message in self._deltas()]
        places = {value: place for place, value in enumerate(sent)}
        shown = {message.version: places[value] for value, message, _ in found if value in places}
        began = list(sent.values())
        ages: list[float] = []
        deltas = size = 0
        for value, message, stamp in found:
            if value in places:
                place = places[value]
                oldest = min(shown.get(message.prev, place - 1) + 1, place)
                deltas += 1
                size += len(self.samples[stamp])
                ages += [at - began[oldest] for at in self.times[stamp]]
        return ages, deltas, size

    def _deltas(self) -> Iterator[tuple[bytes, Delta]]:
        for stamp, payload in self.samples.items():
            (message, *_) = JSON.decode_server(payload)
            if isinstance(message, Delta) and message.entries:
                yield stamp, message


def _value(message: Delta) -> str:
    """The value of the newest burst in it: every burst gives its items a higher score than any before it."""
    return f"{max(entry.score for entry in message.entries):g}"


class Viewer(WSListener):
    """One viewer of one board. `greet` False is for floors, which know no messages."""

    def __init__(self, seen: Seen, watch: Watch, *, greet: bool) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: WSTransport | None = None
        self._seen = seen
        self._watch = watch
        self._greet = greet

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if not self._greet:
            self.ready.set_result(None)
            return
        hello = b'{"type":"hello","id":1}'
        subscribe = b'{"type":"subscribe","id":2,"board":"%s"}' % self._seen.board.encode()
        transport.send(WSMsgType.TEXT, b"[%s,%s]" % (hello, subscribe))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._watch.on:
            self._seen.note(frame)
        elif not self.ready.done() and b'"snapshot"' in frame.get_payload_as_bytes():
            self.ready.set_result(None)


class Watch:
    """Whether arrivals are noted."""

    on = False


class Viewers:
    """Many viewers in one process: so many of each board."""

    def __init__(self, viewers: Sequence[Viewer], seen: Sequence[Seen], watch: Watch) -> None:
        self._viewers = viewers
        self._seen = seen
        self._watch = watch
        self._cpu = 0.0

    @classmethod
    async def open(cls, *, port: int, boards: list[str], each: int, greet: bool = True) -> Viewers:
        """Connects `each` viewers to each board, some at a time."""
        watch = Watch()
        seen = [Seen(board) for board in boards]
        viewers = [Viewer(one, watch, greet=greet) for one in seen for _ in range(each)]
        for start in range(0, len(viewers), _AT_ONCE):
            await asyncio.gather(*(_connect(port, viewer) for viewer in viewers[start : start + _AT_ONCE]))
        return cls(viewers, seen, watch)

    async def start(self) -> None:
        """Begins to note."""
        for seen in self._seen:
            seen.samples.clear()
            seen.times.clear()
        self._watch.on = True
        self._cpu = time.process_time()

    async def stop(self) -> float:
        """Notes no more; answers the CPU seconds that the noting took."""
        self._watch.on = False
        return time.process_time() - self._cpu

    async def ages(self, *, sent: dict[str, float]) -> Ages:
        """What was noted."""
        ages: list[float] = []
        deltas = size = 0
        for seen in self._seen:
            some, count, total = seen.ages(sent)
            ages += some
            deltas += count
            size += total
        return Ages(len(ages), deltas, size / deltas if deltas else 0.0, Latencies.of(ages))

    async def stall(self, *, count: int) -> None:
        """The first `count` viewers stop reading."""
        for viewer in self._viewers[:count]:
            assert viewer.transport is not None
            viewer.transport.underlying_transport.pause_reading()


async def _connect(port: int, viewer: Viewer) -> None:
    await ws_connect(lambda: viewer, f"ws://127.0.0.1:{port}/ws")
    await viewer.ready


if __name__ == "__main__":
    work(Viewers.open)
