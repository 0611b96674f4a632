"""A short round of every fault. `make chaos` plays them at length, and several at once."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from storage.embedded import EmbeddedServers
from tests.faults.faults import Fault
from tests.faults.laboratory import Laboratory
from tests.faults.rounds import FAULTS, play

SEED = 20_261_121
PATIENCE = 0.1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laboratory(servers: EmbeddedServers) -> AsyncIterator[Laboratory]:
    """Stores of its own, since they will not be spared; skipped where there are none."""
    with tempfile.TemporaryDirectory(prefix="plaudit-") as folder:
        async with Laboratory(Path(folder), Random(SEED), durable=False, voters=20, rate=400.0) as opened:
            yield opened


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not fault.rare], ids=lambda fault: fault.kind.replace(" ", "-")
)
async def test_no_vote_is_lost_or_counted_twice(laboratory: Laboratory, fault: Fault) -> None:
    report = await play(laboratory, [fault], Random(f"{SEED} {fault.kind}"), PATIENCE)
    verdict = report.verdict
    assert (verdict.lost[:3], verdict.doubled[:3], verdict.diverged[:3]) == ([], [], [])
    assert report.acknowledged >= 200
    assert [error for error in report.errors if "a server process died" not in error] == []
