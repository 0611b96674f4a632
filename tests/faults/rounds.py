"""One round: votes, a fault among them, quiet, and the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from storage.tasks import end
from tests.faults import archive, clients, clock, network, processes, stores
from tests.faults.audit import LOST, gather_facts, last_seq, quiet
from tests.faults.faults import Fault, Scene
from tests.faults.judge import Verdict, judge
from tests.faults.laboratory import Laboratory
from tests.faults.watcher import Watcher

FAULTS: Final = (*processes.FAULTS, *stores.FAULTS, *archive.FAULTS, *network.FAULTS, *clients.FAULTS, *clock.FAULTS)

_BEFORE: Final = 0.1  # of a second's votes, at least
_BACK_WITHIN: Final = 40.0
_ANSWERED_WITHIN: Final = 40.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a round.

    `sent` counts votes with every time that one was sent again, in `voting` of all `seconds`; `errors` are lines of
    servers' logs that nobody should have to read.
    """

    kinds: Sequence[str]
    verdict: Verdict
    acknowledged: int
    sent: int
    announced: int
    seconds: float
    voting: float
    errors: Sequence[str]


async def play(laboratory: Laboratory, faults: Sequence[Fault], random: Random, patience: float) -> Report:
    """Plays one round with all the faults at once."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    scene = Scene(laboratory, random, patience, alone=len(faults) == 1)
    laboratory.complaints.clear()
    began = await last_seq(laboratory)
    ballots = await laboratory.boards()
    watchers = [Watcher(board, "all", laboratory.pick) for board in ballots[:2] for _ in range(2)]
    watching = [asyncio.create_task(watcher.run()) for watcher in watchers]
    memory = laboratory.load.begin(ballots)
    begun = loop.time()
    try:
        await scene.votes(100, _BACK_WITHIN)
        await scene.last(0.1, 1.0)
        told = await asyncio.gather(*(fault.strike(scene) for fault in faults))
        if not await scene.votes(100, _BACK_WITHIN):
            scene.complain("no votes are taken after all was healed")
        stuck = await laboratory.load.finish(_ANSWERED_WITHIN)
        voting = loop.time() - begun
        if problem := await quiet(laboratory):
            scene.complain(problem)
        announced, errors = _heard(laboratory)
        facts = await gather_facts(
            laboratory, ballots, watchers, began, announced, may_lose=any(fault.may_lose for fault in faults)
        )
        facts.stuck = stuck
    finally:
        await end(*watching)
    verdict = judge(facts, memory)
    verdict.diverged[:0] = laboratory.complaints
    if verdict.untold and all(fault.tells_all for fault in faults):
        verdict.diverged.append(f"{verdict.untold} votes were counted without an answer")
    return Report(
        kinds=[f"{fault.kind} ({how})" if how else fault.kind for fault, how in zip(faults, told, strict=True)],
        verdict=verdict,
        acknowledged=memory.acks,
        sent=sum(1 for _ in memory.all()),
        announced=announced,
        seconds=loop.time() - started,
        voting=voting,
        errors=errors,
    )


def _heard(laboratory: Laboratory) -> tuple[int, list[str]]:
    """How many lost votes the servers announced, and their other errors."""
    announced = 0
    errors = []
    for server in laboratory.servers:
        for line in server.said():
            if str(line.get("event")).startswith(LOST):
                announced += line["lost"]
            elif line.get("level") in {"error", "critical"}:
                errors.append(f"{server.name}: {line}")
    return announced, errors
