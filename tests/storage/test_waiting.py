"""Votes that wait for a batch, and who waits until there is room for more."""

import asyncio

import pytest

from storage import waiting
from storage.types import Outcome, Vote
from storage.waiting import WaitingVotes
from tests.storage.shard import board

FINAL = board(1)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> WaitingVotes:
    """Twenty votes, which are too many for another one; batches take eight."""
    monkeypatch.setattr(waiting, "BATCH_LIMIT", 8)
    monkeypatch.setattr(waiting, "CROWDED", 20)
    monkeypatch.setattr(waiting, "TURN", 4)
    votes = WaitingVotes()
    for agent in range(20):
        votes.put(Vote(FINAL, agent, "item-1", 1), _ignored)
    return votes


def _ignored(outcome: Outcome) -> None:
    """Nobody waits for these."""


async def test_nobody_waits_for_a_crowd_that_is_gone_by_then(full: WaitingVotes) -> None:
    assert full.is_crowded(1)
    assert [len(full.take(number).votes) for number in (1, 2, 3, 4)] == [8, 8, 4, 0]
    async with asyncio.timeout(1):
        await full.room()
    assert not full.is_crowded(waiting.TURN)


async def test_while_somebody_waits_others_bring_votes_by_turns(full: WaitingVotes) -> None:
    rooms = [asyncio.ensure_future(full.room()) for _ in range(3)]
    done, _ = await asyncio.wait(rooms, timeout=0)
    assert not done
    full.take(1)
    # There is room for what two may bring, and the third still waits.
    assert full.is_crowded(waiting.TURN)
    assert not full.is_crowded(waiting.TURN + 1)
    await asyncio.gather(*rooms)
    assert not full.is_crowded(waiting.TURN)


async def test_batches_are_taken_in_the_order_in_which_votes_came(full: WaitingVotes) -> None:
    agents = [vote.agent for number in range(3) for vote in full.take(number).votes]
    assert agents == list(range(20))
    assert len(full) == 0
