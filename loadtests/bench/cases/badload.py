"""What bad load does to the others: clients that stop reading, and more votes than can be taken."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from loadtests.bench.cases.fanout import ITEMS, RATE, RULES, TICKS, VIEWERS, WIDTH, audience, shown
from loadtests.bench.cases.votes import AGENTS, caught_up
from loadtests.bench.cases.votes import ITEMS as SONGS
from loadtests.bench.child import child
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Case, Measurement, median, ratios
from loadtests.bench.lab import Installation, Lab, Server

_STALLED: Final = VIEWERS // 100
_ROUNDS: Final = 4
_SECONDS: Final = 2.0
_FILLING: Final = 10
_DELIVERIES: Final = "plaudit_deliveries_total"
_VIEWERS: Final = 'plaudit_connections{kind="viewer"}'
_NOISE: Final = 1.25
_NOISE_MS: Final = 10.0
_OVER: Final = 2.0
_FLAT_MB: Final = 100
_PATIENT_MS: Final = 150


async def stalled(lab: Lab) -> Measurement:
    """The delays of 4,950 viewers while 50 others read nothing, and in turn those on a server without such."""
    async with AsyncExitStack() as stack:
        sides = []
        for _ in range(2):
            house = await stack.enter_async_context(lab.installation())
            await house.board("stage", ITEMS, **RULES)
            server = await stack.enter_async_context(house.serve(tick_rate=TICKS))
            viewers, source = await audience(stack, house, server, ["stage"], VIEWERS - _STALLED, WIDTH)
            await shown(viewers, source, server.usage(), seconds=1.0, rate=RATE)
            sides.append((server, viewers, source))

        async def p99(side: int, seconds: float = _SECONDS) -> float:
            server, viewers, source = sides[side]
            run = await shown(viewers, source, server.usage(), seconds=seconds, rate=RATE)
            return run.ages.latencies.p99

        troubled = sides[1][0]

        async def shows() -> float:
            """Frames that the server hands out for a burst, and that take their time to fill buffers."""
            before = await troubled.metric(_DELIVERIES)
            filling.append(await p99(1, 1.0))
            return (await troubled.metric(_DELIVERIES) - before) / RATE

        held = troubled.resident()
        await stack.enter_async_context(child("clients.stalled", port=troubled.port, board="stage", count=_STALLED))
        filling: list[float] = []
        # They are passed over once their buffers are full; what that costs the others is not hidden.
        while await shows() > VIEWERS - _STALLED and len(filling) < _FILLING:
            pass
        without, among = [], []
        for _ in range(_ROUNDS):
            without.append(await p99(0))
            among.append(await p99(1))
        held = troubled.resident() - held
        there = await troubled.metric(_VIEWERS)
    ratio = ratios(among, without)
    return Measurement(
        figure=f"p99 {median(among):.0f} ms with {_STALLED} of {VIEWERS:,} stalled",
        floor=f"{median(without):.0f} ms without",
        ratio=ratio,
        met=(ratio <= _NOISE or median(among) <= median(without) + _NOISE_MS) and there == VIEWERS,
        notes=[
            f"p99 by rounds: {_listed(without)} without",
            f"{_listed(filling)} while their buffers fill (a second each), then {_listed(among)}",
            f"at the end {there:,.0f} viewers are there",
            f"{held / _STALLED / 1024:.0f} KB of the server's memory for each",
        ],
        values={"without_ms": without, "filling_ms": filling, "viewers": there, "among_ms": among},
    )


def _listed(times: list[float]) -> str:
    return ", ".join(f"{one:.0f}" for one in times)


async def overload(lab: Lab) -> Measurement:
    """Twice the votes that can be taken: what is acknowledged meanwhile, and that all of it is kept."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        keys = await house.agents(AGENTS)
        await house.board("bench", SONGS)
        server = await stack.enter_async_context(house.serve())
        voters, polite = [
            await stack.enter_async_context(
                child("clients.voters", port=server.port, keys=some, board="bench", items=SONGS, first=first)
            )
            for some, first in ((keys[:-1], 0), (keys[-1:], AGENTS))
        ]
        warm = await voters.call("run", VoteRun, seconds=0.5, in_flight=16)
        full, before = await asyncio.gather(
            voters.call("run", VoteRun, seconds=2.5, in_flight=16),
            polite.call("run", VoteRun, seconds=2.5, in_flight=1),
        )
        held = server.resident()
        surplus = voters.call("paced", VoteRun, seconds=4.0, rate=_OVER * full.rate, at_once=16)
        loading = asyncio.create_task(surplus)
        beside = asyncio.create_task(polite.call("run", VoteRun, seconds=4.0, in_flight=1))
        highest = await _watched(server, loading)
        over, after = await loading, await beside
        await caught_up(house)
        kept = await _ballots(house)
    runs = (warm, full, over, before, after)
    counted = sum(run.latencies.count for run in runs)
    ratio = over.rate / full.rate
    grown = (highest - held) / 2**20
    waited, waits = before.latencies.p99, after.latencies.p99
    return Measurement(
        figure=f"{over.rate:,.0f} votes/s of {_OVER * full.rate:,.0f} sent, memory +{grown:.0f} MB, "
        f"{kept:,} kept of {counted:,} acknowledged",
        floor=f"{full.rate:,.0f} votes/s",
        ratio=ratio,
        met=ratio >= 1 / _NOISE
        and kept == counted
        and not over.lost
        and grown < _FLAT_MB
        and waits < max(_OVER * waited, _PATIENT_MS),
        notes=[
            f"who sends one vote at a time gets its ack with a p99 of {waits:.0f} ms, {waited:.0f} at the full rate",
            f"who sends too many waits up to {over.latencies.worst / 1e3:.1f} s; refused: {over.errors or 'none'}",
        ],
        values={
            "full": full.rate,
            "over": over.rate,
            "kept": kept,
            "grown_mb": grown,
            "polite_ms": [waited, waits],
        },
    )


async def _watched(server: Server, loading: asyncio.Task[VoteRun]) -> int:
    """The most memory that the server held while the load ran."""
    highest = 0
    while not loading.done():
        highest = max(highest, server.resident())
        await asyncio.wait([loading], timeout=0.05)
    return highest


async def _ballots(house: Installation) -> int:
    async with house.archive.connection() as connection:
        return int(await connection.fetchval("select count(*) from votes"))


CASES: Final = (
    Case("stalled", "1 % of 5,000 viewers stop reading", "p99 of the rest <= 1.25 x or + 10 ms", stalled),
    Case(
        "overload",
        "twice the votes that can be taken",
        "acks at >= 0.8 of the full rate, a polite client's p99 <= 2 x or 150 ms; memory < +100 MB; none lost",
        overload,
    ),
)
