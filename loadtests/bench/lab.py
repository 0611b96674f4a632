"""Where cases are run: durable stores of the run's own, installations in them, servers on those.

Every case gets an installation (a database and a key prefix) of its own, so that none meets what another left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import httpx
import psutil
from redis.asyncio import Redis

from app.settings import Settings
from app.tenants import default_tenant
from loadtests.bench.child import ROOT
from storage.archive import Archive
from storage.boards import Boards, NewBoard
from storage.catalogue import Catalogue, Song
from storage.directory import Directory
from storage.embedded import EmbeddedServers
from storage.hold import Hold
from storage.live import LiveStore
from storage.migrations import migrate
from storage.recovery import Recovery
from storage.types import Board, BoardItem, Tenant

SETTINGS: Final = {
    "PLAUDIT_SHARDS": "1",
    "PLAUDIT_PORT": "0",
    # A bench's client stands for many: what it may send is not what is measured.
    "PLAUDIT_MESSAGES_PER_SECOND": "1000000",
    "PLAUDIT_BACKLOG": "100000000",
    "PLAUDIT_LOG_LEVEL": "error",
}
_WAITING: Final = frozenset({"xread", "info", "client|setinfo", "client|setname", "hello", "ping", "select"})
_READY: Final = re.compile(rb"ready at\s+http://\S+:(\d+)")
_READY_WITHIN: Final = 60.0
_STOPS_WITHIN: Final = 30.0
_PORTION: Final = 5000


_T = TypeVar("_T")


def now() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def item_name(n: int) -> str:
    """The n-th item of a board of the lab."""
    return f"i{n:06d}"


class Usage:
    """CPU seconds that a process and its children have used since this was made."""

    def __init__(self, pid: int) -> None:
        self._processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        self._before = self._seconds()

    def _seconds(self) -> float:
        used = 0.0
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system
        return used

    def seconds(self) -> float:
        """CPU seconds so far."""
        return self._seconds() - self._before


class Server:
    """A `plaudit serve` that runs. `started` is the seconds that it took until it was ready."""

    def __init__(self, process: Process, port: int, started: float) -> None:
        self.process = process
        self.port = port
        self.started = started

    @property
    def pid(self) -> int:
        """The process, or with several workers their parent."""
        return self.process.pid

    def resident(self) -> int:
        """Bytes of memory that the process holds."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def usage(self) -> Usage:
        """Begins to count CPU seconds."""
        return Usage(self.pid)

    async def metric(self, name: str) -> float:
        """What it says of itself: the value of a line of `/metrics`."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.rpartition(" ")[0] == name)


class Installation:
    """A database and a key prefix with the default tenant in them."""

    def __init__(self, lab: Lab, settings: Settings, database_url: str) -> None:
        self.lab = lab
        self.settings = settings
        self.database_url = database_url
        self.archive = Archive(database_url)
        self.live = LiveStore(lab.servers.redis_url, settings.prefix)
        self.recovery = Recovery(self.live, self.archive, now)
        self.tenant: Tenant
        self._agents = 0
        self._items: dict[int, list[BoardItem]] = {}

    async def agents(self, count: int) -> list[str]:
        """Keys of new agents, whose votes are not limited."""
        secrets: list[str] = []
        while len(secrets) < count:
            portion = range(self._agents, self._agents + min(_PORTION, count - len(secrets)))
            issued = await Directory(self.archive).add_agents(self.tenant, [(f"a{n}", "enterprise") for n in portion])
            secrets += [key.secret for key in issued]
            self._agents = portion.stop
        return secrets

    async def board(self, slug: str, items: int, **rules: Any) -> Board:
        """A new board of the first `items` songs, which are made where they are missing."""
        boards = Boards(self.archive)
        (board,) = await boards.add(self.tenant, [NewBoard(slug, slug.title(), "song", **rules)])
        songs = (await boards.of_tenant(self.tenant.number))[0]
        have = self._items.setdefault(songs.number, [])
        while len(have) < items:
            portion = range(len(have), min(items, len(have) + _PORTION))
            have += await Catalogue(self.archive).add(self.tenant, songs, [_song(n) for n in portion])
        chosen = await boards.add_items(board, [item_name(n) for n in range(items)])
        for start in range(0, items, _PORTION):
            await self.live.add_items(board, chosen[start : start + _PORTION], now())
        return board

    @asynccontextmanager
    async def serve(self, **settings: object) -> AsyncIterator[Server]:
        """A server on this installation; `tick_rate=12` sets PLAUDIT_TICK_RATE."""
        environ = SETTINGS | {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.lab.servers.redis_url,
            "PLAUDIT_PREFIX": self.settings.prefix,
            "PLAUDIT_DATA": str(self.settings.data),
            **{f"PLAUDIT_{name.upper()}": str(value) for name, value in settings.items()},
        }
        async with serve(environ) as server:
            yield server


class Lab:
    """The run's stores. `folder` is the run's own and is removed with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = EmbeddedServers(folder / "stores")
        self._kept: dict[object, Any] = {}
        self._stack = contextlib.AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Stores that keep what they are told, as those of an installation do."""
        folder = Path(tempfile.mkdtemp(prefix="plaudit-bench-"))
        folder.chmod(0o711)  # noqa: ASYNC240  # PostgreSQL may be another user; nothing else runs yet
        try:
            lab = cls(folder)
            async with lab.servers, lab._stack:
                yield lab
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def keep(self, make: Callable[[Lab], AbstractAsyncContextManager[_T]]) -> _T:
        """What `make` makes, for every case that asks for it: made at the first call, ended with the lab."""
        if make not in self._kept:
            self._kept[make] = await self._stack.enter_async_context(make(self))
        made: _T = self._kept[make]
        return made

    def usage(self, store: str) -> Usage:
        """Begins to count the CPU seconds of `valkey-server` or `postgres`."""
        return Usage(self.servers.pids[store])

    async def memory(self) -> int:
        """Bytes that the live store uses for what it holds."""
        async with Redis.from_url(self.servers.redis_url) as store:
            return int((await store.info("memory"))["used_memory"])

    async def commands(self) -> int:
        """Calls of the live store's commands so far, but for those that wait for something and this one."""
        async with Redis.from_url(self.servers.redis_url) as store:
            stats = await store.info("commandstats")
        return sum(one["calls"] for name, one in stats.items() if name.removeprefix("cmdstat_") not in _WAITING)

    async def logged(self) -> int:
        """Bytes of the live store's append-only file."""
        async with Redis.from_url(self.servers.redis_url) as store:
            return int((await store.info("persistence"))["aof_current_size"])

    async def command_times(self) -> dict[str, float]:
        """Microseconds that the live store has spent in each of its commands; those of scripts count in both."""
        async with Redis.from_url(self.servers.redis_url) as store:
            stats = await store.info("commandstats")
        return {name.removeprefix("cmdstat_"): float(one["usec"]) for name, one in stats.items()}

    @asynccontextmanager
    async def installation(self) -> AsyncIterator[Installation]:
        """An empty installation, removed afterwards."""
        name = f"bench_{uuid4().hex[:12]}"
        url = self.servers.database_url
        async with Archive(url) as administration, administration.connection() as connection:
            await connection.execute(f"create database {name}")
        head, _, query = url.partition("?")
        database_url = f"{head.rpartition('/')[0]}/{name}?{query}"
        await migrate(database_url)
        settings = Settings(prefix=name, shards=1, data=self.folder / name)
        made = Installation(self, settings, database_url)
        async with made.live:
            async with made.archive:
                made.tenant, _ = await default_tenant(made.archive, settings)
                await made.recovery.ensure(made.tenant.shard)
                yield made
            await forget(made.live, made.tenant.shard)
        async with Archive(url) as administration, administration.connection() as connection:
            await connection.execute(f"drop database {name} with (force)")


async def forget(live: LiveStore, shard: int) -> None:
    """Takes away all that the live store has of a shard."""
    hold = await Hold.take(live, shard, (await live.position(shard)).epoch)
    await hold.clear()


@asynccontextmanager
async def serve(environ: Mapping[str, str], command: Sequence[str] = ("serve",)) -> AsyncIterator[Server]:
    """Runs `plaudit serve` from this source tree, and ends it in order."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from app.cli import main; main()", *command),
        env=os.environ | environ,
        cwd=ROOT,
        stdout=PIPE,
        stderr=None,
    )
    try:
        port = await _port(process)
        yield Server(process, port, time.monotonic() - began)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOPS_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _port(process: Process) -> int:
    assert process.stdout is not None
    async with asyncio.timeout(_READY_WITHIN):
        while line := await process.stdout.readline():
            if found := _READY.search(line):
                return int(found[1])
    raise subprocess.CalledProcessError(await process.wait(), "plaudit serve")


def _song(n: int) -> Song:
    return Song(item_name(n), f"Title of song {n}", "Some Artist", "suno", "https://suno.example/song")
