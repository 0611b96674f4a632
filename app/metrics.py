"""What Prometheus may ask a server for.

One `Metrics` per server process, with a registry of its own. Where there are several processes, `colleagues`
makes one answer of theirs.
"""

from __future__ import annotations

import os
import platform
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final, Literal, NamedTuple, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from storage.types import Outcome

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STALLS: Final = (0.25, 0.5, 1, 2.5, 5, 10)
_VOTES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Door = Literal["http", "websocket"]

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST


class Waiting(NamedTuple):
    """Events of a shard that PostgreSQL does not have yet, and for how many seconds the oldest of them has waited."""

    events: int
    seconds: float


class Metrics:
    """Counters, gauges and histograms of one server process; times in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="plaudit", registry=self.registry)
        build = Gauge(
            "plaudit_build_info", "Always 1; the labels say what runs.", ("version", "python", "pid"),
            registry=self.registry,
        )  # fmt: skip
        build.labels(version("plaudit"), platform.python_version(), str(os.getpid())).set(1)
        self.votes = self._counter("plaudit_votes", "Votes that were answered.", "status")
        self.batch_votes = self._histogram("plaudit_batch_votes", "Votes in one batch.", _VOTES)
        self.ack_seconds = self._histogram(
            "plaudit_ack_seconds", "From a vote's request to its answer.", _SECONDS, "door"
        )
        # Looked up once: a vote costs little more than finding its histogram does.
        self._acks = {door: self.ack_seconds.labels(door) for door in get_args(Door)}
        self.connections = self._gauge("plaudit_connections", "Open websockets.", "kind")
        self.deliveries = self._counter("plaudit_deliveries", "Snapshots and deltas given to sockets.")
        self.backlog = self._gauge("plaudit_backlog_events", "Events not yet in PostgreSQL.", "shard")
        self.backlog_age = self._gauge(
            "plaudit_backlog_seconds", "For how long the oldest event that is not in PostgreSQL has waited.", "shard"
        )
        self.score_lag = self._histogram(
            "plaudit_vote_to_score_seconds",
            "From the arrival of the oldest vote of a batch to the answer of the live store.",
        )
        self.screen_lag = self._histogram(
            "plaudit_score_to_screen_seconds", "From a change of a score to the writing of its delta."
        )
        self.archive_lag = self._histogram(
            "plaudit_vote_to_postgresql_seconds", "From a vote's effect to its commit in PostgreSQL."
        )

        self.stalls = self._histogram(
            "plaudit_event_loop_stall_seconds", "How long the event loop stood still, where over 250 ms.", _STALLS
        )
        self.lost = self._counter(
            "plaudit_votes_lost", "Acknowledged votes that neither store has: never, but after a loss of data."
        )
        self.checked = self._counter("plaudit_invariant_items", "Items compared between live boards and PostgreSQL.")
        self.differences = self._counter(
            "plaudit_invariant_differences", "Items of which the live board and PostgreSQL differed: never, one hopes."
        )

    def applied(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Notes a batch of votes that was answered after `seconds`."""
        for status, count in Tally(outcome.status for outcome in outcomes).items():
            self.votes.labels(status.name.lower()).inc(count)
        self.batch_votes.observe(len(outcomes))
        self.score_lag.observe(seconds)

    def acked(self, door: Door, seconds: float) -> None:
        """Notes a request of votes that was answered after `seconds`."""
        self._acks[door].observe(seconds)

    def shown(self, frames: int, seconds: float) -> None:
        """Notes a tick that handed out frames, the oldest change in them being `seconds` old."""
        self.deliveries.inc(frames)
        self.screen_lag.observe(seconds)

    def flushed(self, seconds: float) -> None:
        """Notes a commit whose oldest event was `seconds` old."""
        self.archive_lag.observe(seconds)

    def compared(self, items: int, differences: int) -> None:
        """Notes that so many items of a live board were compared with the archive, and how many differed."""
        self.checked.inc(items)
        self.differences.inc(differences)

    def waiting(self, backlog: Mapping[int, Waiting] | None) -> None:
        """Notes what waits for PostgreSQL, by shard; None where nobody knows."""
        if backlog is None:
            self.backlog.clear()
            self.backlog_age.clear()
            return
        for shard, waiting in backlog.items():
            self.backlog.labels(str(shard)).set(waiting.events)
            self.backlog_age.labels(str(shard)).set(waiting.seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float] = _SECONDS, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
