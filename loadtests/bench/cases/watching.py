"""What one viewer sees, and what ten thousand cost who see nothing new."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from loadtests.bench.cases.fanout import RULES
from loadtests.bench.cases.votes import AGENTS, refused
from loadtests.bench.child import child
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Case, Latencies, Measurement
from loadtests.bench.lab import Lab

ITEMS: Final = 5000
IDLE: Final = 10_000
_WARM: Final = 200
_TICK_MS: Final = 100
_LOAD: Final = 10_000
_SECONDS: Final = 18.0


async def screen(lab: Lab) -> Measurement:
    """From a vote to another viewer's screen, with nothing else going on and under load."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        key, *keys = await house.agents(AGENTS + 1)
        await house.board("stage", ITEMS, **RULES)
        server = await stack.enter_async_context(house.serve())
        probe = await stack.enter_async_context(child("clients.screen", port=server.port, key=key, board="stage"))
        voters = await stack.enter_async_context(
            child("clients.voters", port=server.port, keys=keys, board="stage", items=ITEMS, plan="uniform")
        )
        await probe.call("run", Latencies, count=5, least=0.2, most=0.2)
        idle = await probe.call("run", Latencies, count=50, least=0.16, most=0.3)
        loading = asyncio.create_task(voters.call("paced", VoteRun, seconds=_SECONDS, rate=_LOAD))
        await asyncio.sleep(0.5)
        busy = await probe.call("run", Latencies, count=120, least=0.0, most=0.1)
        load = await loading
    return Measurement(
        figure=f"idle p50 {idle.p50:.1f} ms; under {load.rate:,.0f} votes/s p99 {busy.p99:.0f} ms",
        met=idle.p50 < 5 and busy.p99 < _TICK_MS + 30 and not refused([load]),
        notes=[
            f"idle p99 {idle.p99:.1f} ms; under load p50 {busy.p50:.0f} ms",
            f"acks under load p99 {load.latencies.p99:.0f} ms",
            *refused([load]),
        ],
        values={"idle_p50_ms": idle.p50, "busy_p99_ms": busy.p99, "load": load.rate},
    )


async def idle(lab: Lab) -> Measurement:
    """Memory of the server for each of many who watch a board that does not change."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        await house.board("stage", ITEMS)
        server = await stack.enter_async_context(house.serve())
        bare = await stack.enter_async_context(child("floors.bare"))
        held = []
        for port, resident, greet in (
            (server.port, server.resident, True),
            (await bare.call("port", int), bare.resident, False),
        ):
            given = {"port": port, "boards": ["stage"], "greet": greet}
            await stack.enter_async_context(child("clients.viewers", each=_WARM, **given))
            before = resident()
            await stack.enter_async_context(child("clients.viewers", each=IDLE, **given))
            await asyncio.sleep(1.0)
            held.append((resident() - before) / IDLE)
        usage = server.usage()
        await asyncio.sleep(2.0)
        cores = usage.seconds() / 2
    return Measurement(
        figure=f"{held[0] / 1024:.1f} KB resident each",
        floor=f"{held[1] / 1024:.1f} KB",
        ratio=held[0] / held[1],
        met=held[0] <= 12 * 1024,
        notes=[f"server {cores:.2f} cores meanwhile"],
        values={"bytes": held[0], "floor_bytes": held[1]},
    )


CASES: Final = (
    Case("screen", "vote to another viewer's screen", "idle p50 < 5 ms; 10,000 votes/s: p99 < a tick + 30 ms", screen),
    Case("idle", "idle viewers, 10,000", "<= 12 KB each", idle),
)
