"""Stores that die, are away, are full, or come back as less than they were."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import psutil

from storage.errors import StorageError
from tests.faults.faults import Fault, Scene, until

_BACK_WITHIN: Final = 40.0
_POLL: Final = 0.02
_GROWTH: Final = 64 * 2**20
_NO_SPACE: Final = """
create or replace function refuse() returns trigger language plpgsql as
$$ begin raise exception 'no space left on device' using errcode = 'disk_full'; end $$
"""
_FULL: Final = "create trigger no_space before insert on vote_events for each statement execute function refuse()"
_ROOM: Final = "drop trigger no_space on vote_events"


async def kill_valkey(scene: Scene) -> None:
    """Valkey dies and comes back with its log."""
    await _kill(scene, "valkey-server")


async def kill_postgres(scene: Scene) -> None:
    """PostgreSQL dies and recovers."""
    await _kill(scene, "postgres")


async def kill_flusher(scene: Scene) -> None:
    """The flusher's transaction is broken off when events are in it and ballots are not."""
    laboratory = scene.laboratory
    async with _flushing_held(scene):
        stuck = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = $1"
        with suppress(TimeoutError):
            async with asyncio.timeout(_BACK_WITHIN):
                while not await laboratory.query(stuck, "plaudit"):
                    await asyncio.sleep(_POLL)


async def postgres_away(scene: Scene) -> None:
    """PostgreSQL can't be reached: votes go on until the backlog is full, and everybody can see why."""
    laboratory = scene.laboratory
    before = _memory(scene)
    laboratory.postgres.refuse()
    try:
        if scene.patience >= 1:
            full = await until(lambda: any(a.code == "overloaded" for a in laboratory.load.memory.all()), 30.0)
            if not full:
                scene.complain("the backlog is never full")
        else:
            await scene.votes(200, 10.0)
        await _look(scene)
        if (grown := _memory(scene) - before) > _GROWTH:
            scene.complain(f"without PostgreSQL the servers' memory grew by {grown / 2**20:.0f} MiB")
    finally:
        laboratory.postgres.accept()


async def disk_full(scene: Scene) -> None:
    """PostgreSQL refuses every write."""
    await scene.laboratory.query(_NO_SPACE)
    await scene.laboratory.query(_FULL)
    try:
        await scene.last(0.5, 3.0)
    finally:
        await scene.laboratory.query(_ROOM)


async def valkey_empty(scene: Scene) -> None:
    """Valkey comes back without its data; half of the time there are votes that only it had."""
    await _lose(scene, keep=None)


async def valkey_older(scene: Scene) -> None:
    """Valkey comes back with its data of a while ago."""
    log = _append_only(scene)
    copy = log.with_name("older")
    shutil.copytree(log, copy)
    await scene.votes(100, 10.0)
    await _lose(scene, keep=copy)


async def _lose(scene: Scene, keep: Path | None) -> None:
    if scene.random.random() < 0.5:
        async with _flushing_held(scene):
            await scene.votes(50, 10.0)
            _replace(_append_only(scene), keep)
            await _kill(scene, "valkey-server")
    else:
        _replace(_append_only(scene), keep)
        await _kill(scene, "valkey-server")


def _append_only(scene: Scene) -> Path:
    return scene.laboratory.folder / "stores" / "valkey" / "appendonlydir"


def _replace(log: Path, other: Path | None) -> None:
    gone = log.with_name("gone")
    shutil.rmtree(gone, ignore_errors=True)
    log.rename(gone)
    if other is not None:
        other.rename(log)


async def _kill(scene: Scene, name: str) -> None:
    """Kills a store; returns when the one that is started in its place answers."""
    laboratory = scene.laboratory
    process = laboratory.stores.pids[name]
    os.kill(process, signal.SIGKILL)
    if not await until(lambda: laboratory.stores.pids.get(name, process) != process, _BACK_WITHIN):
        scene.complain(f"{name} is not started again")
    async with asyncio.timeout(_BACK_WITHIN):
        while not await _answers(scene):
            await asyncio.sleep(_POLL)


async def _answers(scene: Scene) -> bool:
    with suppress(StorageError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await scene.laboratory.live.ping()
        await scene.laboratory.query("select 1")
        return True
    return False


@asynccontextmanager
async def _flushing_held(scene: Scene) -> AsyncIterator[None]:
    """Inside, every flush stands still in the middle of its transaction."""
    connection = await scene.laboratory.connect()
    try:
        await connection.execute("begin; lock table votes in exclusive mode")
        yield
    finally:
        # Its transaction ends with it.
        connection.terminate()


def _memory(scene: Scene) -> int:
    """Bytes resident in all servers."""
    processes = [process for server in scene.laboratory.servers for process in server.workers]
    return sum(int(psutil.Process(process).memory_info().rss) for process in processes)


async def _look(scene: Scene) -> None:
    """Readiness and metrics must tell of an archive that is away."""
    async with httpx.AsyncClient(timeout=10.0) as client:
        for server in scene.laboratory.servers:
            ready = await client.get(f"{server.url}/health/ready")
            if ready.is_success or ready.json()["checks"]["archive"] is None:
                scene.complain(f"{server.name} says it is ready without PostgreSQL: {ready.text}")
            found = re.search(
                r'plaudit_backlog_events\{shard="0"\} (\S+)', (await client.get(f"{server.url}/metrics")).text
            )
            if found is None or float(found[1]) == 0:
                scene.complain(f"{server.name} shows no backlog")


FAULTS: Final = (
    Fault("valkey", "kill valkey", kill_valkey),
    Fault("postgres", "kill postgres", kill_postgres),
    Fault("postgres", "kill flusher", kill_flusher),
    Fault("postgres", "postgres away", postgres_away),
    Fault("postgres", "disk full", disk_full),
    Fault("valkey", "valkey empty", valkey_empty, may_lose=True),
    Fault("valkey", "valkey older", valkey_older, may_lose=True),
)
