"""A million ballots: what they take up, how fast they are archived and rebuilt, and how soon a server is there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import msgspec
from redis.asyncio import Redis

from loadtests.bench.cases.votes import AGENTS, ITEMS, sustained
from loadtests.bench.child import child
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Case, Measurement
from loadtests.bench.floors.applying import Applying
from loadtests.bench.lab import SETTINGS, Installation, Lab, Server, forget, item_name, serve
from storage.archive import Archive
from storage.flusher import Flusher
from storage.types import Board, Vote

BALLOTS: Final = 1_000_000
VOTERS: Final = 20_000
_PORTION: Final = 50_000
_SAMPLE: Final = 2000
_READY: Final = 3.0
_PAGE: Final = "/api/v1/boards/bench?limit=50"
_ADMIN: Final = "bench-admin-key-of-our-own"
_REBUILT_WITHIN: Final = 110.0
_BLIND: Final = 0.25


class Million(msgspec.Struct):
    """An installation with a million ballots in it, and what it took to get them there."""

    house: Installation
    key: str
    ballots: float
    everything: float
    log: float
    flush_rate: float
    postgres: float
    tables: dict[str, float]


@asynccontextmanager
async def million(lab: Lab) -> AsyncIterator[Million]:
    """Casts the ballots through the apply script, then flushes them, so that each can be measured by itself."""
    async with lab.installation() as house:
        key = (await house.agents(VOTERS))[0]
        board = await house.board("bench", ITEMS)
        before = await lab.memory()
        applying = await Applying.open(house)
        for first in range(0, BALLOTS, _PORTION):
            await applying.rate(_votes(board, first), 1000)
        await applying.close()
        logged = await lab.memory()
        usage, began = lab.usage("postgres"), time.monotonic()
        await Flusher(house.tenant.shard, house.live, house.archive).flush_all()
        took = time.monotonic() - began
        yield Million(
            house=house,
            key=key,
            ballots=await _ballot_bytes(lab, house, board.number),
            everything=(await lab.memory() - before) / BALLOTS,
            log=(logged - await lab.memory()) / BALLOTS,
            flush_rate=BALLOTS / took,
            postgres=usage.seconds() / took,
            tables=await _tables(house.archive),
        )


def _votes(board: Board, first: int) -> list[Vote]:
    some = range(first, first + _PORTION)
    return [Vote(board, 1 + n % VOTERS, item_name(((n // VOTERS) * 7919 + n * 131) % ITEMS), 1) for n in some]


async def _ballot_bytes(lab: Lab, house: Installation, board: int) -> float:
    """Bytes a ballot of the hashes that hold them, their keys included, over a sample of agents."""
    async with Redis.from_url(lab.servers.redis_url) as store:
        names = [
            f"{house.live.tag(house.tenant.shard)}:v:{board}:{1 + n * (VOTERS // _SAMPLE)}" for n in range(_SAMPLE)
        ]
        sizes = [await store.memory_usage(name, samples=0) for name in names]
        counts = [await store.hlen(name) for name in names]
    return sum(size or 0 for size in sizes) / sum(counts)


async def _tables(archive: Archive) -> dict[str, float]:
    """Bytes a vote, table and indexes, of what the archive keeps of votes."""
    async with archive.connection() as connection:
        await connection.execute("vacuum analyze vote_events")
        rows = await connection.fetch(
            "select case when relname like 'vote_events%' then 'events' else 'ballots' end as what,"
            " sum(pg_table_size(oid)) as heap, sum(pg_indexes_size(oid)) as indexes"
            " from pg_class where relkind = 'r' and (relname like 'vote_events%' or relname = 'votes') group by 1"
        )
    return {f"{row['what']} {part}": float(row[part]) / BALLOTS for row in rows for part in ("heap", "indexes")}


async def live_store(lab: Lab) -> Measurement:
    """Memory of the live store."""
    made = await lab.keep(million)
    return Measurement(
        figure=f"{made.ballots:.1f} bytes a ballot; all but the log {made.everything:.1f}",
        met=made.ballots <= 16,
        notes=[f"the log takes {made.log:.0f} bytes a vote until it is in PostgreSQL"],
        values={"ballot_bytes": made.ballots, "store_bytes": made.everything, "log_bytes": made.log},
    )


async def archive(lab: Lab) -> Measurement:
    """Disk of the archive, and the flusher alone against the votes that a server takes."""
    made = await lab.keep(million)
    async with lab.installation() as other:
        await other.board("bench", ITEMS)
        run = await sustained(other)
    ratio = made.flush_rate / run.rate
    return Measurement(
        figure=f"{sum(made.tables.values()):.0f} bytes a vote; flusher {made.flush_rate:,.0f} votes/s",
        floor=f"{run.rate:,.0f} votes/s taken",
        ratio=ratio,
        met=ratio >= 2,
        notes=[
            "bytes a vote: " + ", ".join(f"{name} {size:.0f}" for name, size in sorted(made.tables.items())),
            f"PostgreSQL {made.postgres:.2f} cores while it flushed alone",
        ],
        values={"tables": made.tables, "flush_rate": made.flush_rate, "vote_rate": run.rate},
    )


async def rebuild(lab: Lab) -> Measurement:
    """A live store that loses everything while a server runs: how long until votes are taken, and who can read."""
    made = await lab.keep(million)
    reads: list[tuple[int, float]] = []
    async with made.house.serve() as server, _client(server, made.key) as client:
        await client.get(_PAGE)
        await forget(made.house.live, made.house.tenant.shard)
        began = time.monotonic()
        reading = asyncio.create_task(_read(client, reads))
        await _taken(client)
        took = time.monotonic() - began
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    answered = Counter(status for status, _ in reads)
    slowest = max(seconds for _, seconds in reads)
    return Measurement(
        figure=f"{BALLOTS / took:,.0f} ballots/s, boards read after {slowest:.1f} s, votes taken after {took:.1f} s",
        met=answered.keys() == {200} and slowest <= _BLIND * took,
        notes=[f"who reads waits until all items are there; reads meanwhile: {dict(answered)}"],
        values={"seconds": took, "reads": {str(status): count for status, count in answered.items()}},
    )


def _client(server: Server, key: str) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{server.port}"
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_REBUILT_WITHIN)


async def _read(client: httpx.AsyncClient, reads: list[tuple[int, float]]) -> None:
    """Reads the board again and again; notes what is answered and how soon."""
    while True:
        began = time.monotonic()
        given = await client.get(_PAGE)
        reads.append((given.status_code, time.monotonic() - began))
        await asyncio.sleep(0.02)


async def _taken(client: httpx.AsyncClient) -> None:
    """Votes until one is taken."""
    async with asyncio.timeout(_REBUILT_WITHIN):
        while True:
            vote = {"board": "bench", "item_id": item_name(4999), "vote": "up"}
            given = await client.post("/api/v1/vote", json=vote)
            if given.status_code < 500:
                return
            await asyncio.sleep(0.1)


async def start(lab: Lab) -> Measurement:
    """`plaudit serve` on data that is there, the start of its own stores included."""
    made = await lab.keep(million)
    async with made.house.serve() as server:
        alone = server.started
    environ = SETTINGS | {"PLAUDIT_DATA": str(lab.folder / "own"), "PLAUDIT_ADMIN_KEY": _ADMIN}
    async with serve(environ) as server:
        cast = await _fill(server)
    async with serve(environ) as server:
        whole = server.started
    return Measurement(
        figure=f"{whole:.1f} s with its own stores ({cast:,} ballots), {alone:.1f} s on stores that run (1,000,000)",
        met=max(whole, alone) <= _READY,
        values={"whole_s": whole, "server_s": alone, "ballots": cast},
    )


async def _fill(server: Server) -> int:
    """Gives a new installation songs and votes, all through its API; answers how many votes."""
    async with _client(server, _ADMIN) as client:
        for first in range(0, ITEMS, 1000):
            songs = [
                {
                    "id": item_name(n),
                    "title": "A song",
                    "artist": "An artist",
                    "platform": "suno",
                    "platform_url": "https://suno.example",
                }
                for n in range(first, first + 1000)
            ]
            (await client.post("/api/v1/songs", json=songs)).raise_for_status()
        agents = [{"agent_id": f"a{n}", "tier": "enterprise"} for n in range(AGENTS)]
        made = (await client.post("/api/v1/agents", json=agents)).raise_for_status().json()
    keys = [agent["api_key"] for agent in made]
    async with child("clients.voters", port=server.port, keys=keys, board="songs", items=ITEMS) as voters:
        return (await voters.call("run", VoteRun, seconds=3.0, in_flight=16)).acked


CASES: Final = (
    Case("live-store", "live store, 1,000,000 ballots of 20,000 agents", "<= 16 bytes a ballot", live_store),
    Case("archive", "archive of 1,000,000 votes", "flusher >= 2 x the votes taken", archive),
    Case("rebuild", "rebuild of 1,000,000 ballots", "no read refused, none waits for over a quarter", rebuild),
    Case("start", "start of `serve` on existing data", "<= 3 s", start),
)
