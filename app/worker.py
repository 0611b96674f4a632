"""One of several server processes: its parent gave it a socket that listens, stores that run, and its settings."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from app.colleagues import colleagues
from app.logs import configure
from app.serve import beginning, serve_one, stop_signals
from app.services import Services
from app.settings import Settings
from app.workers import METRICS_VARIABLE, PARENT_VARIABLE, READY_VARIABLE, SOCKET_VARIABLE


async def work() -> None:
    """Serves until told to stop, or until the parent is gone."""
    settings = Settings.from_env(os.environ)
    configure(settings)
    assert settings.redis_url is not None
    assert settings.database_url is not None
    stop = stop_signals()
    _follow_parent(int(os.environ[PARENT_VARIABLE]), stop)
    listener = socket.socket(fileno=int(os.environ[SOCKET_VARIABLE]))
    async with (
        beginning(stop) as begun,
        Services.open(settings, settings.redis_url, settings.database_url) as services,
    ):
        begun()
        await serve_one(services, listener, stop, _one_of_several(services))


@asynccontextmanager
async def _one_of_several(services: Services) -> AsyncIterator[None]:
    """The time in which this process serves: its parent and its colleagues know of it."""
    async with colleagues(Path(os.environ[METRICS_VARIABLE]), services.scrape) as services.scrape:
        os.write(int(os.environ[READY_VARIABLE]), b".")
        yield


def _follow_parent(pipe: int, stop: asyncio.Event) -> None:
    """Sets `stop` when the parent is gone: nothing is ever written to the pipe, and it ends when the parent does."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(pipe)
        stop.set()

    loop.add_reader(pipe, ended)


if __name__ == "__main__":
    uvloop.run(work())
