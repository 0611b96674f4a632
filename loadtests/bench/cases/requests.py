"""Votes and reads over HTTP."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

import httpx

from loadtests.bench.child import Child, child
from loadtests.bench.clients.requests import RequestRun
from loadtests.bench.figures import Case, Measurement, median, ratios
from loadtests.bench.lab import Lab, Usage, item_name

CONNECTIONS: Final = 64
ITEMS: Final = 5000
_ROUNDS: Final = 5
_LENGTH: Final = frozenset({"date", "content-length"})


def failed(runs: list[RequestRun], expected: str) -> list[str]:
    """A note where something else was answered than what should be."""
    others = {status: count for run in runs for status, count in run.statuses.items() if status != expected}
    return [f"ANSWERED OTHERWISE: {others}"] if others else []


class Runs(NamedTuple):
    """Runs side by side: a caller's, and the microseconds of its server's CPU for a request."""

    subject: list[RequestRun]
    floor: list[RequestRun]
    subject_us: float
    floor_us: float


async def interleaved(subject: Child, pid: int, floor: Child, floor_pid: int, seconds: float) -> Runs:
    """Runs both in turn, at first for a moment that does not count."""
    runs: list[RequestRun] = []
    floors: list[RequestRun] = []
    costs: list[float] = []
    floor_costs: list[float] = []
    for n in range(-1, _ROUNDS):
        took = seconds if n >= 0 else 0.4
        floors.append(await _costed(floor, floor_pid, floor_costs, took))
        runs.append(await _costed(subject, pid, costs, took))
    return Runs(runs[1:], floors[1:], median(costs[1:]), median(floor_costs[1:]))


async def _costed(caller: Child, pid: int, costs: list[float], seconds: float) -> RequestRun:
    usage = Usage(pid)
    run = await caller.call("run", RequestRun, seconds=seconds)
    costs.append(usage.seconds() / run.latencies.count * 1e6)
    return run


async def vote(lab: Lab) -> Measurement:
    """Single votes."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        keys = await house.agents(CONNECTIONS + 1)
        await house.board("bench", ITEMS)
        server = await stack.enter_async_context(house.serve())
        body, headers = await _answer(server.port, keys.pop())
        floor = await stack.enter_async_context(child("floors.handlers", body=body, headers=headers))
        callers = await _callers(stack, server.port, keys, "vote")
        bare = await _callers(stack, await floor.call("port", int), keys, "vote")
        runs, floors, cost, least = await interleaved(callers, server.pid, bare, floor.pid, 1.5)
    rates, best = [run.rate for run in runs], [run.rate for run in floors]
    ratio = ratios(rates, best)
    return Measurement(
        figure=f"{median(rates):,.0f} votes/s, p99 {median([run.latencies.p99 for run in runs]):.0f} ms",
        floor=f"{median(best):,.0f} requests/s",
        ratio=ratio,
        met=ratio >= 0.75 and not failed(runs, "201"),
        notes=[
            f"client {median([run.cpu for run in runs]):.2f} cores (floor {median([run.cpu for run in floors]):.2f})",
            f"server CPU {cost:.0f} us a request (floor {least:.0f}); answers of {runs[0].size} bytes",
            *failed(runs, "201"),
        ],
        values={"rates": rates, "floors": best},
    )


async def _answer(port: int, key: str) -> tuple[str, dict[str, str]]:
    """What Plaudit answers to a vote: the floor answers the same."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        given = await client.post("/api/v1/vote", json={"board": "bench", "item_id": item_name(1), "vote": "up"})
    return given.text, {name: value for name, value in given.headers.items() if name not in _LENGTH}


async def _callers(stack: AsyncExitStack, port: int, keys: list[str], plan: str, **more: Any) -> Child:
    return await stack.enter_async_context(
        child(
            "clients.requests",
            port=port,
            plan=plan,
            keys=keys,
            connections=len(keys),
            board="bench",
            items=ITEMS,
            **more,
        )
    )


async def batch(lab: Lab) -> Measurement:
    """A hundred votes a request, against one."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        keys = await house.agents(2 * CONNECTIONS)
        await house.board("bench", 10_000)
        server = await stack.enter_async_context(house.serve())
        many = await stack.enter_async_context(
            child(
                "clients.requests",
                port=server.port,
                plan="batch",
                keys=keys[:CONNECTIONS],
                connections=CONNECTIONS,
                board="bench",
                items=10_000,
            )
        )
        one = await _callers(stack, server.port, keys[CONNECTIONS:], "vote")
        runs, floors, cost, least = await interleaved(many, server.pid, one, server.pid, 1.5)
    rates, best = [run.rate * 100 for run in runs], [run.rate for run in floors]
    ratio = ratios(rates, best)
    return Measurement(
        figure=f"{median(rates):,.0f} votes/s",
        floor=f"{median(best):,.0f} votes/s one by one",
        ratio=ratio,
        met=ratio >= 8 and not failed(runs, "200"),
        notes=[
            f"p99 of a batch {median([run.latencies.p99 for run in runs]):.0f} ms",
            f"server CPU {cost / 100:.1f} us a vote, {least:.0f} us one by one",
            *failed(runs, "200"),
        ],
        values={"rates": rates, "floors": best},
    )


def read(limit: int) -> Any:
    """The case of reading the first `limit` of a board."""

    async def measure(lab: Lab) -> Measurement:
        path = f"/api/v1/boards/bench?limit={limit}"
        async with AsyncExitStack() as stack:
            house = await stack.enter_async_context(lab.installation())
            await house.board("bench", ITEMS)
            server = await stack.enter_async_context(house.serve())
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                given = await client.get(path)
            headers = {name: value for name, value in given.headers.items() if name not in _LENGTH}
            floor = await stack.enter_async_context(child("floors.handlers", body=given.text, headers=headers))
            callers = await stack.enter_async_context(
                child("clients.requests", port=server.port, plan="get", connections=CONNECTIONS, path=path)
            )
            bare = await stack.enter_async_context(
                child(
                    "clients.requests",
                    port=await floor.call("port", int),
                    plan="get",
                    connections=CONNECTIONS,
                    path=path,
                )
            )
            runs, floors, cost, least = await interleaved(callers, server.pid, bare, floor.pid, 1.2)
            before = await lab.commands()
            quiet = await callers.call("run", RequestRun, seconds=0.5)
            calls = await lab.commands() - before
        rates, best = [run.rate for run in runs], [run.rate for run in floors]
        ratio = ratios(rates, best)
        return Measurement(
            figure=f"{median(rates):,.0f} reads/s, {calls} store calls in {quiet.answered:,}",
            floor=f"{median(best):,.0f} reads/s",
            ratio=ratio,
            met=ratio >= 0.85 and calls < quiet.answered / 1000 and not failed(runs, "200"),
            notes=[
                f"server CPU {cost:.0f} us a read (floor {least:.0f}); answers of {runs[0].size:,} bytes",
                f"client {median([run.cpu for run in runs]):.2f} cores",
                *failed(runs, "200"),
            ],
            values={"rates": rates, "floors": best, "store_calls": calls},
        )

    return measure


CASES: Final = (
    Case("http-vote", "HTTP votes, 64 connections", ">= 0.75", vote),
    Case("http-batch", "HTTP votes, 100 a request", ">= 8 x the single vote", batch),
    Case("read-50", "HTTP reads of the top 50", ">= 0.85; no store call", read(50)),
    Case("read-1000", "HTTP reads of the top 1,000", ">= 0.85; no store call", read(1000)),
)
