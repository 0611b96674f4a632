"""What an agent of a load test votes."""

from random import Random

import pytest

from loadtests.ballots import Ballot, Board, Book

ITEMS = [f"i{number}" for number in range(50)]
BOARD = Board("b", "updown", -1, 1, ballots_change=False, windows=["all"], items=ITEMS)
POINTS = BOARD._replace(slug="p", kind="points", minimum=1, maximum=12)
LIKES = BOARD._replace(slug="l", kind="like", minimum=1)


def test_every_item_is_voted_on_once_and_the_first_ones_soonest() -> None:
    book = Book([BOARD, POINTS], Random(1))
    ballots = []
    while ballot := book.fresh():
        ballots.append(ballot)
    assert {(ballot.board.slug, ballot.item) for ballot in ballots} == {(b, i) for b in "bp" for i in ITEMS}
    assert len(ballots) == 100
    first_tens = [Book([BOARD], Random(seed)) for seed in range(100)]
    early = [ballot.item for book in first_tens for _ in range(10) if (ballot := book.fresh())]
    assert early.count("i0") > 5 * early.count("i49")


@pytest.mark.parametrize("board", [BOARD, POINTS, LIKES])
def test_ballots_are_what_the_board_takes(board: Board) -> None:
    ballots = [board.ballot("i0", Random(seed)) for seed in range(200)]
    said = {ballot.value if ballot.vote is None else ballot.vote for ballot in ballots}
    wanted: dict[str, set[int | str]] = {"updown": {"up", "down"}, "points": {*range(1, 13)}, "like": {"up"}}
    assert said == wanted[board.kind]
    for ballot in ballots:
        other = board.other(ballot)
        assert (other is None) is (board.kind == "like")
        assert other is None or (other != ballot and other in ballots)


def test_a_ballot_is_the_same_over_both_doors() -> None:
    assert Ballot(BOARD, "i0", "up", None).body() == {"board": "b", "item_id": "i0", "vote": "up"}
    assert Ballot(POINTS, "i0", None, 7).body() == {"board": "p", "item_id": "i0", "value": 7}
    vote = Ballot(POINTS, "i0", None, 7).message(3)
    assert (vote.id, vote.board, vote.item, vote.vote, vote.value) == (3, "p", "i0", None, 7)


def test_the_book_knows_what_stands() -> None:
    book = Book([BOARD], Random(1))
    assert book.standing() is None
    ballot = book.fresh()
    assert ballot is not None
    book.note(ballot)
    assert book.standing() == ballot
