"""Valkey dies, or comes back as less than it was."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import asyncpg

from storage.errors import StorageError
from tests.faults.faults import Fault, Scene, until
from tests.faults.flushing import flushing_held
from tests.faults.laboratory import SHARD

_BACK_WITHIN: Final = 40.0
_POLL: Final = 0.02


async def kill_valkey(scene: Scene) -> None:
    """Valkey dies and comes back with its log."""
    await kill(scene, "valkey-server")


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
    laboratory = scene.laboratory
    before = (await laboratory.live.position(SHARD)).epoch
    if scene.random.random() < 0.5:
        async with flushing_held(scene):
            await scene.votes(50, 10.0)
            _replace(_append_only(scene), keep)
            await kill(scene, "valkey-server")
    else:
        _replace(_append_only(scene), keep)
        await kill(scene, "valkey-server")
    # A store that lost votes is another one, and is filled from the archive, whatever it still holds.
    async with asyncio.timeout(_BACK_WITHIN):
        while not (found := await laboratory.live.position(SHARD)).ready or found.epoch == before:
            await asyncio.sleep(_POLL)


def _append_only(scene: Scene) -> Path:
    return scene.laboratory.folder / "stores" / "valkey" / "appendonlydir"


def _replace(log: Path, other: Path | None) -> None:
    gone = log.with_name("gone")
    shutil.rmtree(gone, ignore_errors=True)
    log.rename(gone)
    if other is not None:
        other.rename(log)


async def kill(scene: Scene, name: str) -> None:
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


FAULTS: Final = (
    Fault("valkey", "kill valkey", kill_valkey),
    Fault("valkey", "valkey empty", valkey_empty, may_lose=True),
    Fault("valkey", "valkey older", valkey_older, may_lose=True),
)
