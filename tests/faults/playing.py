"""Round after round, on a schedule that follows from the seed alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Final

import click

from tests.faults import failover
from tests.faults.faults import Fault
from tests.faults.laboratory import Laboratory
from tests.faults.rounds import FAULTS, play
from tests.faults.tally import Tally

ROUNDS: Final = 20
"""Rounds in one laboratory, which is then verified and made anew."""

FAILOVERS: Final = 2
"""Rounds in a laboratory with a replica, which comes before each of the others."""

EVERY_FAULT: Final = (*failover.FAULTS, *FAULTS)

VOTERS: Final = 100
RATE: Final = 2000.0
LONG: Final = 600.0
"""Seconds from which on a run has room for faults that last minutes."""

_MIXED: Final = 0.25
_SHOWN: Final = 5


def make_schedule(random: Random, faults: Sequence[Fault]) -> Iterator[list[Fault]]:
    """Every fault in turn, in ever new orders, some with one or two others. Rare ones come first, and once."""
    yield from ([fault] for fault in faults if fault.rare)
    faults = [fault for fault in faults if not fault.rare] or faults
    while True:
        for fault in random.sample(faults, len(faults)):
            others = [other for other in faults if other.target != fault.target]
            chosen = [fault]
            while others and random.random() < _MIXED:
                chosen.append(random.choice(others))
                others = [other for other in others if other.target != chosen[-1].target]
            yield chosen


class Run:
    """Plays rounds, and sums them up in `tally`. `keep` is where logs go of rounds that break a promise."""

    def __init__(self, seed: int, *, durable: bool, keep: Path | None) -> None:
        self.tally = Tally()
        self._random = Random(seed)
        self._durable = durable
        self._keep = keep

    async def play(self, seconds: float, only: Sequence[str]) -> None:
        """Plays until the time is over, nothing but the faults `only` where there are some."""
        wanted = [
            (kind, make_schedule(self._random, faults), rounds)
            for kind, all_faults, rounds in (
                (failover.ReplicatedLaboratory, failover.FAULTS, FAILOVERS),
                (Laboratory, FAULTS, ROUNDS),
            )
            if (faults := [fault for fault in all_faults if _wanted(fault, only, seconds)])
        ]
        ends = time.monotonic() + seconds
        for kind, schedule, rounds in cycle(wanted):
            if time.monotonic() >= ends:
                break
            try:
                await self._play_some(kind, schedule, rounds, ends)
            except Exception:  # noqa: BLE001 - a laboratory that can't be opened or verified proves nothing
                self._broken_off("the laboratory")

    async def _play_some(
        self, kind: type[Laboratory], schedule: Iterator[list[Fault]], rounds: int, ends: float
    ) -> None:
        random = self._random
        with tempfile.TemporaryDirectory(prefix="plaudit-", ignore_cleanup_errors=True) as folder:
            async with kind(Path(folder), random, durable=self._durable, voters=VOTERS, rate=RATE) as laboratory:
                for _ in range(rounds):
                    if time.monotonic() >= ends:
                        break
                    if not await self._play_one(laboratory, next(schedule), Random(random.random())):
                        self._keep_logs(laboratory)
                        # What is broken once would spoil every round that follows.
                        break
                await self._verify(laboratory)

    async def _play_one(self, laboratory: Laboratory, faults: Sequence[Fault], random: Random) -> bool:
        try:
            report = await play(laboratory, faults, random, patience=1.0)
        except Exception:  # noqa: BLE001 - a round that could not be played to its end proves nothing
            self._broken_off(" + ".join(fault.kind for fault in faults))
            return False
        self.tally.add(report)
        verdict = report.verdict
        click.echo(
            f"round {self.tally.rounds:3}  {report.seconds:5.1f} s  {report.acknowledged:6} acknowledged  "
            f"{verdict.untold:4} untold  {verdict.forfeited:4} forfeited  "
            f"{'ok' if verdict.clean else 'BROKEN'}  {' + '.join(report.kinds)}"
        )
        for name in ("lost", "doubled", "diverged"):
            for line in getattr(verdict, name)[:_SHOWN]:
                click.echo(f"    {name}: {line[:600]}")
        for line in report.errors[:_SHOWN]:
            click.echo(f"    log: {line}")
        return verdict.clean

    def _broken_off(self, what: str) -> None:
        click.echo(f"BROKEN OFF  {what}\n{traceback.format_exc()}")
        self.tally.diverged += 1

    def _keep_logs(self, laboratory: Laboratory) -> None:
        if self._keep is None:
            return
        folder = self._keep / f"round-{self.tally.rounds}"
        folder.mkdir(parents=True, exist_ok=True)
        for log in [*laboratory.folder.glob("*.log"), *laboratory.folder.glob("stores/*.log")]:
            shutil.copy(log, folder)

    async def _verify(self, laboratory: Laboratory) -> None:
        """`plaudit verify` over all that was voted in a laboratory."""
        stores = {"DATABASE_URL": laboratory.stores.database_url, "REDIS_URL": laboratory.stores.redis_url}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from app.cli import main; main()", "verify"),
            env=os.environ | stores,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        if process.returncode:
            click.echo(f"plaudit verify: {errors.decode()}")
            self.tally.diverged += 1


def _wanted(fault: Fault, only: Sequence[str], seconds: float) -> bool:
    return fault.kind in only if only else seconds >= LONG or not fault.rare
