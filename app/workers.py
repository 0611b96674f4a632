"""Several server processes on one socket: started, kept, and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from app.settings import Settings, table
from app.stores import Stores

STOP_WITHIN: Final = 9
"""Seconds for a server process to stop in order; then it is ended. Silent stores take it less than five."""

SOCKET_VARIABLE: Final = "PLAUDIT_WORKER_SOCKET"
PARENT_VARIABLE: Final = "PLAUDIT_WORKER_PARENT"
READY_VARIABLE: Final = "PLAUDIT_WORKER_READY"
METRICS_VARIABLE: Final = "PLAUDIT_WORKER_METRICS"

_RESTART: Final = 1.0

log = structlog.get_logger(__name__)


async def serve_several(
    settings: Settings,
    stores: Stores,
    listener: socket.socket,
    stop: asyncio.Event,
    open_to_all: AbstractAsyncContextManager[None],
) -> None:
    """Keeps the wanted number of server processes on one socket, until `stop` is set.

    `open_to_all` is entered when all of them serve, and left before any of them is stopped.
    """
    alive, parent = os.pipe()
    told, ready = os.pipe()
    descriptors = listener.fileno(), alive, ready
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    names = SOCKET_VARIABLE, PARENT_VARIABLE, READY_VARIABLE
    environ = worker_environment(settings, stores) | dict(zip(names, map(str, descriptors), strict=True))
    dismissed = asyncio.Event()
    try:
        # Its path is short enough for sockets, and it is ours alone.
        with tempfile.TemporaryDirectory(prefix="plaudit-") as sockets:
            async with asyncio.TaskGroup() as group:
                for number in range(settings.workers):
                    own = environ | {METRICS_VARIABLE: f"{sockets}/{number}"}
                    group.create_task(_keep_worker(number, own, descriptors, stop, dismissed))
                try:
                    if await _heard_of(settings.workers, told, stop):
                        async with open_to_all:
                            await stop.wait()
                finally:
                    dismissed.set()
    finally:
        for descriptor in (alive, parent, told, ready):
            os.close(descriptor)


async def _heard_of(workers: int, pipe: int, stop: asyncio.Event) -> bool:
    """Waits until so many workers serve, each of which writes a byte; answers False where it was stopped before."""
    loop = asyncio.get_running_loop()
    everyone = asyncio.Event()
    heard = 0

    def read() -> None:
        nonlocal heard
        heard += len(os.read(pipe, workers))
        if heard >= workers:
            everyone.set()

    loop.add_reader(pipe, read)
    waiting = [asyncio.create_task(event.wait()) for event in (everyone, stop)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(pipe)
        for task in waiting:
            task.cancel()
    return everyone.is_set()


async def _keep_worker(
    number: int,
    environ: Mapping[str, str],
    descriptors: tuple[int, ...],
    stop: asyncio.Event,
    dismissed: asyncio.Event,
) -> None:
    """Runs a worker until it is dismissed, and another one whenever it dies before `stop` is set."""
    while not stop.is_set():
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.worker", env=environ, pass_fds=descriptors, start_new_session=True
        )
        ended = asyncio.create_task(worker.wait())
        stopping = asyncio.create_task(dismissed.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            worker.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), STOP_WITHIN)
            if not ended.done():
                worker.kill()
            await ended
            return
        if stop.is_set():  # somebody signalled the whole group
            return
        log.error("a server process died", worker=number, code=worker.returncode)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _RESTART)


def worker_environment(settings: Settings, stores: Stores) -> dict[str, str]:
    """The settings as a worker reads them: flags and all as environment variables."""
    environ = dict(os.environ)
    for field, setting in table().items():
        environ[setting.variable] = setting.kind.text(getattr(settings, field))
    environ["REDIS_URL"], environ["DATABASE_URL"] = stores
    return environ
