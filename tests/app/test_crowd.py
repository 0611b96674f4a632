"""The crowd of a simulation."""

import random
from collections import Counter

import pytest

from app.crowd import Crowd, Stage

SONGS = Stage("songs", "updown", -1, 1, [f"s{number}" for number in range(30)])
POINTS = Stage("esc", "points", 1, 12, ["a", "b", "c"])


def crowd(*stages: Stage, agents: int = 20, seed: int = 1) -> Crowd:
    return Crowd(agents, stages, random.Random(seed))


def test_nobody_votes_twice_or_takes_back_what_was_not_given() -> None:
    some = crowd(SONGS, POINTS)
    held: set[tuple[int, str, str]] = set()
    for _ in range(5000):
        act = some.act()
        ballot = act.agent, act.board, act.item
        assert (ballot in held) is (act.choice is None)
        held ^= {ballot}
    per_agent = Counter((agent, board) for agent, board, _ in held)
    assert max(count for (_, board), count in per_agent.items() if board == "songs") == 10


def test_a_few_items_get_most_of_the_votes() -> None:
    some = crowd(SONGS, agents=500)
    items = Counter(act.item for act in (some.act() for _ in range(2000)))
    first_five = sum(count for _, count in items.most_common(5))
    assert first_five > 0.4 * items.total()
    assert len(items) > 20


def test_ballots_are_such_as_the_board_takes() -> None:
    stages = POINTS, Stage("liked", "like", 1, 1, ["x", "y", "z"]), SONGS._replace(items=["s", "t", "u"])
    some = crowd(*stages, agents=500)
    choices: dict[str, set[object]] = {stage.slug: set() for stage in stages}
    for _ in range(3000):
        act = some.act()
        choices[act.board].add(act.choice)
    assert choices["liked"] <= {"up", None}
    assert choices["songs"] == {"up", "down", None}
    assert set(range(2, 13)) <= choices["esc"] <= {*range(1, 13), None}


def test_a_vote_that_did_not_count_may_be_cast_again() -> None:
    some = crowd(Stage("one", "updown", -1, 1, ["a"]), agents=1)
    first = some.act()
    some.undo(first)
    assert some.act().choice is not None


def test_a_ballot_that_stood_already_is_taken_back() -> None:
    some = crowd(Stage("one", "updown", -1, 1, ["a"]), agents=1)
    found = some.act()
    assert some.take_back(found) == (0, "one", "a", None)
    assert some.take_back(found) is None
    assert some.act().choice is not None


def test_where_there_is_nothing_nobody_votes() -> None:
    with pytest.raises(ValueError, match="nothing to vote on"):
        crowd(Stage("empty", "updown", -1, 1, []))
