"""A live store that was restarted, replaced or set back goes on, or says loudly what is missing."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from storage import recovery as recovery_module
from storage.errors import ArchiveBehind, StoreUnavailable
from storage.ledger import Flushed, Ledger
from storage.live import LiveStore
from storage.recovery import Recovery
from storage.types import Known
from tests.storage.house import House, assert_verified, audit, losses, restart, votes_of_all
from tests.storage.recovering.losses import Snapshot, killed, set_back
from tests.storage.shard import NOON, emptied


async def test_a_store_that_was_restarted_goes_on_under_a_new_epoch(house: House) -> None:
    await house.cast(*votes_of_all(house, house.songs, [1, -1]))
    await house.flush()
    await house.cast(house.vote("ann", "aria", 7, house.contest))
    before = await house.rankings(), await house.ballots()
    await restart(house)
    with capture_logs() as logs:
        found = await asyncio.gather(*(house.recovery.ensure(house.shard, house.known) for _ in range(3)))
    assert losses(logs) == []
    assert len(set(found)) == 1
    assert found[0][:2] != (house.known.epoch, 25)
    assert found[0].floor == 25
    assert (await house.rankings(), await house.ballots()) == before
    # What was not archived yet still comes into the archive.
    house.known = found[0]
    await house.flush()
    await audit(house, 25)
    await assert_verified(house)


async def test_who_knew_an_earlier_state_is_told_whether_it_was_rebuilt(house: House) -> None:
    states = [house.known]
    for step in (restart, restart, lambda house: emptied(house.live, house.shard), restart):
        await step(house)
        states.append(await house.recovery.ensure(house.shard))
    assert len({known.epoch for known in states}) == 5
    *_, last = states
    assert [(await house.recovery.ensure(house.shard, known)).rebuilt for known in states] == [True] * 3 + [False] * 2
    assert (await house.recovery.ensure(house.shard, last)).epoch == last.epoch


async def test_a_restart_that_is_not_recovered_from_to_the_end_is_done_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seq, (kind, step) in enumerate(
        [(Ledger, "plan_epoch"), (LiveStore, "resume"), (Ledger, "begin_epoch"), (LiveStore, "resume")], 1
    ):
        await house.cast(house.vote("bob", "aria", seq, house.contest))
        await restart(house)
        with capture_logs() as logs:
            with monkeypatch.context() as patch:
                patch.setattr(kind, step, killed(getattr(kind, step), done=seq % 2 == 0))
                with pytest.raises(StoreUnavailable, match="killed here"):
                    await house.recovery.ensure(house.shard, house.known)
            if seq == 4:
                await restart(house)
            known = await house.recovery.ensure(house.shard, house.known)
        assert losses(logs) == []
        assert known.epoch != house.known.epoch
        assert (await Ledger(house.archive).flushed(house.shard)).epoch == known.epoch
        house.known = known
    await house.flush()
    await audit(house, 4)
    await assert_verified(house)


async def test_a_store_that_was_replaced_by_a_lesser_one_is_rebuilt(house: House) -> None:
    """The first server to come back knows of less than the archive has."""
    snapshot = Snapshot(house.live, house.shard)
    await house.cast(house.vote("ann", "aria", 1))
    await snapshot.take()
    await house.cast(house.vote("bob", "aria", 1))
    await house.flush()
    before = await house.rankings(), await house.ballots()
    await snapshot.put_back()
    await restart(house)
    with capture_logs() as logs:
        house.known = await house.recovery.ensure(house.shard, house.known._replace(floor=1))
    assert losses(logs) == []
    assert (await house.rankings(), await house.ballots()) == before
    await audit(house, 2)


async def test_who_comes_late_with_votes_that_nobody_else_knew_of_says_so_once(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    snapshot = Snapshot(house.live, house.shard)
    await house.cast(house.vote("bob", "aria", 1), house.vote("cyd", "aria", 1))
    await snapshot.take()
    told: list[int] = []
    recovery = Recovery(house.live, house.archive, lambda: NOON, told.append)
    early, late, latest = (house.known._replace(floor=floor) for floor in (3, 5, 7))
    with capture_logs() as logs:
        # A replica without four votes is promoted, and nobody misses them yet.
        await restart(house)
        house.known = await recovery.ensure(house.shard, early)
        await house.cast(house.vote("dee", "aria", 1), house.vote("dee", "Blues", 1), house.vote("dee", "elegy", 1))
        for known in (late, early, late, latest, latest, None):
            assert (await recovery.ensure(house.shard, known))[:2] == (house.known.epoch, 6)
    assert losses(logs) == told == [2, 2]
    await house.flush()
    await audit(house, 6)


@pytest.mark.parametrize("gone", [False, True])
async def test_other_servers_are_heard_before_their_numbers_are_given_out_again(
    house: House, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    """The store comes back as less than it was, and the first to see it is not the one that was told most."""
    asked = asyncio.Event()
    accompanied = Ledger.accompanied

    async def noticed(ledger: Ledger) -> bool:
        found = await accompanied(ledger)
        asked.set()
        return found

    monkeypatch.setattr(Ledger, "accompanied", noticed)
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    told: list[int] = []
    recovery = Recovery(house.live, house.archive, lambda: NOON, told.append)
    other = await asyncpg.connect(house.archive.url, server_settings={"application_name": "plaudit 1 elsewhere"})
    try:
        await (emptied(house.live, house.shard) if gone else restart(house))
        first = asyncio.create_task(recovery.ensure(house.shard, house.known._replace(floor=1)))
        await asked.wait()
        second = await recovery.ensure(house.shard, house.known._replace(floor=4))
        house.known = await first
    finally:
        await other.close()
    assert second[:2] == house.known[:2] == (house.known.epoch, 4)
    assert told == [3]
    await house.cast(house.vote("bob", "aria", 1))
    await house.flush()
    assert await house.fetch("select seq from vote_events order by seq") == [(1,), (5,)]


async def test_who_is_alone_waits_for_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "HEARD_OUT", 3600.0)
    await restart(house)
    async with asyncio.timeout(10):
        await house.recovery.ensure(house.shard)


async def test_votes_of_a_state_that_the_archive_never_saw_are_missed_once(house: House) -> None:
    """Both stores were set back, and one server remembers."""
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    known = Known("of another time", 10)
    with capture_logs() as logs:
        for _ in range(2):
            assert (await house.recovery.ensure(house.shard, known))[:2] == (house.known.epoch, 1)
    assert losses(logs) == [9]


async def test_only_votes_of_which_somebody_was_told_are_missed(house: House) -> None:
    """With replicas that confirm, what was not confirmed may go without a word, and nothing has to be rebuilt."""
    await house.cast(house.vote("ann", "aria", 1))
    with capture_logs() as logs:
        known = await house.recovery.ensure(house.shard, house.known._replace(floor=5, told=1))
    assert losses(logs) == []
    assert not any(line["event"] == "live store filled" for line in logs)
    assert known.epoch != house.known.epoch
    assert known.floor == 1


@pytest.mark.parametrize("foreign", [False, True])
async def test_an_archive_that_lacks_votes_of_the_live_store_does_not_empty_it(house: House, *, foreign: bool) -> None:
    await house.cast(*votes_of_all(house, house.songs, [1]))
    await house.flush()
    await house.cast(house.vote("ann", "aria", 3, house.contest))
    before = await house.rankings(), await house.ballots()
    await set_back(house, 10)
    if foreign:
        await house.execute("update flush_positions set epoch = 'older'")
        await house.execute("update epochs set epoch = 'older'")
    for known in (None, house.known, house.known._replace(floor=25)):
        with pytest.raises(ArchiveBehind, match=r"rebuild --from-archive"):
            await house.recovery.ensure(house.shard, known)
    assert (await house.rankings(), await house.ballots()) == before
    assert (await Ledger(house.archive).flushed(house.shard)).seq == 10

    with capture_logs() as logs:
        known = await house.recovery.ensure(house.shard, None, from_archive=True)
    assert losses(logs) == [15]
    assert await Ledger(house.archive).flushed(house.shard) == Flushed(known.epoch, known.floor)


async def test_an_archive_that_is_behind_what_the_log_still_has_catches_up(house: House) -> None:
    await house.cast(*votes_of_all(house, house.songs, [1]))
    assert (await house.recovery.ensure(house.shard, house.known))[:2] == (house.known.epoch, 24)
    await house.flush()
    await audit(house, 24)
