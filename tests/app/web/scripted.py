"""A server that serves the page's files and follows one script per websocket: for what the real one never does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from app.web import _assets
from channels.codec import JSON
from channels.delta import diff
from channels.protocol import Delta, Resumed, Snapshot, Subscribe
from channels.ranking import View, rank_rows
from channels.wire import Label, delta_of, snapshot_of
from storage.types import Row
from tests.channels.scripted import Peer

Script = Callable[[Peer], Awaitable[None]]

LABELS = {"a": Label("Glass Rivers", "Vela"), "b": Label("Second <b>Sight</b>"), "c": Label("Third Rail", "Kiln")}
SUB = 5


@asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[str]:
    """The address of a page whose connections follow the scripts in order; what one raises fails the test."""
    waiting = list(scripts)
    failures: list[BaseException] = []

    async def answer(socket: ServerConnection) -> None:
        try:
            await waiting.pop(0)(Peer(socket))
        except BaseException as error:
            failures.append(error)
            raise

    async with asyncio.timeout(30):
        async with serve(
            answer, "127.0.0.1", 0, subprotocols=[Subprotocol(JSON.subprotocol)], process_request=_file
        ) as running:
            port = next(iter(running.sockets)).getsockname()[1]
            yield f"http://127.0.0.1:{port}"
            # Ended by the server, pages would come back for more.
            running.close(close_connections=False)
    assert failures == []
    assert waiting == [], "a connection that the test expected was not made"


def _file(_socket: ServerConnection, request: Request) -> Response | None:
    path = request.path.partition("?")[0]
    if path == "/ws":
        return None
    name = "board" if path.startswith("/boards/") else path.removeprefix("/").removeprefix("static/")
    asset = _assets().get(name)
    if asset is None:  # a call over HTTP: the page has to do without
        return Response(404, "Not Found", Headers({"content-length": "2", "connection": "close"}), b"{}")
    headers = Headers({**asset.headers, "content-length": str(len(asset.content)), "connection": "close"})
    return Response(200, "OK", headers, asset.content)


def view(version: int, **scores: float) -> View:
    """A board on which nothing but the scores is of interest."""
    rows = rank_rows([Row(item, 0, round(score * 100), 1, 0, None) for item, score in scores.items()])
    return View.of("e1", version, len(rows), rows)


def snapshot(ask: Subscribe, shown: View) -> Snapshot:
    message = snapshot_of(shown, LABELS, ask.board, ask.window)
    message.id, message.sub = ask.id, SUB
    return message


def resumed(ask: Subscribe, shown: View) -> Resumed:
    return Resumed(ask.id, SUB, shown.epoch, shown.version)


def delta(old: View, new: View) -> Delta:
    change = diff(old, new)
    assert change is not None
    message = delta_of(change, LABELS)
    message.sub = SUB
    return message
