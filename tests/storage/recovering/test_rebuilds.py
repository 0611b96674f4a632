"""A live store that lost something is filled again from the archive, equal to what it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from storage import recovery as recovery_module
from storage.archive import Archive, try_lock
from storage.boards import Boards, NewBoard
from storage.catalogue import Catalogue
from storage.errors import StoreUnavailable
from storage.hold import Hold
from storage.ledger import Ledger
from storage.live import LiveStore
from storage.recovery import LOCK_PURPOSE
from storage.types import Row, Status
from tests.storage.house import AGENTS, House, assert_verified, audit, song, votes_of_all
from tests.storage.recovering.losses import Rankings, Snapshot, killed, quotas, same, vote_for_weeks
from tests.storage.shard import HOUR, MINUTE, NOON, emptied


async def test_a_rebuild_by_another_server_may_take_longer_than_a_statement(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Archive.session
    monkeypatch.setattr(Archive, "session", lambda archive: session(archive, 0.2))
    monkeypatch.setattr(recovery_module, "AGAIN", 0.05)
    async with house.archive.connection() as other:
        await try_lock(other, LOCK_PURPOSE, house.shard)
        with capture_logs() as logs:
            ensuring = asyncio.create_task(house.recovery.ensure(house.shard))
            # After a second, five times what a statement has.
            while not logs and not ensuring.done():
                await asyncio.sleep(0.01)
            assert [entry["event"] for entry in logs] == [
                "waiting for another server, which brings the live store in line"
            ]
        assert not ensuring.done()
        await other.execute("select pg_advisory_unlock_all()")
        assert await ensuring == house.known


async def test_an_empty_store_is_filled_with_what_it_had(house: House) -> None:
    await vote_for_weeks(house)
    before = await house.rankings(), await house.ballots(), await quotas(house)
    assert any(row.points for row in before[0]["contest", "trending"])
    assert all(row.points == 0 for row in before[0]["contest", "week"])
    assert all(before[2])
    seq = (await house.live.position(house.shard)).seq
    await assert_verified(house)

    await emptied(house.live, house.shard)
    told: list[tuple[str, int]] = []
    known = await house.recovery.ensure(house.shard, None, lambda what, count: told.append((what, count)))
    assert known.floor == seq
    assert known.epoch != house.known.epoch
    assert same(before[0], await house.rankings())
    assert (await house.ballots(), await quotas(house)) == before[1:]
    assert ("items", 12) in told
    assert ("ballots", sum(len(held) for board in before[1] for held in board)) in told
    await assert_verified(house)

    house.known = known
    (outcome,) = await house.cast(house.vote("ann", "aria", 3, house.contest))
    assert (outcome.status, outcome.seq) == (Status.APPLIED, seq + 1)
    await house.flush()
    await assert_verified(house)
    await audit(house, seq + 1)


async def test_a_store_that_is_whole_is_left_as_it_is(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    for known in (None, house.known):
        assert (await house.recovery.ensure(house.shard, known))[:2] == (house.known.epoch, 1)
    await house.flush()
    await assert_verified(house)


async def test_servers_that_start_at_once_fill_it_once(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await emptied(house.live, house.shard)
    found = await asyncio.gather(*(house.recovery.ensure(house.shard, known) for known in (None, house.known, None)))
    assert len({known[:2] for known in found}) == 1
    await assert_verified(house)


async def test_a_rebuild_that_is_killed_anywhere_starts_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await vote_for_weeks(house)
    for n, step in enumerate(["take", "clear", "begin", "load", "open"] * 2):
        # The store has an event that the archive lacks, and lacks one that a server has seen.
        await house.cast(house.vote("bob", "aria", 1 + n, house.contest))
        before = await house.rankings(), await house.ballots()
        known = house.known._replace(floor=(await house.live.position(house.shard)).seq + 1)
        with capture_logs() as logs:
            with monkeypatch.context() as patch:
                patch.setattr(Hold, step, killed(getattr(Hold, step), done=n >= 5))
                with pytest.raises(StoreUnavailable, match="killed here"):
                    await house.recovery.ensure(house.shard, known)
            house.known = await house.recovery.ensure(house.shard, known)
        assert [line["lost"] for line in logs if "lost" in line] == [1]
        assert house.known.floor == known.floor
        assert house.known.epoch != known.epoch
        assert same(before[0], await house.rankings())
        assert await house.ballots() == before[1]
        await assert_verified(house)


async def test_an_older_state_is_filled_up_from_an_archive_that_is_ahead(house: House) -> None:
    snapshot = Snapshot(house.live, house.shard)
    await house.cast(*votes_of_all(house, house.songs, [1, -1]))
    await snapshot.take()
    await house.cast(*votes_of_all(house, house.contest, [5, 7, 12]))
    await house.flush()
    before = await house.rankings(), await house.ballots()
    await snapshot.put_back()
    assert (await house.live.position(house.shard)).seq == 24
    with capture_logs() as logs:
        known = await house.recovery.ensure(house.shard)
    assert not any("lost" in line for line in logs)
    assert known.floor == 48
    assert known.epoch != house.known.epoch
    assert (await house.rankings(), await house.ballots()) == before
    await assert_verified(house)


async def test_votes_that_neither_store_has_are_counted_loudly(house: House) -> None:
    snapshot = Snapshot(house.live, house.shard)
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await house.cast(house.vote("bob", "aria", 1))
    await snapshot.take()
    expected = await house.rankings()
    await house.cast(house.vote("cyd", "aria", 1), house.vote("dee", "aria", 1), house.vote("dee", "Blues", 1))
    await snapshot.put_back()
    with capture_logs() as logs:
        house.known = await house.recovery.ensure(house.shard, house.known._replace(floor=5))
    # What its log still had came into the archive first.
    assert [row[0] for row in await house.fetch("select seq from vote_events order by seq")] == [1, 2]
    (loss,) = [line for line in logs if line["log_level"] == "error"]
    assert (loss["event"], loss["lost"]) == ("acknowledged votes are lost: neither store has them", 3)
    assert house.known.floor == 5
    assert await house.rankings() == expected
    # Their numbers are not given out again.
    (outcome,) = await house.cast(house.vote("cyd", "aria", 1))
    assert outcome.seq == 6
    await house.flush()
    await assert_verified(house)


async def test_an_empty_store_that_lost_votes_says_so_too(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await emptied(house.live, house.shard)
    with capture_logs() as logs:
        assert (await house.recovery.ensure(house.shard, house.known._replace(floor=1))).floor == 1
    assert [line["lost"] for line in logs if line["log_level"] == "error"] == [1]


async def test_a_state_that_was_given_up_does_not_come_back(house: House) -> None:
    """A replica that was left behind is promoted: its events were numbered again since."""
    snapshot = Snapshot(house.live, house.shard)
    await house.cast(*[house.vote(agent, "aria", 1) for agent in AGENTS])
    await snapshot.take()
    await emptied(house.live, house.shard)
    house.known = await house.recovery.ensure(house.shard)
    await house.cast(house.vote("ann", "Blues", 1))
    await house.flush()
    await snapshot.put_back()
    with capture_logs() as logs:
        known = await house.recovery.ensure(house.shard, house.known._replace(floor=1))
    assert [line["lost"] for line in logs if line["log_level"] == "error"] == [4]
    assert known.epoch != house.known.epoch
    assert [row.item for row in (await house.ranking(house.songs, "all")).rows if row.points] == ["Blues"]
    await assert_verified(house)


async def test_a_flusher_with_events_in_its_hands_does_not_carry_them_into_the_next_state(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    after = await Ledger(house.archive).flushed(house.shard)
    held = await house.live.log_after(house.shard, after.seq, 10, 0.001)
    await emptied(house.live, house.shard)
    house.known = await house.recovery.ensure(house.shard)
    await house.cast(house.vote("bob", "Blues", 1))
    with pytest.raises(Exception, match="no longer at 0"):
        await Ledger(house.archive).append(house.shard, after, held)
    await house.flush()
    await audit(house, 1)
    await assert_verified(house)


async def test_items_and_boards_that_the_live_store_was_not_told_of_are_added(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await Catalogue(house.archive).add(house.tenant, house.songs, [song("gigue"), song("zydeco", artist=None)])
    (board,) = await Boards(house.archive).add(house.tenant, [NewBoard("later", "Later", "song")])
    assert (await house.recovery.ensure(house.shard))[:2] == (house.known.epoch, 1)
    rows = (await house.ranking(house.songs, "all")).rows
    assert [(row.item, row.points) for row in rows[:1]] == [("aria", 100)]
    assert {"gigue", "zydeco"} < {row.item for row in rows}
    assert (await house.ranking(board, "all")).total == 0
    assert await house.live.titles(house.shard, house.tenant.number, ["song:zydeco"]) == [("zydeco", None)]


async def test_a_clock_that_went_back_over_a_rebuild_loses_no_vote_of_its_windows(house: House) -> None:
    midnight = NOON + 12 * HOUR
    await house.cast(house.vote("ann", "aria", 1))
    house.now = midnight + 30 * MINUTE
    await house.cast(house.vote("bob", "aria", 1))
    await house.flush()
    await emptied(house.live, house.shard)
    house.now -= HOUR
    house.known = await house.recovery.ensure(house.shard)
    await house.cast(house.vote("cyd", "aria", 1))
    await house.flush()
    for house.now in (midnight - MINUTE, midnight + MINUTE, midnight + HOUR):
        await house.cast(house.vote("cyd", "aria", 1))
        assert (await house.ranking(house.songs, "day")).rows[0] == Row("aria", 1, 200, 3, 0)
        await assert_verified(house)


async def test_an_archive_without_the_shard_gives_an_empty_store(
    live: LiveStore, archive: Archive, house: House
) -> None:
    assert (await house.recovery.ensure(3)).floor == 0
    position = await live.position(3)
    assert (position.ready, position.seq, position.epoch) == (True, 0, (await Ledger(archive).flushed(3)).epoch)


async def test_nobody_sees_a_board_that_is_being_filled(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.cast(*votes_of_all(house, house.songs, [1]))
    await house.flush()
    before = await house.rankings()
    seen: list[Rankings | None] = []

    def looking(step: Any) -> Any:
        async def look(self: Hold, *arguments: Any) -> Any:
            done = await step(self, *arguments)
            try:
                seen.append(await house.rankings())
            except StoreUnavailable:
                seen.append(None)
            return done

        return look

    for step in ("clear", "begin", "load", "show"):
        monkeypatch.setattr(Hold, step, looking(getattr(Hold, step)))
    await house.live._redis.hdel(f"{house.live.tag(house.shard)}:meta", "epoch")
    await house.recovery.ensure(house.shard)
    # As soon as all items are there boards are shown, while ballots and quotas are still to come.
    shown = next(place for place, rankings in enumerate(seen) if rankings is not None)
    assert shown > 4
    assert len(seen) > shown + 1
    for rankings in (*seen[shown:], await house.rankings()):
        assert rankings is not None
        assert same(before, rankings)
