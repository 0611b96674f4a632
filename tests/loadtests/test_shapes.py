"""How many users there are at a time."""

from itertools import pairwise

import pytest

from loadtests.options import ShapeName
from loadtests.shapes import SHAPES, Plan, goal, reconnects

PLAN = Plan(100, 10, 60)


def users(shape: ShapeName, plan: Plan = PLAN) -> list[int | None]:
    """Users at the start, and after each further sixth of a minute."""
    goals = [goal(shape, at, plan) for at in range(0, 70, 10)]
    return [None if at is None else at.users for at in goals]


def test_shapes() -> None:
    assert users("steady") == [10, 100, 100, 100, 100, 100, None]
    assert users("soak") == users("herd") == users("steady")
    assert users("ramp") == [2, 18, 35, 52, 68, 85, None]
    assert users("spike") == [10, 10, 100, 100, 10, 10, None]


def test_a_spike_comes_at_once() -> None:
    before, after = goal("spike", 19.9, PLAN), goal("spike", 20.0, PLAN)
    assert before is not None
    assert after is not None
    assert after.rate >= after.users - before.users


@pytest.mark.parametrize("shape", SHAPES)
def test_a_goal_is_never_far_ahead(shape: ShapeName) -> None:
    """Locust waits until a goal is reached, and asks for nothing meanwhile."""
    held = 0
    for at in range(60):
        wanted = goal(shape, at, PLAN)
        assert wanted is not None
        assert abs(wanted.users - held) <= 2 * wanted.rate
        held = wanted.users


def test_shapes_without_a_run_time_have_their_own() -> None:
    plan = PLAN._replace(seconds=None)
    assert goal("steady", 1e6, plan) is not None
    assert goal("soak", 3599, plan) is not None
    assert goal("soak", 3600, plan) is None
    assert goal("ramp", 300, plan) is None


def test_a_herd_reconnects_again_and_again() -> None:
    ticks = [0.0, 0.9, 2.1, 2.9, 3.9, 4.0, 8.5]
    moments = [after for before, after in pairwise(ticks) if reconnects("herd", before, after, 2)]
    assert moments == [2.1, 4.0, 8.5]
    assert not reconnects("steady", 1, 100, 2)
