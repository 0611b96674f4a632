"""Boards of different sizes, and votes that fall on few items."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack
from typing import Final

from app.standings import Standings
from channels.codec import JSON
from channels.delta import diff
from channels.ranking import View
from channels.wire import DeltaFrames, delta_of
from loadtests.bench.cases.fanout import RULES
from loadtests.bench.cases.votes import AGENTS, refused
from loadtests.bench.child import child
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Case, Measurement, median, ratios
from loadtests.bench.floors.applying import Applying
from loadtests.bench.lab import Lab, item_name, now
from storage.boards import Boards, NewBoard
from storage.samples import Samples
from storage.types import Board, BoardItem, Query, TopView, Vote

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
ITEMS: Final = 5000
_PORTION: Final = 5000
_ROUNDS: Final = 5
_VOTES: Final = 5000
_READS: Final = 60


class Field:
    """A board in a live store that nobody serves."""

    def __init__(self, board: Board, items: int, applying: Applying, standings: Standings) -> None:
        self.votes: list[float] = []
        self.deltas: list[float] = []
        self._board = board
        self._items = items
        self._applying = applying
        self._standings = standings
        self._random = random.Random(items)
        self._value = 0

    async def round(self) -> None:
        """Votes spread over the whole board; then deltas of its first 50, each after a vote on one of those."""
        agents = range(1, AGENTS + 1)
        votes = [
            Vote(self._board, agents[n % AGENTS], item_name(self._random.randrange(100, self._items)), 1 + n % 9)
            for n in range(_VOTES)
        ]
        self.votes.append(1e6 / await self._applying.rate(votes))
        view, took = await self._read(), []
        for n in range(_READS):
            self._value += 1
            await self._applying.rate([Vote(self._board, 0, item_name(n % 20), 5000 + self._value)])
            began = time.perf_counter()
            after = await self._read()
            change = diff(view, after)
            assert change is not None
            DeltaFrames(delta_of(change, {})).frame(JSON, 1)
            took.append(time.perf_counter() - began)
            view = after
        self.deltas.append(median(took) * 1e6)

    async def _read(self) -> View:
        query = Query(self._board.number, "all", TopView(50))
        (view,) = await self._standings.views(self._board.shard, [(self._board, query)])
        assert view is not None
        return view


async def sizes(lab: Lab) -> Measurement:
    """Votes and deltas on boards of a thousand to a million items."""
    async with lab.installation() as bare:
        boards = await Boards(bare.archive).add(
            bare.tenant,
            [NewBoard(f"size-{size}", "Size", "song", "points", 0, 30_000, ballots_change=True) for size in SIZES],
        )
        applying = await Applying.open(bare)
        standings = Standings(bare.live, Samples(bare.archive))
        fields = []
        before = await lab.memory()
        for board, size in zip(boards, SIZES, strict=True):
            for first in range(0, size, _PORTION):
                some = range(first, min(first + _PORTION, size))
                await bare.live.add_items(
                    board, [BoardItem(n + 1, "song", item_name(n), "A song", None) for n in some], now()
                )
            fields.append(Field(board, size, applying, standings))
        item = (await lab.memory() - before) / sum(SIZES)
        for _ in range(_ROUNDS):
            for field in fields:
                await field.round()
        await applying.close()
    small, large = fields[0], fields[-1]
    votes, deltas = ratios(large.votes, small.votes), ratios(large.deltas, small.deltas)
    shown = ", ".join(
        f"{size:,}: {median(field.votes):.1f} / {median(field.deltas):.0f}"
        for size, field in zip(SIZES, fields, strict=True)
    )
    return Measurement(
        figure=f"vote {median(large.votes):.1f} us, delta {median(large.deltas):.0f} us at a million",
        floor=f"{median(small.votes):.1f} us, {median(small.deltas):.0f} us at a thousand",
        ratio=max(votes, deltas),
        met=votes <= 2 and deltas <= 2,
        notes=[
            f"us a vote / us a delta by size: {shown}",
            "votes through the apply script in batches of 500; a delta is read, compared and encoded",
            f"an item without votes takes {item:.0f} bytes of the live store",
        ],
        values={
            "votes_us": dict(zip(map(str, SIZES), [field.votes for field in fields], strict=True)),
            "deltas_us": dict(zip(map(str, SIZES), [field.deltas for field in fields], strict=True)),
        },
    )


async def zipf(lab: Lab) -> Measurement:
    """Votes that fall on few items, against votes that fall on all alike."""
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(lab.installation())
        await house.board("stage", ITEMS, **RULES)
        server = await stack.enter_async_context(house.serve())
        crowds = [
            await stack.enter_async_context(
                child(
                    "clients.voters",
                    port=server.port,
                    keys=await house.agents(AGENTS),
                    board="stage",
                    items=ITEMS,
                    plan=plan,
                )
            )
            for plan in ("zipf", "uniform")
        ]
        runs: list[list[VoteRun]] = [[], []]
        for n in range(-1, _ROUNDS):
            for crowd, some in zip(crowds, runs, strict=True):
                run = await crowd.call("run", VoteRun, seconds=1.2, in_flight=16)
                if n >= 0:
                    some.append(run)
    rates, floors = ([run.rate for run in some] for some in runs)
    ratio = ratios(rates, floors)
    return Measurement(
        figure=f"{median(rates):,.0f} votes/s",
        floor=f"{median(floors):,.0f} votes/s",
        ratio=ratio,
        met=ratio >= 1 and not refused([*runs[0], *runs[1]]),
        notes=["ballots that may change, each vote with another value", *refused([*runs[0], *runs[1]])],
        values={"rates": rates, "floors": floors},
    )


CASES: Final = (
    Case("sizes", "boards of 10^3 to 10^6 items", "vote and top-50 delta <= 2 x the smallest", sizes),
    Case("zipf", "Zipf-distributed votes", ">= the uniform case", zipf),
)
