"""Ranks as of samples: what is remembered, how many questions are asked, and how long anybody waits."""

import asyncio
from collections.abc import Sequence

import pytest

from app.movement import PAUSE, WITHIN, Movement
from storage.errors import ArchiveUnavailable, NotMigrated, StorageError
from storage.types import Sample
from tests.channels.virtual import run


class Archive:
    """Answers after `takes` seconds with ten items for each sample, and notes what it was asked."""

    def __init__(self, takes: float = 0.01) -> None:
        self.takes = takes
        self.failure: Exception | None = None
        self.asked: list[list[Sample]] = []

    async def ranks(self, wanted: Sequence[Sample]) -> list[dict[str, int]]:
        self.asked.append(list(wanted))
        await asyncio.sleep(self.takes)
        if self.failure is not None:
            raise self.failure
        return [{f"{sample.at}-{n}": n for n in range(1, 11)} for sample in wanted]


def samples(count: int, at: int = 7) -> list[Sample]:
    return [Sample(board, "day", at) for board in range(count)]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_one_question_is_asked_for_all_that_a_read_lacks_and_none_for_what_is_known() -> None:
    async def main() -> None:
        archive = Archive()
        movement = Movement(archive)
        many = samples(900)
        assert (await movement.ranks(many[:300])).keys() == set(many[:300])
        found = await movement.ranks(many)
        assert all(found[sample]["7-3"] == 3 for sample in many)
        for first in range(0, 900, 100):
            assert len(await movement.ranks(many[first : first + 100])) == 100
        assert archive.asked == [many[:300], many[300:]]

    run(main())


def test_reads_that_lack_the_same_wait_for_the_same_answer() -> None:
    async def main() -> None:
        archive = Archive()
        movement = Movement(archive)
        wanted = samples(3)
        first, second = await asyncio.gather(movement.ranks(wanted[:2]), movement.ranks(wanted))
        assert (len(first), len(second)) == (2, 3)
        assert archive.asked == [wanted[:2], wanted[2:]]

    run(main())


def test_what_was_looked_at_last_is_remembered_as_far_as_there_is_room() -> None:
    async def main() -> None:
        archive = Archive()
        movement = Movement(archive, rows=33)
        one, two, three, four = samples(4)
        await movement.ranks([one, two, three])
        await movement.ranks([one])
        await movement.ranks([four])
        await movement.ranks([one, three, four])
        assert archive.asked == [[one, two, three], [four]]
        await movement.ranks([two])
        assert archive.asked[2:] == [[two]]

    run(main())


def test_a_newer_sample_of_a_window_takes_the_place_of_the_older() -> None:
    async def main() -> None:
        archive = Archive()
        movement = Movement(archive, rows=33)
        for at in range(1, 9):
            for sample in samples(3, at):
                assert f"{at}-1" in (await movement.ranks([sample]))[sample]
        assert len(archive.asked) == 24
        await movement.ranks(samples(3, 8))
        await movement.ranks(samples(1, 7))
        await movement.ranks(samples(3, 8))
        assert archive.asked[24:] == [samples(1, 7)]

    run(main())


def test_a_silent_archive_holds_one_read_up_and_once() -> None:
    async def main() -> None:
        archive = Archive(takes=3600)
        movement = Movement(archive)
        assert await movement.ranks(samples(500)) == {}
        assert now() == WITHIN
        for _ in range(20):
            assert await movement.ranks(samples(600)) == {}
        assert now() == WITHIN
        assert len(archive.asked) == 1
        # The question is given up as late as answers are still good; then there is a pause again.
        await asyncio.sleep(PAUSE)
        archive.takes = 0.01
        assert await movement.ranks(samples(2)) == {}
        await asyncio.sleep(PAUSE)
        assert len(await movement.ranks(samples(2))) == 2

    run(main())


def test_an_answer_that_comes_late_is_remembered() -> None:
    async def main() -> None:
        archive = Archive(takes=1)
        movement = Movement(archive)
        assert await movement.ranks(samples(5)) == {}
        await asyncio.sleep(1)
        assert len(await movement.ranks(samples(5))) == 5
        assert len(archive.asked) == 1

    run(main())


@pytest.mark.parametrize("failure", [ArchiveUnavailable("away"), NotMigrated("another schema")])
def test_an_archive_that_can_not_tell_is_not_asked_for_a_while(failure: StorageError) -> None:
    async def main() -> None:
        archive = Archive()
        archive.failure = failure
        movement = Movement(archive)
        assert await movement.ranks(samples(1)) == {}
        assert await movement.ranks(samples(1)) == {}
        archive.failure = None
        await asyncio.sleep(PAUSE)
        assert len(await movement.ranks(samples(1))) == 1
        assert len(archive.asked) == 2

    run(main())
