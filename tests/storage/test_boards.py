"""Boards and their items in the archive, and what an agent has cast."""

from __future__ import annotations

import pytest

from storage.boards import BallotCast, Boards, NewBoard
from storage.directory import Directory
from storage.errors import Exists, NotFound
from storage.types import Board
from tests.storage.house import SONGS, House
from tests.storage.shard import DAY, HOUR, NOON

FULL = NewBoard(
    slug="finals",
    title="The finals 'é'",
    item_type="tool",
    ballot="points",
    minimum=-3,
    maximum=12,
    ballots_change=True,
    windows=("all", "trending"),
    opens_at=NOON + 1,
    closes_at=NOON + DAY + 999,
    weights={"free": 50, "pro": 150},
)


async def test_a_board_comes_back_as_it_was_made(house: House) -> None:
    boards = Boards(house.archive)
    made = await boards.add(house.tenant, [FULL, NewBoard("plain", "Plain", "song")])
    finals, plain = made
    assert (finals.opens_at, finals.closes_at, finals.weights) == (NOON + 1, NOON + DAY + 999, {"free": 50, "pro": 150})
    assert finals.windows == ("all", "trending")
    assert (plain.ballot, plain.minimum, plain.maximum, plain.ballots_change) == ("updown", -1, 1, False)
    of_tenant = await boards.of_tenant(house.tenant.number)
    assert of_tenant[-2:] == made
    assert [board.slug for board in of_tenant] == ["songs", "tools", "contest", "finals", "plain"]
    assert await boards.of_shard(house.shard) == of_tenant


async def test_boards_are_made_all_or_none(house: House) -> None:
    boards = Boards(house.archive)
    with pytest.raises(Exists, match="'songs'"):
        await boards.add(house.tenant, [FULL, NewBoard("songs", "Again", "song")])
    assert len(await boards.of_tenant(house.tenant.number)) == 3
    other, _ = await Directory(house.archive).add_tenant("other", 4)
    (again,) = await boards.add(other, [FULL])
    assert (again.tenant, again.shard) == (other.number, other.shard)
    assert again not in await boards.of_shard(house.shard)


async def test_items_join_all_or_none(house: House) -> None:
    boards = Boards(house.archive)
    (board,) = await boards.add(house.tenant, [NewBoard("best", "Best", "song")])
    assert {item.item_id for item in await boards.add_items(board, ["aria", "déjà"])} == {"aria", "déjà"}
    for batch, error, name in (
        (["elegy", "nope"], NotFound, "nope"),
        (["elegy", "aria"], Exists, "aria"),
        (["elegy", "elegy"], Exists, "elegy"),
    ):
        with pytest.raises(error, match=name):
            await boards.add_items(board, batch)
    tools = next(of for of in await boards.of_tenant(house.tenant.number) if of.slug == "tools")
    with pytest.raises(NotFound, match="tool 'aria'"):
        await boards.add_items(tools, ["aria"])
    counts = await boards.item_counts(house.shard)
    assert (counts[board.number], counts[house.songs.number], counts[tools.number]) == (2, len(SONGS), 0)
    items = await boards.items_of_shard(house.shard)
    assert [item.item_id for item in items[board.number]] == ["aria", "déjà"]
    assert tools.number not in items


async def test_an_agents_ballots_newest_first(house: House) -> None:
    boards = Boards(house.archive)
    for hour, (item, board) in enumerate([("aria", house.songs), ("Blues", house.contest), ("déjà", house.songs)]):
        house.now = NOON + hour * HOUR
        await house.cast(house.vote("ann", item, 1, board, comment="ja, ä" if hour else None))
    await house.cast(house.vote("bob", "aria", -1), house.vote("ann", "elegy", 1), house.vote("ann", "elegy", None))
    house.now = NOON + 5 * HOUR
    await house.cast(house.vote("ann", "Blues", 12, house.contest))
    await house.flush()
    ballots, total = await boards.ballots_of(house.agents["ann"], 10, 0)
    assert total == 3
    assert ballots == [
        BallotCast("contest", "Blues", "Blues", "Nobody", 12, "points", 7, NOON + 5 * HOUR, None),
        BallotCast("songs", "déjà", "déjà", "Nobody", 1, "updown", 3, NOON + 2 * HOUR, "ja, ä"),
        BallotCast("songs", "aria", "aria", "Nobody", 1, "updown", 1, NOON, None),
    ]
    assert await boards.ballots_of(house.agents["ann"], 1, 1) == (ballots[1:2], 3)
    assert await boards.ballots_of(house.agents["dee"], 10, 0) == ([], 0)


def test_a_board_knows_when_it_is_open_and_what_it_takes() -> None:
    board = Board(1, 1, 0, "b", "B", "song", "updown", -1, 1, False, ("all",), NOON, NOON + HOUR, {"free": 50})
    times = {NOON - 1: "scheduled", NOON: "open", NOON + HOUR - 1: "open", NOON + HOUR: "closed"}
    assert {at: board.state(at) for at in times} == times
    assert [value for value in range(-3, 4) if board.takes(value)] == [-1, 1]
    assert (board.weight_of("free"), board.weight_of("pro")) == (50, 100)
