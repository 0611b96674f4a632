"""More votes than can be taken at once: nobody is refused, and nobody has to wait behind a flood."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from storage import waiting
from tests.app.sockets import OpenStage, Stage

FLOODERS = 10
FRAMES = 20
VOTES = 100


@pytest_asyncio.fixture
async def stage(open_stage: OpenStage) -> AsyncIterator[Stage]:
    """Where anyone may send as much as it likes."""
    async with open_stage(messages_per_second=1_000_000) as opened:
        yield opened


async def test_a_flood_is_answered_whole_and_lets_others_through(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "CROWDED", 50)
    monkeypatch.setattr(waiting, "TURN", 8)
    await stage.board("fickle", "points", ballots_change=True)
    keys = [await stage.key(f"flooder-{n}") for n in range(FLOODERS)]
    answered: Counter[str] = Counter()

    async def flood(key: str) -> None:
        async with stage.agent(key=key) as client:
            for frame in range(FRAMES):
                first = 1000 + frame * VOTES
                await client.send(
                    [
                        {"type": "vote", "id": first + n, "board": "fickle", "item": "s1", "value": 1 + n % 12}
                        for n in range(VOTES)
                    ]
                )
            await client.send({"type": "ping", "id": "last"})
            named = []
            for _ in range(FRAMES * VOTES + 1):
                message = await client.next()
                named.append(message["id"])
                answered[message["type"]] += 1
            named.remove("last")
            assert sorted(named) == list(range(1000, 1000 + FRAMES * VOTES))

    async def others() -> int:
        cast = 0
        async with stage.agent() as client:
            while not all(task.done() for task in flooding):
                ack = await client.ask("vote", board="fickle", item="s1", value=cast % 12 + 1)
                assert ack["type"] == "ack"
                cast += 1
        return cast

    flooding = [asyncio.create_task(flood(key)) for key in keys]
    cast = await others()
    await asyncio.gather(*flooding)
    assert answered == {"ack": FLOODERS * FRAMES * VOTES, "pong": FLOODERS}
    assert cast > FRAMES
