"""The proof for single ballots: what agents hold in the live store, in the archive, and by their events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from storage.archive import Archive, Connection
from storage.ledger import Ledger
from storage.live import LiveStore
from storage.types import Board

_AGENTS: Final = 500
_TRIES: Final = 5
_SHOWN: Final = 20

Held = Mapping[int, tuple[int, int]]
"""An agent's ballots: item number -> (value, weight)."""


async def against_events(archive: Archive, connection: Connection, board: Board) -> list[str]:
    """The first ballots of the archive that are not what their last event says, in words."""
    return [
        f"archive: the ballot of agent {row['agent_id']} on {row['item_id']} is kept as {row['kept']}, "
        f"its last event says {row['told']}"
        async for row in archive.queries.stray_ballots(connection, shard=board.shard, board=board.number, limit=_SHOWN)
    ]


async def against_archive(live: LiveStore, archive: Archive, board: Board) -> list[str]:
    """The first ballots that the live store holds otherwise than the archive, in words.

    Of every agent that has one in the archive. Votes may come in meanwhile: a ballot differs if it does so again and
    again, with the archive up to date. Raises StorageError where a store is away.
    """
    suspects: list[int] = []
    async with (
        archive.transaction(patient=True) as connection,
        archive.queries.ballots_of_shard_cursor(connection, boards=[board.number]) as cursor,
    ):
        portion: dict[int, Held] = {}
        async for row in cursor:
            portion[row["agent_id"]] = _held(row)
            if len(portion) == _AGENTS:
                suspects += await _differing(live, board, portion)
                portion = {}
        suspects += await _differing(live, board, portion)
    found: list[str] = []
    for start in range(0, len(suspects), _AGENTS):
        found += await _confirmed(live, archive, board, suspects[start : start + _AGENTS])
        if len(found) >= _SHOWN:
            break
    return found[:_SHOWN]


async def _differing(live: LiveStore, board: Board, kept: Mapping[int, Held]) -> list[int]:
    found = await live.ballots(board.shard, board.number, list(kept))
    return [agent for agent, held in zip(kept, found, strict=True) if held != kept[agent]]


async def _confirmed(live: LiveStore, archive: Archive, board: Board, suspects: list[int]) -> list[str]:
    """What still differs, agent by agent, when they are looked at one more time, and again."""
    agents = suspects
    differences: list[str] = []
    for _ in range(_TRIES):
        if not agents:
            return []
        found = dict(zip(agents, await live.ballots(board.shard, board.number, agents), strict=True))
        await Ledger(archive).reached(board.shard, (await live.position(board.shard)).seq)
        async with archive.connection() as connection:
            kept: dict[int, Held] = {
                row["agent_id"]: _held(row)
                async for row in archive.queries.ballots_of_agents(connection, board=board.number, agents=agents)
            }
        differences = [line for agent in agents for line in _differences(agent, found[agent], kept.get(agent, {}))]
        agents = [agent for agent in agents if found[agent] != kept.get(agent, {})]
    return differences


def _differences(agent: int, found: Held, kept: Held) -> Iterator[str]:
    for item in sorted(found.keys() | kept.keys()):
        if found.get(item) != kept.get(item):
            yield f"live: agent {agent} holds {found.get(item)} on item {item}, in the archive {kept.get(item)}"


def _held(row: Any) -> Held:
    return dict(zip(row["items"], zip(row["ballot_values"], row["weights"], strict=True), strict=True))
