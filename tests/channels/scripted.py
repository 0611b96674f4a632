"""A scripted server: a test says what it answers, connection by connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from channels.client import PlauditClient
from channels.codec import CODECS, JSON, MSGPACK, Codec
from channels.protocol import (
    Ack,
    ClientMessage,
    Hello,
    ServerMessage,
    Welcome,
)
from channels.ranking import View, rank_rows
from channels.wire import Label
from storage.types import Row

M = TypeVar("M", bound=ClientMessage)


LABELS = {"a": Label("Glass Rivers", "Vela"), "b": Label("Second")}


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.codec = CODECS[socket.subprotocol or ""]
        self._read: list[ClientMessage] = []

    @property
    def unread(self) -> int:
        """How many messages of the last frame were not taken yet."""
        return len(self._read)

    async def receive(self, kind: type[M]) -> M:
        if not self._read:
            for message in self.codec.decode(await self.socket.recv(decode=False)):
                assert isinstance(message, ClientMessage)
                self._read.append(message)
        message = self._read.pop(0)
        assert isinstance(message, kind), message
        return message

    async def send(self, *messages: ServerMessage) -> None:
        payload = self.codec.encode(list(messages) if len(messages) > 1 else messages[0])
        await self.socket.send(payload, text=self.codec is JSON)

    async def greet(self) -> Hello:
        hello = await self.receive(Hello)
        await self.send(Welcome(hello.id, "s", "critic-7", "free", 100, 25, 0))
        return hello

    async def until_gone(self) -> None:
        await self.socket.wait_closed()


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def server(*scripts: Script, port: int = 0) -> AsyncIterator[str]:
    """A server that follows one script per connection, in order; what a script raises fails the test."""
    waiting = list(scripts)
    failures: list[BaseException] = []

    async def answer(socket: ServerConnection) -> None:
        try:
            await waiting.pop(0)(Peer(socket))
        except BaseException as error:
            failures.append(error)
            raise

    async with asyncio.timeout(20):
        async with serve(answer, "127.0.0.1", port, subprotocols=[Subprotocol(name) for name in CODECS]) as running:
            port = next(iter(running.sockets)).getsockname()[1]
            yield f"http://127.0.0.1:{port}"
    if failures:
        raise failures[0]
    assert not waiting, "a connection that the test expected was not made"


def connect(
    url: str, codec: Codec = MSGPACK, *, outbox: int = 1000, resend: bool = True, key: str | None = "key"
) -> PlauditClient:
    return PlauditClient(url, key, codec=codec, outbox=outbox, resend=resend, jitter=lambda: 0.0)


def applied(message_id: str | int, seq: int = 1) -> Ack:
    return Ack(message_id, "applied", seq, 12.5, 13, 1, 99)


def view(version: int, **points: int) -> View:
    rows = rank_rows([Row(item, 0, value * 100, 1, 0, None) for item, value in points.items()])
    return View.of("e", version, len(rows), rows)
