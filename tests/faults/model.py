"""What boards must look like after a list of events: a plain recount that shares nothing with the server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.faults.memory import Key

HALF_LIFE: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `vote_events` in the words of those who voted."""

    seq: int
    at: datetime
    key: Key
    value: int | None
    previous: int | None
    points: int


@dataclass(frozen=True, slots=True)
class Standing:
    """An item in a window: hundredths of a vote, ballots up and down, competition rank."""

    points: float
    up: int
    down: int
    rank: int


class Recount:
    """The state that events lead to. `faults` names events that do not follow from those before them."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = sorted(events, key=lambda event: event.seq)
        self.ballots: dict[Key, int] = {}
        self.last_seq: dict[Key, int] = {}
        self.faults: list[str] = []
        for event in self.events:
            held = self.ballots.get(event.key)
            expected = 100 * ((event.value or 0) - (held or 0))
            if (event.previous, event.points) != (held, expected) or event.value == held:
                self.faults.append(f"event {event.seq} does not follow from the ballot {held}: {event}")
            if event.value is None:
                self.ballots.pop(event.key, None)
            else:
                self.ballots[event.key] = event.value
            self.last_seq[event.key] = event.seq

    def counts(self, board: str, item: str) -> tuple[int, int, int]:
        """Points, ups and downs of an item over all time, from the ballots as they stand."""
        values = [value for key, value in self.ballots.items() if key.board == board and key.item == item]
        return 100 * sum(values), sum(value > 0 for value in values), sum(value < 0 for value in values)

    def window(self, board: str, window: str, items: Iterable[str], as_of: datetime) -> dict[str, Standing]:
        """A window of a board as of a moment, which matters to the minute."""
        points: dict[str, float] = defaultdict(float)
        since = _begins(window, as_of)
        for event in self.events:
            if event.key.board == board and event.at >= since:
                points[event.key.item] += event.points * (_weight(event.at, as_of) if window == "trending" else 1)
        ups_and_downs = {item: self.counts(board, item)[1:] for item in items}
        ordered = sorted(points[item] for item in items)
        return {
            item: Standing(points[item], *counts, rank=1 + sum(other > points[item] for other in ordered))
            for item, counts in ups_and_downs.items()
        }


def _begins(window: str, as_of: datetime) -> datetime:
    midnight = as_of.replace(hour=0, minute=0, second=0, microsecond=0)
    match window:
        case "day":
            return midnight
        case "week":
            return midnight - timedelta(days=midnight.weekday())
        case "month":
            return midnight.replace(day=1)
        case _:
            return datetime.min.replace(tzinfo=UTC)


def _weight(at: datetime, as_of: datetime) -> float:
    minute = at.replace(second=0, microsecond=0)
    return float(2 ** ((minute - as_of.replace(second=0, microsecond=0)) / HALF_LIFE))
