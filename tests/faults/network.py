"""The way between servers and a store: cut, silent, slow."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from tests.faults.faults import Fault, Scene
from tests.proxy import Proxy

_CUT_WITHIN: Final = 5.0


async def cut(scene: Scene) -> None:
    """Connections end in order, again and again."""
    for _ in range(3):
        _way(scene).cut()
        await scene.last(0.05, 0.5)


async def reset(scene: Scene) -> None:
    """Connections break off, again and again."""
    for _ in range(3):
        _way(scene).reset()
        await scene.last(0.05, 0.5)


async def black_hole(scene: Scene) -> None:
    """No packets, no error; what was sent into it arrives in the end."""
    way = _way(scene)
    way.silence()
    await scene.last(0.5, 10.0)
    if scene.random.random() < 0.5:
        way.reset()
    way.resume()


async def latency(scene: Scene) -> None:
    """Two hundred milliseconds each way."""
    way = _way(scene)
    way.slow(0.2)
    await scene.last(1.0, 4.0)
    way.slow()


async def trickle(scene: Scene) -> None:
    """A few bytes at a time."""
    way = _way(scene)
    way.slow(0.001, portion=scene.random.randint(1, 97))
    await scene.last(0.5, 2.0)
    way.slow()


async def cut_reply(scene: Scene) -> None:
    """A reply ends in the middle, and nobody knows whether the batch was applied or the transaction committed."""
    way = _way(scene)
    for _ in range(scene.random.randint(1, 5)):
        way.cut_replies()
        with suppress(TimeoutError):
            await asyncio.wait_for(way.replies_cut(), _CUT_WITHIN)
        await scene.votes(20, _CUT_WITHIN)


def _way(scene: Scene) -> Proxy:
    return scene.random.choice([scene.laboratory.valkey, scene.laboratory.postgres])


FAULTS: Final = (
    Fault("network", "cut", cut),
    Fault("network", "reset", reset),
    Fault("network", "black hole", black_hole),
    Fault("network", "latency", latency),
    Fault("network", "trickle", trickle),
    Fault("network", "cut reply", cut_reply),
)
