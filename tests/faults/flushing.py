"""Who flushes, and flushes that stand still in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from tests.faults.faults import Scene
from tests.faults.laboratory import Laboratory

_WITHIN: Final = 40.0
_POLL: Final = 0.02
_LOCK: Final = 0x506C61 + 1

_LEADER: Final = """
select l.pid, split_part(a.application_name, ' ', 2)::int
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.classid = $1
"""
_STUCK: Final = """
select pid, split_part(application_name, ' ', 2)::int from pg_stat_activity
where wait_event_type = 'Lock' and wait_event = 'relation' and application_name like 'plaudit %'
"""


class Place(NamedTuple):
    """A connection to PostgreSQL: its backend there, and the process of the server that made it."""

    backend: int
    process: int


async def leaders(laboratory: Laboratory) -> list[Place]:
    """Who holds the lock of the flushers: nobody, somebody, or for a moment two, of whom one is ending."""
    return [Place(*row) for row in await laboratory.query(_LEADER, _LOCK)]


async def stuck(laboratory: Laboratory) -> Place:
    """The flusher that stands still inside `flushing_held`, events in its transaction and ballots not."""
    async with asyncio.timeout(_WITHIN):
        while not (found := await laboratory.query(_STUCK)):
            await asyncio.sleep(_POLL)
    return Place(*found[0])


@asynccontextmanager
async def flushing_held(scene: Scene) -> AsyncIterator[None]:
    """Inside, every flush stands still in the middle of its transaction."""
    connection = await scene.laboratory.connect("begin; lock table votes in exclusive mode")
    try:
        yield
    finally:
        # Its transaction ends with it.
        connection.terminate()
