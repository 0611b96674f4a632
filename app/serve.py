"""`plaudit serve`: the stores, one server process or several, and their orderly end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Final

import click
import uvicorn

from app import demo
from app.address import http_url, kept_address, local_url
from app.express import Express
from app.front import front_class
from app.handshake import protocol_class
from app.house import House
from app.http import create_app
from app.services import Services
from app.settings import Settings
from app.simulate import lively
from app.stores import Stores, open_stores
from app.tenants import DEMO_KEY_FILE, default_tenant, keep_secret, kept_secret
from app.workers import serve_several
from storage.archive import Archive
from storage.directory import Directory
from storage.migrations import migrate
from storage.tasks import end
from storage.types import Tenant

BACKLOG: Final = 4096
KEEP_ALIVE: Final = 75
"""Seconds that an idle HTTP connection is kept: longer than clients' pools and load balancers keep theirs."""

STOP_WITHIN: Final = 4
"""Seconds for requests under way to end at a stop; then they are cut off."""

SILENT_STOP_WITHIN: Final = 1
"""The same where a store is silent, whose answer they may be waiting for."""

IMPATIENT_AFTER: Final = 1.0
"""Seconds after a first signal to stop before a second one counts."""


async def serve(settings: Settings, *, with_demo: bool) -> None:
    """Serves until SIGINT or SIGTERM. Raises StorageError or OSError where that can't begin."""
    stop = stop_signals()
    with _listening(settings) as listener:
        async with beginning(stop) as begun, open_stores(settings) as stores:
            await migrate(stores.database_url)
            async with Archive(stores.database_url) as archive:
                tenant, admin_key = await default_tenant(archive, settings)
                await Directory(archive).add_standing_boards(tenant)
            port = listener.getsockname()[1]
            if settings.workers > 1:
                agent_key = await _demo_key(settings, stores, tenant) if with_demo else None
                open_to_all = _open_to_all(settings, port, admin_key, agent_key)
                begun()
                await serve_several(settings, stores, listener, stop, open_to_all)
                return
            async with Services.open(settings, *stores) as services:
                agent_key = await _load_demo(services, tenant) if with_demo else None
                begun()
                await serve_one(services, listener, stop, _open_to_all(settings, port, admin_key, agent_key))


@asynccontextmanager
async def beginning(stop: asyncio.Event) -> AsyncIterator[Callable[[], None]]:
    """Breaks off what is done inside when `stop` is set, until what this yields is called.

    A server that still waits for a store, or fills one, has nothing to bring to an end.
    """
    work = asyncio.current_task()
    assert work is not None

    async def break_off() -> None:
        await stop.wait()
        work.cancel()

    watching = asyncio.create_task(break_off())

    def begun() -> None:
        watching.cancel()

    try:
        yield begun
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        work.uncancel()
    finally:
        await end(watching)


async def serve_one(
    services: Services, listener: socket.socket, stop: asyncio.Event, open_to_all: AbstractAsyncContextManager[None]
) -> None:
    """One server process on a socket that listens, until `stop` is set.

    `open_to_all` is entered when it serves, and left when it shall stop, before anything of it ends.
    """
    express = Express(lambda: services.registry.forgotten, services.settings.origins)
    config = uvicorn.Config(
        create_app(services),
        http=front_class(House.of(services.settings), express),
        ws=protocol_class(services.gateway),
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        # Ours are believed where the settings say so; uvicorn would believe whoever is on this machine.
        proxy_headers=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        backlog=BACKLOG,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]), name="http")
    stopping = asyncio.create_task(stop.wait())
    gc.collect()
    # What was made so far lives as long as the process: no later collection needs to look at it.
    gc.freeze()
    services.watch_loop()
    async with open_to_all:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        server.exit(STOP_WITHIN if await services.drain() else SILENT_STOP_WITHIN)
    stopping.cancel()
    await serving


class _Server(uvicorn.Server):
    """Leaves signals to us: votes are drained before connections are closed."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked_to_exit = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Renews the date of answers once a second, and ends as soon as it shall, not with the next look."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._asked_to_exit.wait()

    def exit(self, within: int) -> None:
        """Lets it close its connections and end; requests that take longer than so many seconds are cut off."""
        self.config.timeout_graceful_shutdown = within
        self.should_exit = True
        self._asked_to_exit.set()


def stop_signals() -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets; a second one, from somebody impatient, ends the process at once.

    Those who start programs often signal both a process and its group: that is still one wish.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first = 0.0

    def received(number: int) -> None:
        nonlocal first
        if not stop.is_set():
            first = loop.time()
            stop.set()
        elif loop.time() - first > IMPATIENT_AFTER:
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received, number)
    return stop


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """The port is taken before anything is started, so that one that is in use costs no time."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise click.ClickException(
                f"Port {settings.port} of {settings.host} can't be used: {error.strerror}."
            ) from None
        listener.listen(BACKLOG)
        listener.setblocking(False)
        yield listener


async def _demo_key(settings: Settings, stores: Stores, tenant: Tenant) -> str:
    """Loads the demo before there is a server process to do it."""
    async with Services.open(settings, *stores) as services:
        return await _load_demo(services, tenant)


async def _load_demo(services: Services, tenant: Tenant) -> str:
    """The demo catalogue, and a key of its agent that works."""
    agent = await demo.load_demo(
        services.directory, services.catalogue, services.boards, services.live, tenant, services.now()
    )
    folder = services.settings.data
    secret = kept_secret(folder, DEMO_KEY_FILE)
    if secret is None or await services.directory.find_key(secret) is None:
        secret = (await services.directory.add_agent_key(tenant, agent)).secret
        keep_secret(folder, DEMO_KEY_FILE, secret)
    return secret


@asynccontextmanager
async def _open_to_all(
    settings: Settings, port: int, admin_key: str | None, agent_key: str | None
) -> AsyncIterator[None]:
    """The time in which the server serves: it can be found, and if it has a demo, that is alive."""
    url = local_url(settings.host, port)
    with kept_address(settings.data, url):
        _say_ready(settings, port, admin_key, agent_key)
        lives = agent_key is not None and admin_key is not None and settings.demo_rate
        async with lively(url, admin_key or "", settings.demo_rate) if lives else nullcontext():
            yield


def _say_ready(settings: Settings, port: int, admin_key: str | None, agent_key: str | None) -> None:
    url = http_url(settings.host, port)
    lines = [
        "",
        f"  Plaudit is ready at  {url}",
        f"  API documentation    {url}/docs",
        f"  admin key            {admin_key or 'the one that there is already: PLAUDIT_ADMIN_KEY was not set'}",
    ]
    if agent_key is not None:
        lines.append(f"  an agent's key       {agent_key}")
    click.echo("\n".join([*lines, ""]))
    sys.stdout.flush()
