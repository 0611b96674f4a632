"""A server that breaks the contract in a way of its own on each connection: what the load test is there to see."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from channels.codec import JSON
from channels.protocol import ClientMessage, Hello, Ping, Pong, ServerMessage, Subscribe, Welcome
from tests.loadtests.boards import delta, snapshot, view

OLD, NEW = view(7, x=3, y=2), view(9, x=3, y=4)

Say = Callable[[ServerMessage], Awaitable[None]]
Lie = Callable[[ClientMessage, Say], Awaitable[None]]


async def wrong_digest(message: ClientMessage, say: Say) -> None:
    """A delta whose digest is that of another board."""
    if isinstance(message, Subscribe):
        change = delta(OLD, NEW)
        change.digest ^= 1
        await say(change)


async def lost_delta(message: ClientMessage, say: Say) -> None:
    """A delta from a state that was never sent."""
    if isinstance(message, Subscribe):
        await say(delta(NEW, view(10, x=5, y=4)))


async def two_answers(message: ClientMessage, say: Say) -> None:
    """One answer too many."""
    if isinstance(message, Ping):
        await say(Pong(message.id, 0))


async def truth(message: ClientMessage, say: Say) -> None:
    """Nothing wrong."""
    if isinstance(message, Subscribe):
        await say(delta(OLD, NEW))


@asynccontextmanager
async def lying(*lies: Lie) -> AsyncIterator[str]:
    """The address of a server with one board, `songs`; one connection after the other is told the next of the lies."""
    numbers = count()

    async def talk(socket: ServerConnection) -> None:
        lie = lies[next(numbers) % len(lies)]

        async def say(message: ServerMessage) -> None:
            await socket.send(JSON.encode(message), text=True)

        async for payload in socket:
            for message in JSON.decode(payload.encode() if isinstance(payload, str) else payload):
                match message:
                    case Hello():
                        await say(Welcome(message.id, "s", None, None, None, 25, 0))
                    case Subscribe():
                        await say(snapshot(OLD, int(message.id), board="songs"))
                    case Ping():
                        await say(Pong(message.id, 0))
                await lie(message, say)  # type: ignore[arg-type]  # Locust's users send nothing that is Invalid

    async with (
        asyncio.timeout(60),
        serve(talk, "127.0.0.1", 0, subprotocols=[Subprotocol(JSON.subprotocol)], process_request=_read) as server,
    ):
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def _read(_socket: ServerConnection, request: Request) -> Response | None:
    """The two things that a load test reads over HTTP before it begins."""
    path = request.path.partition("?")[0]
    if path == "/ws":
        return None
    ballot = {"kind": "updown", "min": -1, "max": 1}
    board = {"slug": "songs", "ballot": ballot, "ballots_change": False, "windows": ["all"]}
    bodies: dict[str, Any] = {
        "/api/v1/boards": {"boards": [board]},
        "/api/v1/boards/songs": {"entries": [{"item_id": item} for item in OLD.rows]},
    }
    content = json.dumps(bodies[path]).encode()
    headers = Headers({"content-type": "application/json", "content-length": str(len(content)), "connection": "close"})
    return Response(200, "OK", headers, content)
