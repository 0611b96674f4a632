"""A furnished installation: one tenant in both stores, a clock that a test moves, and votes that go all the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.archive import Archive
from storage.batches import outcomes_of, pack_batch
from storage.boards import Boards, NewBoard
from storage.catalogue import Catalogue, Song
from storage.directory import Directory
from storage.flusher import Flusher
from storage.ledger import Ledger
from storage.live import LiveStore
from storage.pipe import ApplyPipe
from storage.recovery import Recovery
from storage.types import WINDOWS, Board, Known, Outcome, Query, Ranking, Row, Tenant, TopView, Vote, Window
from storage.verify import verify_shard
from tests.storage.shard import NOON

SONGS = ("aria", "Blues", "chanson", "déjà", "elegy", "fugue")
AGENTS = ("ann", "bob", "cyd", "dee")


@dataclass
class House:
    live: LiveStore
    archive: Archive
    tenant: Tenant
    songs: Board
    contest: Board
    """Takes points from -12 to 12 that may be changed, half of them from agents on the free tier; no `week`."""
    agents: dict[str, int]
    known: Known
    recovery: Recovery
    now: int = NOON
    batches: int = 0
    pipe: ApplyPipe = field(init=False)

    def __post_init__(self) -> None:
        self.pipe = self.live.pipe(self.shard)
        self.recovery = Recovery(self.live, self.archive, lambda: self.now)

    @classmethod
    async def furnished(cls, live: LiveStore, archive: Archive) -> House:
        directory, boards, catalogue = Directory(archive), Boards(archive), Catalogue(archive)
        tenant, (songs, _) = await directory.add_tenant("default", 4)
        rules = NewBoard(
            slug="contest",
            title="Contest",
            item_type="song",
            ballot="points",
            minimum=-12,
            maximum=12,
            ballots_change=True,
            windows=("all", "day", "month", "trending"),
            weights={"free": 50},
        )
        (contest,) = await boards.add(tenant, [rules])
        recovery = Recovery(live, archive, lambda: NOON)
        known = await recovery.ensure(tenant.shard)
        items = await catalogue.add(tenant, songs, [song(name) for name in SONGS])
        await live.add_items(songs, items, NOON)
        await live.add_items(contest, await boards.add_items(contest, SONGS), NOON)
        issued = await directory.add_agents(tenant, [(name, "free") for name in AGENTS])
        agents = {key.agent.agent_id: key.agent.number for key in issued}
        await Ledger(archive).ensure_partitions(NOON)
        return cls(live, archive, tenant, songs, contest, agents, known, recovery)

    @property
    def shard(self) -> int:
        return self.tenant.shard

    def vote(self, agent: str, item: str, value: int | None, board: Board | None = None, **more: Any) -> Vote:
        """On `songs` unless told otherwise."""
        rules = board or self.songs
        return Vote(rules, self.agents[agent], item, value, 100, rules.weight_of("free"), **more)

    async def cast(self, *votes: Vote) -> list[Outcome]:
        """Applies one batch, as a server does that knows the live state."""
        self.batches += 1
        await self.pipe.connect()
        try:
            await self.pipe.send(pack_batch("house:0", self.batches, self.known, 10**6, self.now, votes))
            reply = await self.pipe.receive()
        finally:
            await self.pipe.close()
        assert reply.reason == "ok", reply.reason
        return outcomes_of(reply)

    def flusher(self) -> Flusher:
        return Flusher(self.shard, self.live, self.archive)

    async def flush(self) -> None:
        await self.flusher().flush_all()

    async def rankings(self) -> dict[tuple[str, Window], list[Row]]:
        """Every window of both boards."""
        places = [(board, window) for board in (self.songs, self.contest) for window in WINDOWS]
        found = await self.live.read(
            self.shard, [Query(board.number, window, TopView(100)) for board, window in places]
        )
        return {
            (board.slug, window): [] if ranking is None else ranking.rows
            for (board, window), ranking in zip(places, found, strict=True)
        }

    async def ranking(self, board: Board, window: Window) -> Ranking:
        (ranking,) = await self.live.read(self.shard, [Query(board.number, window, TopView(100))])
        assert ranking is not None
        return ranking

    async def ballots(self) -> list[list[dict[int, tuple[int, int]]]]:
        agents = list(self.agents.values())
        return [await self.live.ballots(self.shard, board.number, agents) for board in (self.songs, self.contest)]

    async def fetch(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of the archive."""
        async with self.archive.connection() as connection:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]

    async def execute(self, statement: str, *arguments: object) -> None:
        async with self.archive.connection() as connection:
            await connection.execute(statement, *arguments)


def song(name: str, **more: Any) -> Song:
    return Song(name, **({"title": name, "artist": "Nobody", "platform": "suno", "platform_url": "https://x"} | more))


def votes_of_all(house: House, board: Board, values: Sequence[int]) -> list[Vote]:
    """Every agent on every song, the values in turn."""
    pairs = [(agent, item) for agent in house.agents for item in SONGS]
    return [house.vote(agent, item, values[n % len(values)], board) for n, (agent, item) in enumerate(pairs)]


async def audit(house: House, events: int) -> None:
    """Asserts that the archive has so many events, each once, and that all else in it follows from them."""
    kept = await house.fetch("select * from vote_events where shard = $1 order by seq", house.shard)
    assert [row[1] for row in kept] == list(range(1, events + 1))
    ballots: dict[tuple[int, int, int], tuple[Any, ...]] = {}
    counts: dict[tuple[int, int], list[int]] = {}
    for _, seq, at, board, item, agent, weight, points, value, previous, comment in kept:
        place = agent, board, item
        assert previous == (ballots[place][0] if place in ballots else None)
        if value is None:
            del ballots[place]
        else:
            ballots[place] = value, weight, seq, at, comment
        counted = counts.setdefault((board, item), [0, 0, 0])
        counted[0] += ((value or 0) > 0) - ((previous or 0) > 0)
        counted[1] += ((value or 0) < 0) - ((previous or 0) < 0)
        counted[2] += points
    votes = await house.fetch(
        "select agent_id, board_id, item_id, value, weight, seq, voted_at, comment from votes order by seq"
    )
    assert {(row[0], row[1], row[2]): row[3:] for row in votes} == ballots
    standings = await house.fetch("select board_id, item_id, up_votes, down_votes, points, score from board_items")
    assert all(row[5] * 100 == row[4] for row in standings)
    found = {(board, item): [*rest] for board, item, *rest, _ in standings}
    assert found == {place: [0, 0, 0] for place in found} | counts
    positions = await house.fetch("select epoch, seq from flush_positions where shard = $1", house.shard)
    assert positions == [(house.known.epoch, events)]


async def assert_verified(house: House) -> None:
    reports = await verify_shard(house.live, house.archive, house.shard)
    assert len(reports) == 3
    for report in reports:
        assert report.differences == ()
        assert report.events_digest == report.archive_digest == report.live_digest


def losses(logs: list[Any]) -> list[int]:
    """What was said to be lost, each time."""
    return [line["lost"] for line in logs if line["log_level"] == "error" and "lost" in line]


async def restart(house: House) -> None:
    """Makes the live store look as if it had come back since it was compared with the archive."""
    await house.live._redis.hset(f"{house.live.tag(house.shard)}:meta", "run", "another life")
