"""How many users there are at a time, and when all of them reconnect. Pure."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Final, NamedTuple

from loadtests.options import ShapeName


class Plan(NamedTuple):
    """What Locust's own options ask for: users at most, users a second that are started, seconds (None: no end)."""

    users: int
    rate: float
    seconds: float | None


class Goal(NamedTuple):
    """Users that there should be, and how many a second may come or go until then."""

    users: int
    rate: float


def steady(at: float, plan: Plan) -> Goal:
    """All users, started at the given rate."""
    # Locust waits until a goal is reached: it is set no further ahead than the next second.
    return Goal(min(plan.users, ceil(plan.rate * (at + 1))), plan.rate)


def ramp(at: float, plan: Plan) -> Goal:
    """From one user to all of them over the whole time: to see where the times begin to rise."""
    assert plan.seconds is not None
    share = min(1.0, (at + 1) / plan.seconds)
    return Goal(max(1, round(plan.users * share)), max(1.0, plan.users / plan.seconds))


def spike(at: float, plan: Plan) -> Goal:
    """A tenth of the users, all of them at once in the middle third, and a tenth again."""
    assert plan.seconds is not None
    third = plan.seconds / 3
    few = max(1, plan.users // 10)
    if at < third:
        return steady(at, plan._replace(users=few))
    return Goal(plan.users if at < 2 * third else few, plan.users)


SHAPES: Final[dict[ShapeName, Callable[[float, Plan], Goal]]] = {
    "steady": steady,
    "ramp": ramp,
    "spike": spike,
    "soak": steady,
    "herd": steady,
}

LENGTHS: Final[dict[ShapeName, float | None]] = {
    "steady": None,
    "ramp": 300.0,
    "spike": 300.0,
    "soak": 3600.0,
    "herd": None,
}
"""Seconds that a shape takes where no run time is given."""


def goal(shape: ShapeName, at: float, plan: Plan) -> Goal | None:
    """What is wanted `at` seconds after the start; None when it is over."""
    seconds = LENGTHS[shape] if plan.seconds is None else plan.seconds
    if seconds is not None and at >= seconds:
        return None
    return SHAPES[shape](at, plan._replace(seconds=seconds))


def reconnects(shape: ShapeName, before: float, at: float, every: float) -> bool:
    """Whether all reconnect at some moment after `before` and not after `at`."""
    return shape == "herd" and int(before / every) < int(at / every)
