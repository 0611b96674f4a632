"""Gathers the facts of a round: waits until all is quiet, then asks every store and every server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from storage.errors import StorageError
from tests.faults.judge import Facts, Screen, Shown
from tests.faults.laboratory import SHARD, WINDOWS, Laboratory
from tests.faults.load import Ballots
from tests.faults.memory import Key
from tests.faults.model import Event
from tests.faults.server import Server
from tests.faults.watcher import Watcher, digest

QUIET_WITHIN: Final = 45.0
_POLL: Final = 0.02
_SHOWN_WITHIN: Final = 8.0
LOST: Final = "acknowledged votes are lost"

_EVENTS: Final = """
select e.seq, e.at, a.agent_id, b.slug, i.item_id, e.value, e.previous, e.points
from vote_events e
join boards b on b.id = e.board_id join items i on i.id = e.item_id join agents a on a.id = e.agent_id
where b.slug = any($1::text[]) and e.shard = 0 and e.seq > $2
"""
_VOTES: Final = """
select a.agent_id, b.slug, i.item_id, v.value, v.seq
from votes v
join boards b on b.id = v.board_id join items i on i.id = v.item_id join agents a on a.id = v.agent_id
where b.slug = any($1::text[])
"""
_KEPT: Final = """
select b.slug, i.item_id, bi.points, bi.up_votes, bi.down_votes
from board_items bi join boards b on b.id = bi.board_id join items i on i.id = bi.item_id
where b.slug = any($1::text[])
"""


async def last_seq(laboratory: Laboratory) -> int:
    """The last event of the shard."""
    return (await laboratory.live.position(SHARD)).seq


async def quiet(laboratory: Laboratory) -> str | None:
    """Returns when all servers are ready and the archive has everything; answers what did not become so in time."""
    problem = "nothing was asked"
    with suppress(TimeoutError):
        async with asyncio.timeout(QUIET_WITHIN), httpx.AsyncClient(timeout=5.0) as client:
            while problem := await _disquiet(laboratory, client):
                await asyncio.sleep(_POLL)
            return None
    return problem


async def _disquiet(laboratory: Laboratory, client: httpx.AsyncClient) -> str:
    try:
        position = await laboratory.live.position(SHARD)
        rows = await laboratory.query("select epoch, seq from flush_positions where shard = $1", SHARD)
        archived = tuple(rows[0]) if rows else (position.epoch, 0)
        if not position.ready or (position.epoch, position.seq) != archived:
            return f"the live store is at {position}, the archive at {archived}"
        for server in laboratory.servers:
            answer = await client.get(f"{server.url}/health/ready")
            if not answer.is_success:
                return f"{server.name} is not ready: {answer.text}"
    except (StorageError, OSError, httpx.HTTPError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def gather_facts(
    laboratory: Laboratory, ballots: Ballots, watchers: Sequence[Watcher], began: int, announced: int, *, may_lose: bool
) -> Facts:
    """All that `judge` wants to know."""
    slugs = list(ballots[:2])
    query = laboratory.query
    position = await laboratory.live.position(SHARD)
    epoch = str(position.epoch)
    shown = await _shown(laboratory.servers, slugs)
    return Facts(
        ballots=ballots,
        began=began,
        epoch=epoch,
        live_seq=position.seq,
        seqs=[row[0] for row in await query("select seq from vote_events where shard = $1 and seq > $2", SHARD, began)],
        announced=announced,
        may_lose=may_lose,
        events=[
            Event(seq, at, Key(*key), value, previous, points)
            for seq, at, *key, value, previous, points in await query(_EVENTS, slugs, began)
        ],
        votes={Key(*key): (value, seq) for *key, value, seq in await query(_VOTES, slugs)},
        live=await _live_ballots(laboratory, slugs),
        kept={(board, item): (points, up, down) for board, item, points, up, down in await query(_KEPT, slugs)},
        shown=shown,
        screens=[await _screen(watcher, shown, epoch) for watcher in watchers],
        now=datetime.now(UTC),
    )


async def _live_ballots(laboratory: Laboratory, slugs: Sequence[str]) -> dict[Key, int]:
    agents = await laboratory.query("select id, agent_id from agents order by id")
    items = dict(map(tuple, await laboratory.query("select id, item_id from items")))
    boards = await laboratory.query("select id, slug from boards where slug = any($1::text[])", slugs)
    found: dict[Key, int] = {}
    for board, slug in boards:
        held = await laboratory.live.ballots(SHARD, board, [agent["id"] for agent in agents])
        for (_, name), ballots in zip(agents, held, strict=True):
            found |= {Key(name, slug, items[item]): value for item, (value, _) in ballots.items()}
    return found


async def _shown(servers: Sequence[Server], slugs: Sequence[str]) -> dict[tuple[str, str, str], list[Shown]]:
    async with httpx.AsyncClient(timeout=10.0) as client:
        found = {}
        for server in servers:
            for slug in slugs:
                for window in WINDOWS:
                    answer = await client.get(
                        f"{server.url}/api/v1/boards/{slug}", params={"window": window, "limit": 1000}
                    )
                    # A server that is ready must answer; no rows are a difference.
                    entries = answer.json()["entries"] if answer.is_success else []
                    found[server.name, slug, window] = [_row(entry) for entry in entries]
    return found


def _row(entry: dict[str, Any]) -> Shown:
    points = round(entry["score"] * 100)
    return Shown(entry["item_id"], entry["rank"], points, entry["up_votes"], entry["down_votes"])


async def _screen(watcher: Watcher, shown: dict[tuple[str, str, str], list[Shown]], epoch: str) -> Screen:
    """A subscriber, once it shows what servers show, or after some seconds without."""
    rows = next(rows for (_, board, window), rows in shown.items() if (board, window) == (watcher.board, "all"))
    await watcher.shows(epoch, digest({row.item: row.points / 100 for row in rows}), _SHOWN_WITHIN)
    return Screen(watcher.board, watcher.broken, watcher.epoch, watcher.digest)
