"""An agent's way to a server: a websocket that may break at any moment, or plain requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.protocol import State

from tests.faults.memory import Attempt, Cast, Memory

ANSWER_WITHIN: Final = 4.0
"""Seconds that a client waits for answers before it takes its connection for dead."""

TEMPORARY: Final = frozenset({"overloaded", "too_fast", "internal"})
_BROKEN: Final = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, httpx.HTTPError)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Line(Protocol):
    """How votes are sent."""

    async def cast(self, casts: Sequence[Cast], memory: Memory) -> None:
        """Sends each cast as one attempt, and returns when all are answered or no answer is to be expected."""
        ...

    async def close(self) -> None: ...


class Websocket:
    """A line over a websocket, made again whenever it is needed. `pick` chooses a server's address."""

    def __init__(self, key: str, pick: Callable[[], str]) -> None:
        self._key = key
        self._pick = pick
        self._socket: ClientConnection | None = None
        self._numbers = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    async def cast(self, casts: Sequence[Cast], memory: Memory) -> None:
        waiting: dict[int, tuple[Cast, Attempt]] = {}
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                socket = self._socket or await self._connect()
                for cast in casts:
                    self._numbers += 1
                    waiting[self._numbers] = cast, memory.attempt(cast)
                await socket.send(_encode([_message(number, cast) for number, (cast, _) in waiting.items()]).decode())
                while waiting:
                    for message in _messages(await socket.recv()):
                        self._heard(message, waiting, memory)
        except _BROKEN:
            await self._hear_the_rest(waiting, memory)
            self.drop()

    async def _hear_the_rest(self, waiting: dict[int, tuple[Cast, Attempt]], memory: Memory) -> None:
        """What came before the connection ended counts."""
        with suppress(*_BROKEN):
            while self._socket is not None and self._socket.state is not State.OPEN:
                for message in _messages(await self._socket.recv()):
                    self._heard(message, waiting, memory)

    async def connect(self) -> None:
        """Makes the connection now, if that is possible."""
        with suppress(*_BROKEN):
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._connect()

    async def _connect(self) -> ClientConnection:
        socket = await connect(f"{self._pick()}/ws".replace("http", "ws", 1), compression=None, ping_interval=None)
        try:
            await socket.send(_encode({"type": "hello", "id": 0, "token": self._key}).decode())
            _check_welcome(_messages(await socket.recv())[0])
        except BaseException:
            socket.transport.abort()
            raise
        self._socket = socket
        return socket

    def _heard(self, message: dict[str, Any], waiting: dict[int, tuple[Cast, Attempt]], memory: Memory) -> None:
        if message["type"] in {"ack", "error"} and message["id"] in waiting:
            _settle(*waiting.pop(message["id"]), message, memory)

    def drop(self) -> None:
        """Breaks the connection off."""
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None

    def forget(self) -> ClientConnection | None:
        """Goes away without a word: the connection stays open, and nobody reads it. Answers it."""
        socket, self._socket = self._socket, None
        return socket

    def stammer(self, casts: Sequence[Cast], memory: Memory) -> None:
        """Sends half of the casts and a torn frame with the others, and breaks off."""
        if self._socket is None or self._socket.state is not State.OPEN:
            return
        half = len(casts) // 2
        whole = _encode([_message(-1 - n, cast) for n, cast in enumerate(casts[:half])])
        torn = _encode([_message(-100 - n, cast) for n, cast in enumerate(casts[half:])])
        for cast in casts:
            memory.attempt(cast)
        transport = self._socket.transport
        transport.write(_frame(whole) + _frame(torn)[:-7])
        transport.close()
        self._socket = None

    async def close(self) -> None:
        if self._socket is not None:
            with suppress(*_BROKEN):
                await self._socket.close()
            self._socket = None


class Requests:
    """A line over HTTP, a request for each burst. Retracting is left to websockets."""

    def __init__(self, key: str, pick: Callable[[], str]) -> None:
        self._client = httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=ANSWER_WITHIN)
        self._pick = pick

    async def cast(self, casts: Sequence[Cast], memory: Memory) -> None:
        sent = [(cast, memory.attempt(cast)) for cast in casts]
        votes = [{"board": cast.key.board, "item_id": cast.key.item, "value": cast.value} for cast in casts]
        try:
            answer = await self._client.post(f"{self._pick()}/api/v1/votes", content=_encode({"votes": votes}))
        except httpx.ConnectError:
            # Nothing was sent.
            for _, attempt in sent:
                attempt.code = "overloaded"
            return
        except _BROKEN:
            return
        if answer.status_code == httpx.codes.OK:
            for (cast, attempt), result in zip(sent, answer.json()["results"], strict=True):
                _settle(cast, attempt, result, memory)
        else:
            for cast, attempt in sent:
                _settle(cast, attempt, answer.json(), memory)

    async def close(self) -> None:
        await self._client.aclose()


def _check_welcome(message: dict[str, Any]) -> None:
    if message["type"] != "welcome":
        raise ConnectionRefusedError(str(message))


def _settle(cast: Cast, attempt: Attempt, answer: dict[str, Any], memory: Memory) -> None:
    if "code" in answer:
        attempt.code = answer["code"]
        cast.settled = cast.settled or attempt.code not in TEMPORARY
    else:
        attempt.status, attempt.seq = answer["status"], answer["seq"]
        memory.acks += 1
        cast.settled = True
        if (answer["quota_remaining"] or 0) < 0:
            memory.negative_quotas += 1


def _message(number: int, cast: Cast) -> dict[str, Any]:
    message = {"id": number, "board": cast.key.board, "item": cast.key.item}
    return message | ({"type": "retract"} if cast.value is None else {"type": "vote", "value": cast.value})


def _messages(frame: str | bytes) -> list[dict[str, Any]]:
    found = _decode(frame)
    return found if isinstance(found, list) else [found]


def _frame(payload: bytes) -> bytes:
    """A text frame masked with zeros."""
    assert 125 < len(payload) < 65536
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload
