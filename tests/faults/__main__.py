"""make chaos: faults for as long as is asked for, on a schedule that follows from the seed alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import click

from tests.faults.faults import Fault
from tests.faults.laboratory import Laboratory
from tests.faults.rounds import FAULTS, Report, play

ROUNDS: Final = 20
"""Rounds in one laboratory, which is then verified and made anew."""

VOTERS: Final = 100
RATE: Final = 2000.0
_MIXED: Final = 0.25
_SHOWN: Final = 5


@dataclass(slots=True)
class Tally:
    """Sums over all rounds; those in which the live store lost its data are counted apart, as `forfeited`."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    diverged: int = 0
    forfeited: int = 0
    untold: int = 0

    def add(self, report: Report) -> None:
        """Counts a round."""
        verdict = report.verdict
        self.rounds += 1
        self.faults.update(report.kinds)
        self.acknowledged += report.acknowledged
        self.lost += len(verdict.lost)
        self.doubled += len(verdict.doubled)
        self.diverged += len(verdict.diverged)
        self.forfeited += verdict.forfeited
        self.untold += verdict.untold


def schedule(random: Random, faults: Sequence[Fault]) -> Iterator[list[Fault]]:
    """Every fault in turn, in ever new orders; some rounds have two or three at once."""
    while True:
        for fault in random.sample(faults, len(faults)):
            others = [other for other in faults if other.target != fault.target]
            chosen = [fault]
            while others and random.random() < _MIXED:
                chosen.append(random.choice(others))
                others = [other for other in others if other.target != chosen[-1].target]
            yield chosen


async def run(seconds: float, seed: int, only: Sequence[str], *, durable: bool, keep: Path | None = None) -> Tally:
    """Plays rounds until the time is over."""
    tally = Tally()
    random = Random(seed)
    faults = [fault for fault in FAULTS if not only or fault.kind in only]
    rounds = schedule(random, faults)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with tempfile.TemporaryDirectory(prefix="plaudit-", ignore_cleanup_errors=True) as folder:
            async with Laboratory(Path(folder), random, durable=durable, voters=VOTERS, rate=RATE) as laboratory:
                for _ in range(ROUNDS):
                    if time.monotonic() >= ends:
                        break
                    if not await _play(laboratory, next(rounds), Random(random.random()), tally):
                        if keep is not None:
                            _keep_logs(laboratory, keep / f"round-{tally.rounds}")
                        # What is broken once would spoil every round that follows.
                        break
                tally.diverged += await _verify(laboratory)
    return tally


async def _play(laboratory: Laboratory, faults: Sequence[Fault], random: Random, tally: Tally) -> bool:
    try:
        report = await play(laboratory, faults, random, patience=1.0)
    except Exception:  # noqa: BLE001 - a round that could not be played to its end proves nothing
        click.echo(f"BROKEN OFF  {' + '.join(fault.kind for fault in faults)}\n{traceback.format_exc()}")
        tally.diverged += 1
        return False
    tally.add(report)
    verdict = report.verdict
    click.echo(
        f"round {tally.rounds:3}  {report.seconds:5.1f} s  {report.acknowledged:6} acknowledged  "
        f"{verdict.untold:4} untold  {verdict.forfeited:4} forfeited  "
        f"{'ok' if verdict.clean else 'BROKEN'}  {' + '.join(report.kinds)}"
    )
    for name in ("lost", "doubled", "diverged"):
        for line in getattr(verdict, name)[:_SHOWN]:
            click.echo(f"    {name}: {line[:600]}")
    for line in report.errors[:_SHOWN]:
        click.echo(f"    log: {line}")
    return verdict.clean


def _keep_logs(laboratory: Laboratory, folder: Path) -> None:
    folder.mkdir(parents=True)
    for log in [*laboratory.folder.glob("*.log"), *laboratory.folder.glob("stores/*.log")]:
        shutil.copy(log, folder)


async def _verify(laboratory: Laboratory) -> int:
    """`plaudit verify` over all that was voted in a laboratory; answers 1 where it finds a difference."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from app.cli import main; main()", "verify"),
        env=os.environ | {"DATABASE_URL": laboratory.stores.database_url, "REDIS_URL": laboratory.stores.redis_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode:
        click.echo(f"plaudit verify: {errors.decode()}")
    return int(bool(process.returncode))


def _table(tally: Tally) -> str:
    rows = [("fault", "rounds"), *sorted(tally.faults.items())]
    return "\n".join(f"{kind:24} {count:>6}" for kind, count in rows)


@click.command
@click.option("--seconds", type=float, default=1200.0, show_default=True)
@click.option("--seed", type=int, default=None, help="Of the schedule; a new one without it.")
@click.option("--only", multiple=True, type=click.Choice([fault.kind for fault in FAULTS]))
@click.option("--durable/--fast", default=True, help="With fsync, or without.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder for servers' logs of rounds that break a promise."
)
def main(seconds: float, seed: int | None, only: Sequence[str], durable: bool, keep: Path | None) -> None:
    """Tries to lose a vote, or to count one twice."""
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    click.echo(f"seed {seed}")
    tally = Tally()
    with suppress(KeyboardInterrupt):
        tally = asyncio.run(run(seconds, seed, only, durable=durable, keep=keep))
    click.echo(_table(tally))
    names = ("acknowledged", "lost", "doubled", "diverged", "forfeited", "untold")
    summary = {"seed": seed, "rounds": tally.rounds, "faults": dict(tally.faults)}
    click.echo(json.dumps(summary | {name: getattr(tally, name) for name in names}))
    raise SystemExit(0 if tally.rounds and not (tally.lost or tally.doubled or tally.diverged) else 1)


if __name__ == "__main__":
    main()
