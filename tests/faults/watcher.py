"""A subscriber that trusts nobody: it applies what it is sent in plain Python, and notes every broken promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from zlib import crc32

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

_BROKEN: Final = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError)
_AGAIN_AFTER: Final = 0.1
_PROBE_AFTER: Final = 1.0
_ANSWER_WITHIN: Final = 4.0
_decode = msgspec.json.Decoder().decode


class Watcher:
    """Watches a window of a board from any server, resuming where it was after every loss of its connection."""

    def __init__(self, board: str, window: str, pick: Callable[[], str]) -> None:
        self.board = board
        self.window = window
        self.broken: list[str] = []
        self.snapshots = 0
        self.deltas = 0
        self.epoch: str | None = None
        self._pick = pick
        self._entries: dict[str, dict[str, Any]] = {}
        self._version: int | None = None
        self._latest = 0
        self._sub: int | None = None
        self._changed = asyncio.Event()

    @property
    def digest(self) -> int:
        """Of what is shown now, as the contract defines it."""
        return digest({item: entry["score"] for item, entry in self._entries.items()})

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            with suppress(*_BROKEN):
                async with connect(
                    f"{self._pick()}/ws".replace("http", "ws", 1), compression=None, ping_interval=None,
                    open_timeout=_ANSWER_WITHIN, close_timeout=0.1, max_size=None,
                ) as socket:  # fmt: skip
                    await self._watch(socket)
            await asyncio.sleep(_AGAIN_AFTER)

    async def shows(self, epoch: str, wanted: int, within: float) -> None:
        """Returns when the digest is `wanted`, in this live state, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while (self.epoch, self.digest) != (epoch, wanted):
                    self._changed.clear()
                    await self._changed.wait()

    async def _watch(self, socket: ClientConnection) -> None:
        await _send(socket, {"type": "hello", "id": 0})
        await self._subscribe(socket)
        silent = False
        while True:
            try:
                frame = await asyncio.wait_for(socket.recv(), _ANSWER_WITHIN if silent else _PROBE_AFTER)
            except TimeoutError:
                if silent:
                    raise
                await _send(socket, {"type": "ping", "id": 2})
                silent = True
                continue
            silent = False
            found = _decode(frame)
            for message in found if isinstance(found, list) else [found]:
                if not self._heard(message):
                    return

    async def _subscribe(self, socket: ClientConnection) -> None:
        ask = {"type": "subscribe", "id": 1, "board": self.board, "window": self.window, "top": 1000}
        if self._version is not None:
            ask |= {"epoch": self.epoch, "version": self._version}
        await _send(socket, ask)

    def _heard(self, message: dict[str, Any]) -> bool:
        """Takes a message; false where the connection is of no more use."""
        match message["type"]:
            case "snapshot":
                self.snapshots += 1
                self._sub = message["sub"]
                if message["epoch"] == self.epoch and message["version"] < self._latest:
                    self.broken.append(f"a snapshot of {message['version']} to one who has seen {self._latest}")
                self._entries.clear()
                return self._advance(message)
            case "resumed":
                self._sub = message["sub"]
                if (message["epoch"], message["version"]) != (self.epoch, self._version):
                    self.broken.append(f"resumed at another state than was asked for: {message}")
            case "delta":
                self.deltas += 1
                if message["sub"] != self._sub:
                    self.broken.append(f"a delta of subscription {message['sub']}, which does not exist")
                elif message["prev"] != self._version:
                    self.broken.append(f"a delta from {message['prev']} to one who holds {self._version}")
                else:
                    if message["version"] <= message["prev"]:
                        self.broken.append(f"a delta from {message['prev']} back to {message['version']}")
                    return self._advance(message)
            case "error" | "bye":
                return False
        return True

    def _advance(self, message: dict[str, Any]) -> bool:
        for item in message.get("left", ()):
            self._entries.pop(item, None)
        for entry in message["entries"]:
            self._entries[entry["item"]] = entry
        if "epoch" in message:
            self.epoch = message["epoch"]
        self._version = self._latest = message["version"]
        self._changed.set()
        if self.digest == message["digest"]:
            return True
        self.broken.append(f"digest {self.digest} is not the server's {message['digest']} at {self._version}")
        self._version = None
        return False


def digest(scores: dict[str, float]) -> int:
    """The contract's checksum of a whole ranking, written down from the contract alone."""
    ordered = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    return crc32("\n".join(f"{item}:{_shortest(score)}" for item, score in ordered).encode())


def _shortest(score: float) -> str:
    return str(int(score)) if score == int(score) else repr(score)


async def _send(socket: ClientConnection, message: dict[str, Any]) -> None:
    await socket.send(msgspec.json.encode(message).decode())
