"""make chaos: nonsense by the million, then faults for as long as is asked for. The last line is JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from tests.faults.nonsense import talk_nonsense
from tests.faults.playing import EVERY_FAULT, Run


@click.command
@click.option("--seconds", type=float, default=1200.0, show_default=True, help="For which faults strike.")
@click.option("--seed", type=int, default=None, help="Of the schedule; a new one without it.")
@click.option("--nonsense", type=int, default=0, show_default=True, help="Messages that a server gets before.")
@click.option("--only", multiple=True, type=click.Choice([fault.kind for fault in EVERY_FAULT]))
@click.option("--durable/--fast", default=True, help="With fsync, or without.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder for servers' logs of rounds that break a promise."
)
def main(
    seconds: float, seed: int | None, nonsense: int, only: Sequence[str], durable: bool, keep: Path | None
) -> None:
    """Tries to lose a vote, or to count one twice."""
    # Told to end by whoever runs it, it ends its servers and stores first, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    click.echo(f"seed {seed}")
    result = talk_nonsense(nonsense, seed) if nonsense else None
    run = Run(seed, durable=durable, keep=keep)
    with suppress(KeyboardInterrupt):
        asyncio.run(run.play(seconds, only))
    click.echo(run.tally.table())
    more = {} if result is None else {"nonsense": result.figures}
    click.echo(json.dumps({"seed": seed, **run.tally.summary(), **more}))
    raise SystemExit(0 if run.tally.clean and (result is None or result.clean) else 1)


if __name__ == "__main__":
    main()
