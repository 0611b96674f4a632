"""The server class that Plaudit uses, with a connection that sends every message back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, cast

import uvicorn

from app.gateway import Gateway
from app.handshake import protocol_class
from app.proxies import Proxies
from channels import frames
from channels.codec import Codec
from loadtests.bench.worker import work


class Echo(asyncio.Protocol):
    """Reads frames as Plaudit does, and does nothing with what is in them."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser = frames.FrameParser()

    def data_received(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            if isinstance(event, frames.Message):
                self._transport.write(frames.frame(event.opcode, event.payload))

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops."""
        self._transport.close()


class Door:
    """As much of a gateway as a handshake needs."""

    proxies = Proxies()

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Everyone may connect."""
        del origin, host
        return True

    def deflates(self, origin: str | None) -> bool:
        """Nothing is compressed."""
        del origin
        return False

    def accept(
        self, transport: asyncio.Transport, codec: Codec, token: str | None, address: str, peers: set[Any]
    ) -> Echo:
        """Takes over a connection whose handshake is done."""
        del codec, token, address, peers
        return Echo(transport)


class Served:
    """An application on a port, served as Plaudit serves its own."""

    def __init__(self, port: int, serving: asyncio.Task[None]) -> None:
        self._port = port
        self._serving = serving

    async def port(self) -> int:
        """Where it listens."""
        return self._port


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def serve(app: Any, ws: Any) -> Served:
    """Serves an application with the settings of `app.serve`."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listener.setblocking(False)
    config = uvicorn.Config(
        app, http="httptools", ws=ws, ws_per_message_deflate=False, log_config=None, access_log=False, lifespan="off",
        server_header=False,
    )  # fmt: skip
    serving = asyncio.create_task(_Server(config).serve([listener]))
    return Served(listener.getsockname()[1], serving)


async def open_echo() -> Served:
    """The floor of a vote over a websocket."""
    return await serve(None, protocol_class(cast("Gateway", Door())))


if __name__ == "__main__":
    work(open_echo)
