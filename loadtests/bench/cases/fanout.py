"""Deltas to many viewers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import msgspec

from loadtests.bench.child import Child, child
from loadtests.bench.clients.bursts import Burst
from loadtests.bench.clients.viewers import Ages
from loadtests.bench.figures import Case, Measurement, median, ratios
from loadtests.bench.lab import Installation, Lab, Server, Usage

VIEWERS: Final = 5000
ITEMS: Final = 200
RATE: Final = 12
WIDTH: Final = 20
RULES: Final = {"ballot": "points", "minimum": 0, "maximum": 30_000, "ballots_change": True}
_ROUNDS: Final = 9
_SECONDS: Final = 2.0
_MERGED: Final = 0.01

TICKS: Final = 5 * RATE
"""A room shows a change at once if the last was handed out over one and a half intervals ago: so bursts wait for no
tick, also where handing one out takes most of the time to the next."""


class Shown(msgspec.Struct, frozen=True):
    """Deliveries of some seconds, and the server's CPU."""

    ages: Ages
    cpu: float
    client: float
    refused: int

    @property
    def each(self) -> float:
        """Microseconds of the server's CPU for a delivery."""
        return self.cpu / max(self.ages.deliveries, 1) * 1e6


async def shown(viewers: Child, source: Child, usage: Usage, **pace: float) -> Shown:
    """Lets `source` make boards change while `viewers` note what they are shown."""
    await viewers.call("start", None.__class__)
    before = usage.seconds()
    burst = await source.call("run", Burst, **pace)
    cpu = usage.seconds() - before
    client = await viewers.call("stop", float)
    return Shown(await viewers.call("ages", Ages, sent=burst.sent), cpu, client, burst.refused)


async def one_board(lab: Lab) -> Measurement:
    """5,000 viewers of one board, against a loop of writes of the same frame."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        await house.board("stage", ITEMS, **RULES)
        server = await stack.enter_async_context(house.serve(tick_rate=TICKS))
        viewers, source = await audience(stack, house, server, ["stage"], VIEWERS, WIDTH)
        bare = await stack.enter_async_context(child("floors.bare"))
        port = await bare.call("port", int)
        others = await stack.enter_async_context(
            child("clients.viewers", port=port, boards=["stage"], each=VIEWERS, greet=False)
        )
        runs, floors = [], []
        await shown(viewers, source, server.usage(), seconds=1.0, rate=RATE)
        for _ in range(_ROUNDS):
            floors.append(await shown(others, bare, Usage(bare.pid), seconds=_SECONDS, rate=RATE, width=WIDTH))
            runs.append(await shown(viewers, source, server.usage(), seconds=_SECONDS, rate=RATE))
    ratio, p99 = (
        ratios([run.each for run in runs], [run.each for run in floors]),
        median([r.ages.latencies.p99 for r in runs]),
    )
    best = median([run.ages.latencies.p99 for run in floors])
    return Measurement(
        figure=f"{median([run.each for run in runs]):.2f} us CPU a delivery, p99 {p99:.0f} ms",
        floor=f"{median([run.each for run in floors]):.2f} us, p99 {best:.0f} ms",
        ratio=ratio,
        met=ratio <= 1.15 and p99 < 120 and median(merged(runs, VIEWERS)) <= _MERGED,
        notes=[
            f"{median([run.ages.deliveries for run in runs]) / _SECONDS:,.0f} deliveries/s",
            f"{runs[0].ages.size:,.0f} bytes a delta (floor {floors[0].ages.size:,.0f})",
            f"cores: server {median([run.cpu for run in runs]) / _SECONDS:.2f}",
            f"client {median([run.client for run in runs]) / _SECONDS:.2f}",
            *complaints(runs, VIEWERS),
        ],
        values={"us": [run.each for run in runs], "floors_us": [run.each for run in floors], "p99_ms": p99},
    )


def merged(runs: list[Shown], viewers: int) -> list[float]:
    """Parts of each run's bursts that were shown together with a later one."""
    expected = viewers * RATE * _SECONDS
    return [1 - run.ages.deliveries / expected for run in runs]


def complaints(runs: list[Shown], viewers: int) -> list[str]:
    """Notes of what should not have happened."""
    most = max(merged(runs, viewers))
    refused = sum(run.refused for run in runs)
    return [
        *([f"{most:.0%} of the bursts of a round were shown together with a later one"] if most > _MERGED else []),
        *([f"REFUSED: {refused} votes"] if refused else []),
    ]


async def audience(
    stack: AsyncExitStack, house: Installation, server: Server, boards: list[str], each: int, width: int
) -> tuple[Child, Child]:
    """Viewers of boards, and who makes those change."""
    (key,) = await house.agents(1)
    viewers = await stack.enter_async_context(child("clients.viewers", port=server.port, boards=boards, each=each))
    source = await stack.enter_async_context(
        child("clients.bursts", port=server.port, key=key, boards=boards, width=width)
    )
    return viewers, source


async def many_boards(lab: Lab) -> Measurement:
    """200 boards with 25 viewers each, against one board with all of them."""
    boards, width = [f"stage{n}" for n in range(200)], 1
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        for slug in ("stage", *boards):
            await house.board(slug, 60, **RULES)
        server = await stack.enter_async_context(house.serve(tick_rate=TICKS))
        viewers, source = await audience(stack, house, server, boards, VIEWERS // len(boards), width)
        others, one = await audience(stack, house, server, ["stage"], VIEWERS, width)
        runs, floors = [], []
        await shown(viewers, source, server.usage(), seconds=1.0, rate=RATE)
        for _ in range(_ROUNDS):
            floors.append(await shown(others, one, server.usage(), seconds=_SECONDS, rate=RATE))
            runs.append(await shown(viewers, source, server.usage(), seconds=_SECONDS, rate=RATE))
    ratio = ratios([run.each for run in runs], [run.each for run in floors])
    return Measurement(
        figure=f"{median([run.each for run in runs]):.2f} us CPU a delivery, "
        f"p99 {median([r.ages.latencies.p99 for r in runs]):.0f} ms",
        floor=f"{median([run.each for run in floors]):.2f} us",
        ratio=ratio,
        met=ratio <= 1.5,
        notes=[
            f"{runs[0].ages.size:,.0f} bytes a delta (one board {floors[0].ages.size:,.0f})",
            f"in the figure: {len(boards) * RATE:,} reads and encodings, {len(boards) * width * RATE:,} votes a second",
            *complaints(runs, VIEWERS),
        ],
        values={"us": [run.each for run in runs], "floors_us": [run.each for run in floors]},
    )


CASES: Final = (
    Case("fan-out", "5,000 viewers of one board, 12 deltas/s", "CPU a delivery <= 1.15 x; p99 < 120 ms", one_board),
    Case("boards", "200 boards, 25 viewers each, all changing", "CPU a delivery <= 1.5 x", many_boards),
)
