"""One of two servers has a wrong clock."""

from __future__ import annotations

from typing import Final

from tests.faults.faults import Fault, Scene

_HOUR: Final = 3_600_000


async def ahead(scene: Scene) -> None:
    """An hour forwards, and back."""
    await _step(scene, _HOUR)


async def behind(scene: Scene) -> None:
    """An hour backwards, and forth."""
    await _step(scene, -_HOUR)


async def _step(scene: Scene, milliseconds: int) -> None:
    scene.laboratory.step_clock(milliseconds)
    await scene.last(0.5, 2.0)
    scene.laboratory.step_clock(0)


FAULTS: Final = (Fault("clock", "clock ahead", ahead), Fault("clock", "clock behind", behind))
