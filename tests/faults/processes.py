"""Server processes that are killed, stopped and frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import msgspec
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.faults.faults import Fault, Scene, until
from tests.faults.flushing import flushing_held, leaders, stuck
from tests.faults.laboratory import WORKERS
from tests.faults.server import Server

EXIT_WITHIN: Final = 10.0
_RESTART: Final = 1012
_VIEWERS: Final = 5


async def kill_server(scene: Scene) -> None:
    """A whole server, or the process that keeps its workers, which then end by themselves."""
    server = scene.random.choice(scene.laboratory.servers)
    server.kill(workers=scene.random.random() < 0.5)
    await server.start()


async def kill_worker(scene: Scene) -> None:
    """One of the processes of a server that has several."""
    await _kill(scene, scene.random.choice(scene.laboratory.servers[0].workers))


async def kill_flusher(scene: Scene) -> None:
    """The process that flushes dies in the middle of its transaction: events are in it, and ballots are not."""
    async with flushing_held(scene):
        process = (await stuck(scene.laboratory)).process
        _signal(process, signal.SIGKILL)
        # Its backend hears of it only when it has the lock, and must then roll back what nobody waits for.
    await _replaced(scene, process)


async def _kill(scene: Scene, process: int) -> None:
    _signal(process, signal.SIGKILL)
    await _replaced(scene, process)


async def _replaced(scene: Scene, process: int) -> None:
    """Returns when another process serves in place of one that was killed."""
    for server in scene.laboratory.servers:
        if process == server.pid:
            await server.start()
    if not await until(lambda: all(process not in server.workers for server in scene.laboratory.servers), 20.0):
        scene.complain("a worker that was killed is still there")
    first = scene.laboratory.servers[0]
    if not await until(lambda: len(first.workers) == WORKERS, 20.0):
        scene.complain("a worker that was killed is not replaced")


async def stop_server(scene: Scene, frozen: Sequence[str] = ()) -> None:
    """SIGTERM under load, while the stores that are named stand still."""
    server = scene.random.choice(scene.laboratory.servers)
    viewers = [await _viewer(server) for _ in range(_VIEWERS)]
    with _frozen(scene, frozen):
        if frozen:
            await scene.last(0.0, 3.0)
        await _stop(scene, server, viewers)
    await server.start()


async def _stop(scene: Scene, server: Server, viewers: Sequence[ClientConnection]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    server.signal(signal.SIGTERM)
    for viewer in viewers:
        told = await _goodbye(viewer)
        if told != (_RESTART, _RESTART):
            scene.complain(f"a socket of a server that stops got {told} as bye and close code")
    code = await server.ended()
    if code != 0 or loop.time() - began > EXIT_WITHIN:
        scene.complain(f"a server that was told to stop ended with {code} after {loop.time() - began:.1f} s")


@contextmanager
def _frozen(scene: Scene, names: Iterable[str]) -> Iterator[None]:
    """The time in which stores stand still with all of their processes: connections live, and nothing is answered."""
    processes = [process for name in names for process in _family(scene, name)]
    try:
        for process in processes:
            _signal(process.pid, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            _signal(process.pid, signal.SIGCONT)


def _family(scene: Scene, name: str) -> list[psutil.Process]:
    """All processes of a store; none where it has just been killed."""
    with suppress(KeyError, psutil.NoSuchProcess):
        store = psutil.Process(scene.laboratory.stores.pids[name])
        return [store, *store.children(recursive=True)]
    return []


async def freeze_flusher(scene: Scene) -> None:
    """The process that flushes is frozen until it has lost its lock to another one, and then goes on."""
    found = await leaders(scene.laboratory)
    if not found:
        return
    backend, process = found[0]
    _signal(process, signal.SIGSTOP)
    try:
        await scene.last(0.2, 1.0)
        await scene.laboratory.query("select pg_terminate_backend($1)", backend)
        for _ in range(200):
            if any(other.process != process for other in await leaders(scene.laboratory)):
                break
            await asyncio.sleep(0.05)
        else:
            scene.complain("nobody takes the flusher's lock over")
        await scene.last(0.5, 3.0)
    finally:
        _signal(process, signal.SIGCONT)


async def freeze_server(scene: Scene) -> None:
    """Any process stands still for a while; its clients go elsewhere, or wait."""
    process = scene.random.choice([pid for server in scene.laboratory.servers for pid in server.workers])
    _signal(process, signal.SIGSTOP)
    try:
        await scene.last(0.5, 6.0)
    finally:
        _signal(process, signal.SIGCONT)


async def _viewer(server: Server) -> ClientConnection:
    socket = await connect(f"{server.url}/ws".replace("http", "ws", 1), compression=None)
    await socket.send('{"type":"hello","id":0}')
    await socket.recv()
    return socket


async def _goodbye(viewer: ClientConnection) -> tuple[int | None, int | None]:
    """The codes of `bye` and of the close frame that a connection ends with."""
    bye = None
    try:
        async with asyncio.timeout(2 * EXIT_WITHIN):
            while True:
                message: Any = msgspec.json.decode(await viewer.recv())
                if message["type"] == "bye":
                    bye = message["code"]
    except ConnectionClosed as error:
        return bye, None if error.rcvd is None else error.rcvd.code
    except TimeoutError:
        return bye, None


def _signal(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


FAULTS: Final = (
    Fault("servers", "kill server", kill_server),
    Fault("servers", "kill worker", kill_worker),
    Fault("servers", "kill flusher", kill_flusher),
    Fault("servers", "stop server", stop_server, tells_all=True),
    Fault("servers", "stop beside frozen postgres", partial(stop_server, frozen=("postgres",))),
    Fault("servers", "stop beside frozen stores", partial(stop_server, frozen=("postgres", "valkey-server"))),
    Fault("servers", "freeze flusher", freeze_flusher),
    Fault("servers", "freeze server", freeze_server),
)
