"""Votes over websockets."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final

from loadtests.bench.child import Child, child
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Case, Latencies, Measurement, median, ratios
from loadtests.bench.floors.applying import Applying, votes_of
from loadtests.bench.lab import Installation, Lab, Server, item_name
from storage.batcher import IN_FLIGHT
from storage.ledger import Ledger
from storage.types import Vote

AGENTS: Final = 200
ITEMS: Final = 5000
_ROUNDS: Final = 5
_CAUGHT_UP_WITHIN: Final = 30.0
_IN_SCRIPT: Final = frozenset({"zadd", "hset", "hget", "hmget", "zmscore", "xadd", "set", "zcount", "publish"})


async def caught_up(installation: Installation) -> float:
    """Seconds until PostgreSQL has every event that the live store has now."""
    began, shard, ledger = time.monotonic(), installation.tenant.shard, Ledger(installation.archive)
    wanted = (await installation.live.position(shard)).seq
    while await ledger.position(shard) < wanted:
        if time.monotonic() - began > _CAUGHT_UP_WITHIN:
            break
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def refused(runs: list[VoteRun]) -> list[str]:
    """A note where votes were not acknowledged."""
    errors = {code: count for run in runs for code, count in run.errors.items()}
    lost = sum(run.lost for run in runs)
    return [f"NOT ACKNOWLEDGED: {errors or ''} lost {lost}"] if errors or lost else []


def _shared(cores: list[float], runs: list[VoteRun]) -> str:
    """A note of who used how much of the machine."""
    client = median([run.cpu for run in runs])
    return f"cores: server {cores[0]:.2f}, Valkey {cores[1]:.2f}, PostgreSQL {cores[2]:.2f}, client {client:.2f}"


async def sustained(installation: Installation, seconds: float = 2.0, **settings: object) -> VoteRun:
    """What a server on this installation, with a board `bench`, acknowledges when it is given all it can take."""
    keys = await installation.agents(AGENTS)
    async with (
        installation.serve(**settings) as server,
        child("clients.voters", port=server.port, keys=keys, board="bench", items=ITEMS) as voters,
    ):
        await voters.call("run", VoteRun, seconds=0.5, in_flight=16)
        return await voters.call("run", VoteRun, seconds=seconds, in_flight=16)


async def many(lab: Lab) -> Measurement:
    """200 connections, 16 in flight each, against the apply script alone."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        bare = await stack.enter_async_context(lab.installation())
        keys = await house.agents(AGENTS)
        await house.board("bench", ITEMS)
        board = await bare.board("bench", ITEMS)
        applying = await Applying.open(bare)
        server = await stack.enter_async_context(house.serve())
        voters = await stack.enter_async_context(
            child("clients.voters", port=server.port, keys=keys, board="bench", items=ITEMS)
        )
        await voters.call("run", VoteRun, seconds=0.5, in_flight=16)
        await applying.rate(votes_of(board, ITEMS, AGENTS, 0, 20_000))
        floors, runs, behind, shares, written = [], [], [], [], []
        spent: Counter[str] = Counter()
        for n in range(_ROUNDS):
            floors.append(await applying.rate(votes_of(board, ITEMS, AGENTS, 20_000 + n * 60_000, 60_000)))
            used = server.usage(), lab.usage("valkey-server"), lab.usage("postgres")
            before, size = await lab.command_times(), await lab.logged()
            runs.append(await voters.call("run", VoteRun, seconds=2.0, in_flight=16))
            written.append((await lab.logged() - size) / runs[-1].acked)
            spent.update(await lab.command_times())
            spent.subtract(before)
            shares.append([one.seconds() / runs[-1].seconds for one in used])
            behind.append(await caught_up(house))
        await applying.close()
    rates = [run.rate for run in runs]
    ratio, p99 = ratios(rates, floors), median([run.latencies.p99 for run in runs])
    cores = [median([share[n] for share in shares]) for n in range(3)]
    return Measurement(
        figure=f"{median(rates):,.0f} votes/s, p99 {p99:.0f} ms, PostgreSQL {max(behind):.2f} s behind",
        floor=f"{median(floors):,.0f} votes/s",
        ratio=ratio,
        met=ratio >= 0.5 and p99 < 150 and max(behind) < 2 and not refused(runs),
        notes=[
            _shared(cores, runs),
            "CPU a vote: server {:.1f} us, Valkey {:.1f} us, PostgreSQL {:.1f} us".format(
                *(core / median(rates) * 1e6 for core in cores)
            ),
            _inside(spent, sum(run.acked for run in runs)),
            # A file that was rewritten meanwhile is smaller than before: the largest is of a round without that.
            f"{max(written):.0f} bytes a vote in the live store's append-only file",
            f"ack p50 {median([run.latencies.p50 for run in runs]):.0f} ms",
            *refused(runs),
        ],
        values={"rates": rates, "floors": floors, "p99_ms": p99, "behind_s": behind, "cores": cores},
    )


def _inside(spent: Counter[str], votes: int) -> str:
    """A note of what the script's time goes into: the store's commands, and the rest, which is Lua itself."""
    script = spent["evalsha"]
    commands = {name: micros / votes for name, micros in spent.most_common() if name in _IN_SCRIPT}
    listed = ", ".join(f"{name} {micros:.1f}" for name, micros in commands.items() if micros >= 0.05)
    return (
        f"the script takes {script / votes:.1f} us a vote: {listed}, Lua {script / votes - sum(commands.values()):.1f}"
    )


async def one_each(lab: Lab) -> Measurement:
    """200 connections, one in flight each, against an echo on the same server class."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        keys = await house.agents(AGENTS)
        await house.board("bench", ITEMS)
        server = await stack.enter_async_context(house.serve())
        voters = await stack.enter_async_context(
            child("clients.voters", port=server.port, keys=keys, board="bench", items=ITEMS)
        )
        echo = await stack.enter_async_context(child("floors.echo"))
        echoed = await stack.enter_async_context(await _echoed(echo, AGENTS))
        runs, floors, cores = await _side_by_side(lab, server, voters, echoed)
        bare = await stack.enter_async_context(lab.installation())
        board = await bare.board("bench", ITEMS)
        applying = await Applying.open(bare)
        small = await applying.rate(votes_of(board, ITEMS, AGENTS, 0, 60_000), AGENTS // IN_FLIGHT)
        await applying.close()
    rates, p99 = [run.rate for run in runs], median([run.latencies.p99 for run in runs])
    echoes = [run.rate for run in floors]
    ratio = ratios(rates, echoes)
    return Measurement(
        figure=f"{median(rates):,.0f} votes/s, p99 {p99:.0f} ms",
        floor=f"{median(echoes):,.0f} echoes/s",
        ratio=ratio,
        met=ratio >= 0.6 and p99 < 40 and not refused(runs),
        notes=[
            _shared(cores, runs),
            f"the script alone, in the batches that {AGENTS} votes make ({AGENTS // IN_FLIGHT}): {small:,.0f} votes/s",
            *refused(runs),
        ],
        values={"rates": rates, "floors": echoes, "p99_ms": p99, "script": small},
    )


async def _echoed(echo: Child, connections: int) -> AbstractAsyncContextManager[Child]:
    port = await echo.call("port", int)
    return child("clients.voters", port=port, keys=[None] * connections, board="bench", items=10**9)


async def _side_by_side(
    lab: Lab, server: Server, voters: Child, echoed: Child
) -> tuple[list[VoteRun], list[VoteRun], list[float]]:
    """Runs of both in turn, and the cores that server and stores used during the former's."""
    runs: list[VoteRun] = []
    floors: list[VoteRun] = []
    shares: list[list[float]] = []
    for n in range(-1, _ROUNDS):
        seconds = 1.5 if n >= 0 else 0.4
        floors.append(await echoed.call("run", VoteRun, seconds=seconds, in_flight=1))
        used = server.usage(), lab.usage("valkey-server"), lab.usage("postgres")
        runs.append(await voters.call("run", VoteRun, seconds=seconds, in_flight=1))
        shares.append([one.seconds() / runs[-1].seconds for one in used])
    return runs[1:], floors[1:], [median([share[n] for share in shares[1:]]) for n in range(3)]


async def alone(lab: Lab) -> Measurement:
    """One connection, one in flight, against a round trip to the store."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        bare = await stack.enter_async_context(lab.installation())
        keys = await house.agents(1)
        await house.board("bench", ITEMS)
        board = await bare.board("bench", ITEMS)
        applying = await Applying.open(bare)
        server = await stack.enter_async_context(house.serve())
        voter = await stack.enter_async_context(
            child("clients.voters", port=server.port, keys=keys, board="bench", items=ITEMS)
        )
        await voter.call("run", VoteRun, seconds=0.3, in_flight=1)
        runs, trips, pings = [], [], []
        for n in range(_ROUNDS):
            some = range(n * 500, (n + 1) * 500)
            times = [await applying.round_trip(Vote(board, 1, item_name(k), 1)) for k in some]
            trips.append(Latencies.of(times).p50)
            pings.append(Latencies.of([await _ping(bare) for _ in some]).p50)
            runs.append(await voter.call("run", VoteRun, seconds=0.7, in_flight=1))
        await applying.close()
    p50 = [run.latencies.p50 for run in runs]
    ratio = ratios(p50, trips)
    return Measurement(
        figure=f"ack p50 {median(p50):.3f} ms",
        floor=f"{median(trips):.3f} ms",
        ratio=ratio,
        met=ratio <= 2.5 and not refused(runs),
        notes=[
            "the floor is a vote's own script on a connection of its own, fsync and all",
            f"a PING takes {median(pings):.3f} ms",
            *refused(runs),
        ],
        values={"p50_ms": p50, "floors_ms": trips, "pings_ms": pings},
    )


async def _ping(installation: Installation) -> float:
    began = time.perf_counter()
    await installation.live.ping()
    return time.perf_counter() - began


CASES: Final = (
    Case(
        "votes", "websocket votes, 200 connections, 16 in flight", ">= 0.5; p99 < 150 ms; PostgreSQL < 2 s behind", many
    ),
    Case("votes-one", "the same, one in flight", ">= 0.6; p99 < 40 ms", one_each),
    Case("vote-alone", "one connection, one in flight", "ack p50 <= 2.5 x", alone),
)
