"""The archive's side of the log: position and events move together, partitions are there when they are needed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from storage.errors import ArchiveUnavailable, StaleStore
from storage.ledger import Epoch, Flushed, Ledger, Overtaken
from storage.live import LogEntry
from tests.storage.house import House, audit
from tests.storage.shard import DAY, NOON

PARTITIONS = """
select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'vote_events'::regclass order by c.relname
"""


def at(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # year, month, day


async def logged(house: House) -> list[LogEntry]:
    return await house.live.log_after(house.shard, 0, 100, 0.001)


async def test_a_position_that_moved_changes_nothing(house: House) -> None:
    ledger = Ledger(house.archive)
    here = house.known.epoch
    await house.cast(house.vote("ann", "aria", 1), house.vote("bob", "aria", 1))
    entries = await logged(house)
    await ledger.append(house.shard, Flushed(here, 0), entries)
    with pytest.raises(Overtaken):
        await ledger.append(house.shard, Flushed(here, 0), entries)
    await house.cast(house.vote("cyd", "aria", 1))
    with pytest.raises(Overtaken):
        await ledger.append(house.shard, Flushed("another", 2), (await logged(house))[1:])
    await audit(house, 2)


async def test_a_hole_in_the_log_is_not_passed_over(house: House) -> None:
    ledger = Ledger(house.archive)
    for agent in ("ann", "bob", "cyd"):
        await house.cast(house.vote(agent, "aria", 1))
    first, second, third = await logged(house)
    here = Flushed(house.known.epoch, 0)
    for wrong in ([second], [first, third], [first, first], [first, second, second]):
        with pytest.raises(StaleStore, match="the log of shard 0 goes on at"):
            await ledger.append(house.shard, here, wrong)
    await audit(house, 0)
    await ledger.append(house.shard, here, [first, second, third])
    await audit(house, 3)


async def test_a_new_shard_is_at_nothing(house: House) -> None:
    ledger = Ledger(house.archive)
    assert await ledger.flushed(3) == Flushed("", 0)
    assert await ledger.last_event_at(3) == 0


async def test_a_new_epoch_begins_past_all_that_was_told(house: House) -> None:
    ledger = Ledger(house.archive)
    losses: list[tuple[int, int]] = []

    def lose(shard: int, lost: int) -> None:
        losses.append((shard, lost))

    assert await ledger.begin_epoch(3, "a", "", lose) == 0
    await ledger.tell(3, "a", 5)
    await ledger.tell(3, "a", 4)
    assert await ledger.begin_epoch(3, "b", "a", lose) == 5
    # The same state under another name: it has an event that the archive will have.
    await ledger.tell(3, "b", 6)
    assert await ledger.begin_epoch(3, "c", "b", lose, kept=6) == 5
    assert losses == [(3, 5)]
    assert await ledger.begin_epoch(3, "d", "c", lose) == 6
    assert losses == [(3, 5), (3, 1)]
    with pytest.raises(Overtaken, match="by now"):
        await ledger.begin_epoch(3, "e", "c", lose)
    assert await ledger.flushed(3) == Flushed("d", 6)
    assert await ledger.epoch(3, "c") == Epoch(None, 6, 6)


async def test_a_live_state_that_has_less_than_the_archive_is_not_gone_on_with(house: House) -> None:
    ledger = Ledger(house.archive)
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    with pytest.raises(Overtaken):
        await ledger.begin_epoch(house.shard, "new", house.known.epoch, lambda shard, lost: None, kept=0)
    assert await ledger.flushed(house.shard) == Flushed(house.known.epoch, 1)


async def test_a_loss_is_rather_told_twice_than_never(house: House) -> None:
    ledger = Ledger(house.archive)

    def interrupted(shard: int, lost: int) -> None:
        raise ConnectionError(lost)

    await ledger.tell(house.shard, house.known.epoch, 2)
    for _ in range(2):
        with pytest.raises(ArchiveUnavailable, match="2"):
            await ledger.begin_epoch(house.shard, "new", house.known.epoch, interrupted)
    assert await ledger.flushed(house.shard) == Flushed(house.known.epoch, 0)


async def test_the_last_event_has_a_moment(house: House) -> None:
    house.now = NOON + 5
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    assert await Ledger(house.archive).last_event_at(house.shard) == NOON + 5


@pytest.mark.parametrize(
    ("now", "months"),
    [
        (at(2027, 11, 30), ["2027_11", "2027_12"]),
        (at(2027, 12, 31) + DAY - 1, ["2027_12", "2028_01"]),
        (at(2028, 1, 31), ["2028_01", "2028_02"]),
    ],
)
async def test_partitions_are_made_for_this_month_and_the_next(house: House, now: int, months: list[str]) -> None:
    ledger = Ledger(house.archive)
    before = await house.fetch(PARTITIONS)
    for _ in range(2):
        await ledger.ensure_partitions(now)
        made = [row for row in await house.fetch(PARTITIONS) if row not in before]
        assert [name for name, _ in made] == [f"vote_events_{month}" for month in months]
    first, second = (bounds for _, bounds in made)
    assert first.partition(" TO ")[2].strip("()") == second.partition(" TO ")[0].partition("(")[2].strip("()")


async def test_events_are_found_in_the_partition_of_their_month(house: House) -> None:
    ledger = Ledger(house.archive)
    for house.now in (at(2027, 12, 31) + DAY - 1, at(2028, 1, 1)):
        await ledger.ensure_partitions(house.now)
    for agent, house.now in (("ann", at(2027, 12, 31) + DAY - 1), ("bob", at(2028, 1, 1))):
        await house.cast(house.vote(agent, "aria", 1))
    await house.flush()
    await audit(house, 2)
    rows = await house.fetch("select seq, tableoid::regclass::text from vote_events order by seq")
    assert rows == [(1, "vote_events_2027_12"), (2, "vote_events_2028_01")]


async def test_who_writes_does_not_wait_for_a_partition_behind_who_reads(house: House) -> None:
    ledger = Ledger(house.archive)
    house.now = at(2029, 1, 1)
    async with house.archive.transaction() as reader:
        await reader.fetch("select seq from vote_events limit 1")
        making = asyncio.create_task(ledger.ensure_partitions(house.now))
        async with asyncio.timeout(10):
            while not await house.fetch("select from pg_locks where not granted"):
                await asyncio.sleep(0)
            await house.cast(house.vote("ann", "aria", 1))
            await house.flush()
            with pytest.raises(ArchiveUnavailable):
                await making
    await audit(house, 1)


async def test_a_month_that_has_strays_stays_where_they_are(house: House) -> None:
    """A clock far ahead had its events put aside; a partition of its own would now be refused."""
    ledger = Ledger(house.archive)
    house.now = at(2028, 3, 15)
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await ledger.ensure_partitions(at(2028, 3, 1))
    house.now = at(2028, 4, 2)
    await house.cast(house.vote("bob", "aria", 1))
    await house.flush()
    rows = await house.fetch("select seq, tableoid::regclass::text from vote_events order by seq")
    assert rows == [(1, "vote_events_other"), (2, "vote_events_2028_04")]
    await audit(house, 2)
