"""`plaudit serve`: the stores, one server process or several, and their orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import click
import structlog
import uvicorn

from app import demo
from app.front import House, front_class
from app.handshake import protocol_class
from app.http import create_app
from app.services import Services
from app.settings import Settings, table
from app.stores import Stores, open_stores
from app.tenants import DEMO_KEY_FILE, default_tenant, keep_secret, kept_secret
from storage.archive import Archive
from storage.directory import Directory
from storage.migrations import migrate
from storage.types import Tenant

STOP_WITHIN: Final = 8
"""Seconds for connections to end; then they are cut."""

BACKLOG: Final = 4096
KEEP_ALIVE: Final = 75
"""Seconds that an idle HTTP connection is kept: longer than clients' pools and load balancers keep theirs."""

IMPATIENT_AFTER: Final = 1.0
"""Seconds after a first signal to stop before a second one counts."""

SOCKET_VARIABLE: Final = "PLAUDIT_WORKER_SOCKET"
PARENT_VARIABLE: Final = "PLAUDIT_WORKER_PARENT"
READY_VARIABLE: Final = "PLAUDIT_WORKER_READY"

_RESTART: Final = 1.0

log = structlog.get_logger(__name__)


async def serve(settings: Settings, *, with_demo: bool) -> None:
    """Serves until SIGINT or SIGTERM. Raises StorageError or OSError where that can't begin."""
    stop = stop_signals()
    with _listening(settings) as listener:
        async with open_stores(settings) as stores:
            await migrate(stores.database_url)
            async with Archive(stores.database_url) as archive:
                tenant, admin_key = await default_tenant(archive, settings)
                await Directory(archive).add_standing_boards(tenant)
            port = listener.getsockname()[1]
            if settings.workers > 1:
                await _serve_workers(settings, stores, listener, stop, tenant, admin_key, with_demo=with_demo)
                return
            async with Services.open(settings, *stores) as services:
                agent_key = await _load_demo(services, tenant) if with_demo else None
                await serve_one(services, listener, stop, lambda: _say_ready(settings, port, admin_key, agent_key))


async def serve_one(
    services: Services, listener: socket.socket, stop: asyncio.Event, ready: Callable[[], object]
) -> None:
    """One server process on a socket that listens, until `stop` is set."""
    config = uvicorn.Config(
        create_app(services),
        http=front_class(House.of(services.settings)),
        ws=protocol_class(services.gateway),
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=STOP_WITHIN,
        timeout_keep_alive=KEEP_ALIVE,
        backlog=BACKLOG,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]), name="http")
    stopping = asyncio.create_task(stop.wait())
    gc.collect()
    # What was made so far lives as long as the process: no later collection needs to look at it.
    gc.freeze()
    ready()
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await services.drain()
        server.should_exit = True
    stopping.cancel()
    await serving


class _Server(uvicorn.Server):
    """Leaves signals to us: votes are drained before connections are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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


def _say_ready(settings: Settings, port: int, admin_key: str, agent_key: str | None) -> None:
    host = settings.host if ":" not in settings.host else f"[{settings.host}]"
    url = f"http://{host}:{port}"
    lines = [
        "",
        f"  Plaudit is ready at  {url}",
        f"  API documentation    {url}/docs",
        f"  admin key            {admin_key}",
    ]
    if agent_key is not None:
        lines.append(f"  an agent's key       {agent_key}")
    click.echo("\n".join([*lines, ""]))
    sys.stdout.flush()


# Several processes


async def _serve_workers(
    settings: Settings,
    stores: Stores,
    listener: socket.socket,
    stop: asyncio.Event,
    tenant: Tenant,
    admin_key: str,
    *,
    with_demo: bool,
) -> None:
    """Keeps the wanted number of server processes on one socket, until `stop` is set."""
    agent_key = None
    if with_demo:
        async with Services.open(settings, *stores) as services:
            agent_key = await _load_demo(services, tenant)
    alive, parent = os.pipe()
    told, ready = os.pipe()
    descriptors = listener.fileno(), alive, ready
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    names = SOCKET_VARIABLE, PARENT_VARIABLE, READY_VARIABLE
    environ = worker_environment(settings, stores) | dict(zip(names, map(str, descriptors), strict=True))
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(settings.workers):
                group.create_task(_keep_worker(number, environ, descriptors, stop))
            if await _heard_of(settings.workers, told, stop):
                _say_ready(settings, listener.getsockname()[1], admin_key, agent_key)
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
    number: int, environ: Mapping[str, str], descriptors: tuple[int, ...], stop: asyncio.Event
) -> None:
    """Runs a worker, and another one whenever it dies."""
    while not stop.is_set():
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.worker", env=environ, pass_fds=descriptors, start_new_session=True
        )
        ended = asyncio.create_task(worker.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            worker.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), STOP_WITHIN + 2)
            if not ended.done():
                worker.kill()
            await ended
            return
        log.error("a server process died", worker=number, code=worker.returncode)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _RESTART)


def worker_environment(settings: Settings, stores: Stores) -> dict[str, str]:
    """The settings as a worker reads them: flags and all as environment variables."""
    environ = dict(os.environ)
    for field, setting in table().items():
        value = getattr(settings, field)
        if value is None or value == ():
            environ[setting.variable] = "none" if field.startswith(("quota", "connections_per")) else ""
        else:
            environ[setting.variable] = ",".join(value) if isinstance(value, tuple) else str(value)
    environ["REDIS_URL"], environ["DATABASE_URL"] = stores
    return environ
