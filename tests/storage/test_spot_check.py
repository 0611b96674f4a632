"""A part of a live board against the counts that the archive keeps, as of one event."""

import pytest

from storage.errors import StoreUnavailable
from storage.live import LiveStore
from storage.verify import spot_check
from tests.storage.house import House, votes_of_all


async def test_an_archive_that_has_come_further_is_compared_as_it_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.cast(*votes_of_all(house, house.contest, [5, -3, 12]))
    await house.flush()
    ranking = await house.ranking(house.contest, "all")
    await house.cast(*votes_of_all(house, house.contest, [7, -2, -1]))
    await house.flush()

    async def read(*_: object) -> object:
        return [ranking]

    monkeypatch.setattr(LiveStore, "read", read)
    checked = await spot_check(house.live, house.archive, house.contest)
    assert (checked.seq, checked.items, checked.differences) == (ranking.seq, len(ranking.rows), ())


async def test_what_the_archive_keeps_otherwise_is_told(house: House) -> None:
    await house.cast(house.vote("ann", "aria", 1))
    await house.flush()
    await house.execute("update board_items set points = points + 100 where points > 0")
    checked = await spot_check(house.live, house.archive, house.songs)
    assert checked.differences == ("aria is 1/0/100 live, (1, 0, 200) in the archive",)


async def test_a_live_state_that_was_replaced_meanwhile_is_not_compared(house: House) -> None:
    await house.execute("update flush_positions set epoch = 'another'")
    with pytest.raises(StoreUnavailable):
        await spot_check(house.live, house.archive, house.songs)
