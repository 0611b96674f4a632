"""PostgreSQL dies, is away, is full, or is given a schema that it can't take."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import psutil

from storage.errors import MigrationError
from storage.migrations import dump_schema, migrate
from tests.faults.faults import Fault, Scene, until
from tests.faults.flushing import flushing_held, stuck
from tests.faults.laboratory import BACKLOG, SHARD
from tests.faults.stores import kill

_FULL_WITHIN: Final = 30.0
_WAITING: Final = 500
_WAITING_WITHIN: Final = 20.0
_POLL: Final = 0.02
_MINUTES: Final = 120.0
"""Seconds for which PostgreSQL is away when it is away for minutes."""

_GROWTH: Final = 64 * 2**20
_NO_SPACE: Final = """
create or replace function refuse() returns trigger language plpgsql as
$$ begin raise exception 'no space left on device' using errcode = 'disk_full'; end $$
"""
_FULL: Final = "create trigger no_space before insert on vote_events for each statement execute function refuse()"
_ROOM: Final = "drop trigger no_space on vote_events"

_BROKEN: Final = """-- migrate:up
create table half (number int);
alter table votes drop column seq;
select no_such_function();
-- migrate:down
"""


async def kill_postgres(scene: Scene) -> None:
    """PostgreSQL dies and recovers."""
    await kill(scene, "postgres")


async def break_transaction(scene: Scene) -> None:
    """The flusher's transaction is broken off by PostgreSQL when events are in it and ballots are not."""
    async with flushing_held(scene):
        await scene.laboratory.query("select pg_terminate_backend($1)", (await stuck(scene.laboratory)).backend)


async def postgres_away(scene: Scene) -> None:
    """PostgreSQL can't be reached: votes go on until the backlog is full, and everybody can see why."""
    await _away(scene, lambda: scene.last(0.0, 2.0), fills=scene.patience >= 1)


async def postgres_away_for_minutes(scene: Scene) -> None:
    """The same for minutes: nothing grows, and votes are refused without a word too much."""
    await _away(scene, lambda: asyncio.sleep(_MINUTES), fills=True)


async def _away(scene: Scene, last: Callable[[], Awaitable[None]], *, fills: bool) -> None:
    laboratory = scene.laboratory
    before = _memory(scene)
    laboratory.postgres.refuse()
    try:
        if not fills:
            await scene.votes(200, 10.0)
        elif not await until(lambda: _refused(scene), _FULL_WITHIN):
            scene.complain("votes are never refused")
        await last()
        await _look(scene, full=fills)
        if (grown := _memory(scene) - before) > _GROWTH:
            scene.complain(f"without PostgreSQL the servers' memory grew by {grown / 2**20:.0f} MiB")
    finally:
        laboratory.postgres.accept()


def _refused(scene: Scene) -> bool:
    """Whether every agent has heard that there is no room: in the end nothing else is answered.

    But for those who have no votes left today, which they hear first.
    """
    heard = {a.key.agent for a in scene.laboratory.load.memory.all() if a.code in {"overloaded", "quota_exceeded"}}
    return len(heard) == len(scene.laboratory.load.voters) or (bool(heard) and not scene.alone)


def _memory(scene: Scene) -> int:
    """Bytes resident in all servers."""
    held = 0
    for process in [process for server in scene.laboratory.servers for process in server.workers]:
        with suppress(psutil.NoSuchProcess):
            held += int(psutil.Process(process).memory_info().rss)
    return held


async def _look(scene: Scene, *, full: bool) -> None:
    """Readiness and metrics must tell of an archive that is away, and of what waits for it.

    How much that is depends on what else is broken: only by itself this fault leaves a full backlog behind.
    """
    async with httpx.AsyncClient(timeout=10.0) as client:
        for server in scene.laboratory.servers:
            try:
                ready = await client.get(f"{server.url}/health/ready")
            except httpx.TransportError:
                if scene.alone:
                    raise
                # Another fault has it down.
                continue
            told = ready.json()
            waiting = told.get("backlog", {}).get("0", {"events": 0, "seconds": 0.0})
            if ready.is_success or told["checks"]["archive"] is None:
                scene.complain(f"{server.name} says it is ready without PostgreSQL: {ready.text}")
            if not scene.alone:
                continue
            if not waiting["events"] or not (waiting["seconds"] or scene.laboratory.was_ahead):
                scene.complain(f"{server.name}'s readiness shows no backlog or no lag: {ready.text}")
            # A batch that was on its way when the limit was reached still counts.
            if full and not BACKLOG <= waiting["events"] <= 2 * BACKLOG:
                scene.complain(f"{server.name} has a full backlog of {BACKLOG:,} and shows {waiting}")
            metrics = (await client.get(f"{server.url}/metrics")).text
            for name, shown in (("events", waiting["events"]), ("seconds", waiting["seconds"])):
                found = re.search(rf'plaudit_backlog_{name}\{{[^}}]*shard="0"[^}}]*\}} (\S+)', metrics)
                if found is None or (float(found[1]) == 0) != (shown == 0):
                    scene.complain(f"{server.name} has a backlog of {waiting} and no plaudit_backlog_{name} like it")


async def disk_full(scene: Scene) -> str:
    """PostgreSQL has no room for further events: votes go on, and wait."""
    laboratory = scene.laboratory
    if laboratory.disk.real:
        laboratory.disk.fill()
    else:
        await laboratory.query(_NO_SPACE)
        await laboratory.query(_FULL)
    try:
        if scene.alone and not await _backlog_grows(scene):
            scene.complain("PostgreSQL takes events though it has no room for them")
        await scene.last(0.5, 3.0)
    finally:
        if laboratory.disk.real:
            laboratory.disk.free()
        else:
            await laboratory.query(_ROOM)
    return "a file system" if laboratory.disk.real else "a trigger"


async def _backlog_grows(scene: Scene) -> bool:
    """Whether more events come to wait for PostgreSQL than the flusher takes at once."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_WAITING_WITHIN):
            while True:
                found = await scene.laboratory.live.position(SHARD)
                if found.seq - found.flushed >= _WAITING:
                    return True
                await asyncio.sleep(_POLL)
    return False


async def failing_migration(scene: Scene) -> None:
    """A migration fails in its middle, while votes go on: it says why, and the schema is the old one."""
    url = scene.laboratory.stores.database_url
    before = await dump_schema(url)
    with tempfile.TemporaryDirectory(prefix="plaudit-") as folder:
        await asyncio.to_thread(Path(folder, "99990101000000_broken.sql").write_text, _BROKEN, encoding="utf-8")
        try:
            await migrate(url, Path(folder))
        except MigrationError as error:
            said = str(error)
        else:
            said = "all is well"
    if "no_such_function" not in said:
        scene.complain(f"a migration that fails says: {said}")
    if await dump_schema(url) != before:
        scene.complain("a migration that failed left another schema behind")


FAULTS: Final = (
    Fault("postgres", "kill postgres", kill_postgres),
    Fault("postgres", "break transaction", break_transaction),
    Fault("postgres", "postgres away", postgres_away),
    Fault("postgres", "postgres away for minutes", postgres_away_for_minutes, rare=True),
    Fault("postgres", "disk full", disk_full),
    Fault("postgres", "failing migration", failing_migration),
)
