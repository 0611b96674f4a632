"""Clients that go away without a word, in the middle of a word, all at once, or say everything five times."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.faults.faults import Fault, Scene
from tests.faults.memory import Cast, Key

_STORMS: Final = 4


async def half_open(scene: Scene) -> None:
    """Connections whose client is gone, and nobody told the server."""
    load = scene.laboratory.load
    for _, line in load.websockets:
        if scene.random.random() < 0.5 and (socket := line.forget()) is not None:
            socket.transport.pause_reading()
            load.zombies.append(socket)
    await scene.last(0.5, 3.0)


async def close_mid_batch(scene: Scene) -> None:
    """Connections that end in the middle of a frame of votes."""
    load = scene.laboratory.load
    ballots = load.ballots
    assert ballots is not None
    for voter, line in load.websockets:
        if scene.random.random() < 0.5:
            items = scene.random.sample(list(ballots.items), 12)
            casts = [Cast(Key(voter.name, ballots.free, item), scene.random.randint(1, 10)) for item in items]
            line.stammer(casts, load.memory)
    await scene.votes(50, 10.0)


async def reconnect_storm(scene: Scene) -> None:
    """Everybody leaves and comes back at once."""
    load = scene.laboratory.load
    for _ in range(_STORMS):
        lines = [line for _, line in load.websockets]
        for line in lines:
            line.drop()
        await asyncio.gather(*(line.connect() for line in lines))
        await scene.last(0.05, 0.5)


async def retries(scene: Scene) -> None:
    """Every vote is sent five times at once, over as many connections and any server."""
    for voter in scene.laboratory.load.voters:
        voter.insistent = True
    await scene.last(1.0, 3.0)


FAULTS: Final = (
    Fault("clients", "half-open clients", half_open),
    Fault("clients", "close mid-batch", close_mid_batch),
    Fault("clients", "reconnect storm", reconnect_storm),
    Fault("clients", "everything five times", retries),
)
