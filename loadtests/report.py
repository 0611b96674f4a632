"""What happened, handed to Locust: times under clear names, and every failed check as a failure."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from loadtests.checks import CheckFailed, Rise

_TOLD: Final = 3
"""Failures of one kind that a process tells in full; Locust counts the rest."""

_REMEMBERED: Final = 512
"""Votes that the beacon remembers of an item: more than one delta can show."""

_told: Counter[tuple[str, str, str]] = Counter()

log = logging.getLogger(__name__)


class Report:
    """One line of Locust's statistics per (kind, name). `fire` is that of Locust's request event."""

    def __init__(self, fire: Callable[..., Any]) -> None:
        self._fire = fire

    def timed(self, kind: str, name: str, seconds: float, size: int = 0) -> None:
        """Notes something that took a time; `size` in bytes."""
        self._fire(request_type=kind, name=name, response_time=seconds * 1000, response_length=size, exception=None)

    def counted(self, kind: str, name: str, size: int = 0) -> None:
        """Notes something that has no time of its own."""
        self._fire(request_type=kind, name=name, response_time=None, response_length=size, exception=None)

    def failed(self, kind: str, name: str, error: Exception, seconds: float | None = None) -> None:
        """Notes a failure, with the time after which it came where that says something."""
        self.tell(kind, name, error)
        time = None if seconds is None else seconds * 1000
        self._fire(request_type=kind, name=name, response_time=time, response_length=0, exception=error)

    def tell(self, kind: str, name: str, error: Exception) -> None:
        """Logs a failure in full, unless there were such already: Locust's statistics have only its first sentence."""
        _told[kind, name, str(error)] += 1
        if _told[kind, name, str(error)] <= _TOLD:
            detail = error.detail if isinstance(error, CheckFailed) and error.detail else type(error).__name__
            log.warning("%s %s failed: %s (%s)", kind, name, error, detail)


class FailuresOnly(Report):
    """For a client whose times say nothing about the server."""

    def timed(self, kind: str, name: str, seconds: float, size: int = 0) -> None:
        """Not noted."""

    def counted(self, kind: str, name: str, size: int = 0) -> None:
        """Not noted."""


class Beacon:
    """Votes that this process cast, by how many ballots their item had then: to tell how old a delta is.

    A process knows only its own votes, on clocks that agree: where there are several, or several machines, each
    measures with the votes of its own agents.
    """

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], dict[int, float]] = {}

    def voted(self, board: str, item: str, ballots: int, sent: float) -> None:
        """Notes a vote, sent at a time in seconds, that made the item have so many ballots."""
        votes = self._sent.setdefault((board, item), {})
        votes[ballots] = sent
        if len(votes) > _REMEMBERED:
            del votes[next(iter(votes))]

    def oldest(self, board: str, rises: Iterable[Rise]) -> float | None:
        """When the oldest known vote in a delta was sent; None where it shows none that is known."""
        found = [
            sent
            for item, before, after in rises
            if (votes := self._sent.get((board, item)))
            for ballots in range(max(before, after - _REMEMBERED) + 1, after + 1)
            if (sent := votes.get(ballots)) is not None
        ]
        return min(found, default=None)
