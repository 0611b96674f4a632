"""A short failover, and one more. `make chaos` plays them at length."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest

from storage.embedded import EmbeddedServers
from tests.faults.failover import FAULTS, ReplicatedLaboratory
from tests.faults.rounds import play
from tests.faults.test_rounds import PATIENCE


@pytest.mark.parametrize("seed", [1, 2])  # the primary dies; it is cut off
async def test_no_acknowledged_vote_is_lost_with_the_primary(servers: EmbeddedServers, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="plaudit-") as folder:
        async with ReplicatedLaboratory(Path(folder), Random(seed), durable=False, voters=20, rate=400.0) as laboratory:
            report = await play(laboratory, FAULTS, Random(seed), PATIENCE)
    verdict = report.verdict
    assert (verdict.lost[:3], verdict.doubled[:3], verdict.diverged[:3]) == ([], [], [])
    assert verdict.forfeited == report.announced == 0
    assert report.acknowledged >= 200
