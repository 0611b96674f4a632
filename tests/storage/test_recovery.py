"""A live store that lost something: filled again from the archive, equal to what it was, or with a loud word."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from storage import recovery as recovery_module
from storage.archive import Archive, try_lock
from storage.boards import Boards, NewBoard
from storage.catalogue import Catalogue
from storage.errors import ArchiveBehind, StoreUnavailable
from storage.hold import Hold
from storage.ledger import Flushed, Ledger
from storage.live import LiveStore
from storage.recovery import LOCK_PURPOSE, Recovery
from storage.types import Known, Row, Status, Window
from tests.storage.house import AGENTS, House, assert_verified, audit, losses, restart, song, votes_of_all
from tests.storage.shard import DAY, HOUR, MINUTE, NOON, emptied


async def vote_for_weeks(house: House) -> None:
    """Votes of every age: some outside each window, some changed, some retracted; all in the archive."""
    ages = [40 * DAY, 12 * DAY, 8 * DAY, 2 * DAY, 13 * HOUR, 7 * HOUR + 17 * MINUTE, 3 * MINUTE, 0]
    await Ledger(house.archive).ensure_partitions(NOON - 40 * DAY)
    for n, age in enumerate(ages):
        house.now = NOON - age
        votes = [*votes_of_all(house, house.contest, range(n, 13)), *votes_of_all(house, house.songs, [1, -1])]
        await house.cast(*votes[n::8], house.vote("dee", "elegy", n, house.contest))
    await house.cast(house.vote("dee", "elegy", None, house.contest), house.vote("ann", "aria", None, house.contest))
    await house.flush()


Rankings = dict[tuple[str, Window], list[Row]]


def same(before: Rankings, after: Rankings) -> bool:
    """Whether rankings are equal, but for a hundredth where scores decay: sums of doubles depend on their order."""
    for (_, window), rows in before.items():
        others = {row.item: row for row in after.get((_, window), [])}
        if window != "trending":
            assert list(others.values()) == rows
        assert others.keys() == {row.item for row in rows}
        assert all(abs(others[row.item].points - row.points) <= 1 for row in rows)
    return before.keys() == after.keys()


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


async def quotas(house: House) -> list[int]:
    return [await house.live.quota_used(house.shard, NOON // DAY, agent) for agent in house.agents.values()]


class Snapshot:
    """Every key of a shard as it was, to be put back: an append-only file that lacks its end."""

    def __init__(self, live: LiveStore, shard: int) -> None:
        self._live = live
        self._shard = shard
        self._keys: dict[bytes, bytes] = {}

    async def take(self) -> None:
        redis: Any = self._live._redis
        async for key in redis.scan_iter(match=f"{self._live.tag(self._shard)}:*"):
            self._keys[key] = await redis.dump(key)

    async def put_back(self) -> None:
        await emptied(self._live, self._shard)
        for key, content in self._keys.items():
            await self._live._redis.restore(key, 0, content)


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


def killed(step: Any, *, done: bool) -> Any:
    """A step of a rebuild that ends the process, when it is done or before it begins."""

    async def kill(self: object, *arguments: Any, **options: Any) -> None:
        if done:
            await step(self, *arguments, **options)
        raise StoreUnavailable("killed here")

    return kill


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


async def set_back(house: House, seq: int) -> None:
    """Makes the archive what it was before the events past `seq`, as a restored backup would."""
    await house.execute("delete from vote_events where seq > $1", seq)
    await house.execute("update flush_positions set seq = $1", seq)


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
