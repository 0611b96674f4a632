"""What a case is, and what it answers."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from loadtests.bench.lab import Lab


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a case measured.

    `figure` and `floor` are for people, with their units; `ratio` is the one that the target speaks of, where it
    speaks of one. `met` is None for a figure without a target. `values` are the bare numbers behind the figures.
    `broke` says that the case could not be run to its end.
    """

    figure: str
    met: bool | None
    floor: str = ""
    ratio: float | None = None
    notes: Sequence[str] = ()
    values: dict[str, Any] = {}
    broke: bool = False


class Case(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    what: str
    target: str
    run: Callable[[Lab], Awaitable[Measurement]]


class Latencies(msgspec.Struct, frozen=True):
    """A distribution of times, in milliseconds."""

    count: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latencies:
        """The distribution of times given in seconds; all 0 where there are none."""
        if not seconds:
            return cls(0, 0.0, 0.0, 0.0)
        times = sorted(seconds)
        return cls(len(times), times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3, times[-1] * 1e3)


def median(values: Sequence[float]) -> float:
    """The middle one: a neighbour's burst of work on this machine spoils one round, not the figure."""
    return statistics.median(values)


def ratios(figures: Sequence[float], floors: Sequence[float]) -> float:
    """The median of the ratios of rounds that were run side by side."""
    return median([figure / floor for figure, floor in zip(figures, floors, strict=True)])
