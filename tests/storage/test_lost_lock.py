"""A server that lost PostgreSQL's lock while it brought a live store back, and does not know it yet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from storage import recovery as recovery_module
from storage.errors import ArchiveUnavailable, StoreUnavailable
from storage.ledger import Ledger
from storage.live import LiveStore
from storage.recovery import Recovery
from storage.refill import Refill
from storage.types import Known, Status
from tests.storage.house import House, assert_verified, audit, losses, restart, votes_of_all
from tests.storage.recovering.losses import same
from tests.storage.shard import emptied


async def lose_the_lock(house: House) -> None:
    await house.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and pid in "
        "(select pid from pg_stat_activity where datname = current_database())"
    )


class Overtaking:
    """Lets another server rebuild the store, and take a vote, right before some step of a rebuild."""

    def __init__(self, house: House, place: int) -> None:
        self._house = house
        self._left = place
        self.done = False

    def before(self, step: Any) -> Any:
        async def late(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                await lose_the_lock(self._house)
                self._house.known = await self._house.recovery.ensure(self._house.shard)
                (outcome,) = await self._house.cast(self._house.vote("ann", "aria", None))
                assert outcome.status == Status.RETRACTED
                self.done = True
            return await step(*arguments, **options)

        return late


async def test_a_rebuild_that_another_has_overtaken_changes_nothing_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.cast(*votes_of_all(house, house.songs, [1, -1]))
    for place in count():
        await house.cast(house.vote("ann", "aria", 1))
        await house.flush()
        await emptied(house.live, house.shard)
        before = house.known
        overtaking = Overtaking(house, place)
        with capture_logs() as logs:
            with monkeypatch.context() as patch:
                for kind, step in ((LiveStore, "hold"), (Ledger, "begin_epoch"), (LiveStore, "load")):
                    patch.setattr(kind, step, overtaking.before(getattr(kind, step)))
                try:
                    found = await house.recovery.ensure(house.shard, before)
                except StoreUnavailable:
                    assert overtaking.done
                else:
                    assert not overtaking.done
                    break
            found = await house.recovery.ensure(house.shard, before)
        assert losses(logs) == []
        assert found.epoch == house.known.epoch != before.epoch
        await house.flush()
        await audit(house, found.floor)
        await assert_verified(house)
    assert place > 10


async def test_who_has_lost_the_lock_does_not_go_on_with_what_it_saw(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server has gone on with the store, and taken votes, since it was looked at."""
    await house.cast(*votes_of_all(house, house.songs, [1, -1]))
    await restart(house)
    real = LiveStore.resume

    async def late(live: LiveStore, shard: int, found: str, epoch: str, run: str) -> int | None:
        monkeypatch.setattr(LiveStore, "resume", real)
        ledger = Ledger(house.archive)
        await ledger.plan_epoch(shard, "other", found)
        kept = await live.resume(shard, found, "other", run)
        assert kept == 24
        await ledger.begin_epoch(shard, "other", found, print, kept=kept)
        house.known = Known("other", kept, run)
        await house.cast(house.vote("ann", "aria", 7, house.contest))
        await ledger.tell(shard, "other", 25)
        return await live.resume(shard, found, epoch, run)

    monkeypatch.setattr(LiveStore, "resume", late)
    before = house.known
    with capture_logs() as logs:
        found = await house.recovery.ensure(house.shard, before)
    assert losses(logs) == []
    assert found[:2] == ("other", 25)
    assert not found.rebuilt
    await house.flush()
    await audit(house, 25)
    await assert_verified(house)


async def test_a_lock_that_was_lost_while_others_were_heard_is_noticed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.cast(house.vote("ann", "aria", 7, house.contest))
    await restart(house)

    async def accompanied(ledger: Ledger) -> bool:
        await lose_the_lock(house)
        return True

    monkeypatch.setattr(recovery_module, "HEARD_OUT", 0.01)
    monkeypatch.setattr(Ledger, "accompanied", accompanied)
    with pytest.raises(ArchiveUnavailable):
        await house.recovery.ensure(house.shard, house.known)
    monkeypatch.undo()
    assert (await house.recovery.ensure(house.shard, house.known)).floor == 1


async def test_who_adds_items_without_a_lock_leaves_no_zeros_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.cast(*votes_of_all(house, house.songs, [1, 1, -1]))
    await house.flush()
    before = await house.rankings()
    late = Recovery(house.live, house.archive, lambda: house.now)
    begun, added = asyncio.Event(), asyncio.Event()
    fill, count_items = Refill.run, late._boards.item_counts
    rebuilding: asyncio.Task[Known] | None = None

    async def waiting(self: Refill, seq: int, now: int) -> None:
        begun.set()
        await added.wait()
        await fill(self, seq, now)

    async def overtaken(shard: int) -> dict[int, int]:
        nonlocal rebuilding
        found = await count_items(shard)
        await lose_the_lock(house)
        await emptied(house.live, house.shard)
        rebuilding = asyncio.create_task(house.recovery.ensure(house.shard))
        await begun.wait()
        return found

    monkeypatch.setattr(Refill, "run", waiting)
    monkeypatch.setattr(late._boards, "item_counts", overtaken)
    with suppress(ArchiveUnavailable):  # it may notice at its end
        await late.ensure(house.shard)
    added.set()
    assert rebuilding is not None
    house.known = await rebuilding
    assert same(before, await house.rankings())
    await assert_verified(house)
