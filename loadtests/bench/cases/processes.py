"""Several server processes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from loadtests.bench.cases.fanout import RULES, Shown, audience, shown
from loadtests.bench.cases.votes import AGENTS, ITEMS, refused
from loadtests.bench.child import child
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Case, Measurement, median, ratios
from loadtests.bench.lab import Lab

VIEWERS: Final = 3000
_RATE: Final = 40
_WIDTH: Final = 20
_ROUNDS: Final = 3
_SECONDS: Final = 2.0


async def workers(lab: Lab) -> Measurement:
    """Two workers against one: votes acknowledged, and deliveries where more are asked for than can be made."""
    votes: list[list[VoteRun]] = [[], []]
    deliveries: list[list[Shown]] = [[], []]
    async with AsyncExitStack() as stack:
        sides = []
        for count in (2, 1):
            house = await stack.enter_async_context(lab.installation())
            keys = await house.agents(AGENTS)
            await house.board("bench", ITEMS)
            await house.board("stage", 200, **RULES)
            server = await stack.enter_async_context(house.serve(workers=count, tick_rate=3 * _RATE))
            voters = await stack.enter_async_context(
                child("clients.voters", port=server.port, keys=keys, board="bench", items=ITEMS)
            )
            sides.append((server, voters, await audience(stack, house, server, ["stage"], VIEWERS, _WIDTH)))
        for n in range(-1, _ROUNDS):
            for place, (server, voters, (viewers, source)) in enumerate(sides):
                run = await voters.call("run", VoteRun, seconds=_SECONDS, in_flight=16)
                seen = await shown(viewers, source, server.usage(), seconds=_SECONDS, rate=_RATE)
                if n >= 0:
                    votes[place].append(run)
                    deliveries[place].append(seen)
    two, one = ([run.rate for run in some] for some in votes)
    wide, narrow = ([run.ages.deliveries / _SECONDS for run in some] for some in deliveries)
    vote_ratio, delivery_ratio = ratios(two, one), ratios(wide, narrow)
    return Measurement(
        figure=f"{median(two):,.0f} votes/s, {median(wide):,.0f} deliveries/s",
        floor=f"{median(one):,.0f} votes/s, {median(narrow):,.0f} deliveries/s",
        ratio=min(vote_ratio, delivery_ratio),
        met=vote_ratio >= 1 and delivery_ratio >= 1 and not refused([*votes[0], *votes[1]]),
        notes=[
            f"votes {vote_ratio:.2f} x, deliveries {delivery_ratio:.2f} x",
            f"{VIEWERS * _RATE:,} deliveries/s were asked for",
            *refused([*votes[0], *votes[1]]),
        ],
        values={"votes": [two, one], "deliveries": [wide, narrow]},
    )


CASES: Final = (Case("workers", "two workers on these cores", "votes and deliveries >= one worker's", workers),)
