"""The verdict on a round: what clients remember against what every store and every screen shows in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from tests.faults.load import Ballots
from tests.faults.memory import Attempt, Key, Memory
from tests.faults.model import HALF_LIFE, Event, Recount, Standing
from tests.faults.watcher import digest

_TOLERANCE: Final = 2.0  # hundredths that sums of decayed votes may be off
_MINUTE: Final = timedelta(minutes=1)
_AHEAD: Final = 62

K = TypeVar("K")
V = TypeVar("V")


class Shown(NamedTuple):
    """An item as a server shows it in a window; points in hundredths of a vote."""

    item: str
    rank: int
    points: int
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Screen:
    """A subscriber at the end: its board, what it found wrong on the way, and epoch and digest of what it shows."""

    board: str
    broken: Sequence[str]
    epoch: str | None
    digest: int


@dataclass(slots=True)
class Facts:
    """Everything that was found after a round.

    `epoch` names the live state in the end. `seqs` are those of all events of the shard after the round began at
    seq `began`; `announced` is how many lost events the log told of, `may_lose` whether the fault excuses them.
    """

    ballots: Ballots
    began: int
    epoch: str
    live_seq: int
    seqs: Sequence[int]
    announced: int
    may_lose: bool
    events: Sequence[Event]
    votes: Mapping[Key, tuple[int, int]]
    live: Mapping[Key, int]
    kept: Mapping[tuple[str, str], tuple[int, int, int]]
    shown: Mapping[tuple[str, str, str], Sequence[Shown]]
    screens: Sequence[Screen]
    now: datetime
    stuck: int = 0


@dataclass(slots=True)
class Verdict:
    """Broken promises, in words.

    `forfeited` counts acknowledged votes whose loss was excused and announced, `untold` votes that were counted
    without a word to anybody.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    forfeited: int = 0
    untold: int = 0

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.diverged)


def judge(facts: Facts, memory: Memory) -> Verdict:
    """Compares; see the module's name for with what."""
    verdict = Verdict()
    recount = Recount(facts.events)
    gone = _gaps(facts, verdict)
    if facts.stuck:
        verdict.diverged.append(f"{facts.stuck} agents have votes that nobody answers")
    if memory.negative_quotas:
        verdict.diverged.append(f"{memory.negative_quotas} quotas below zero")
    verdict.diverged += recount.faults
    _judge_acks(facts, memory, gone, verdict)
    _judge_counts(facts, memory, verdict)
    _judge_ballots(facts, memory, recount, verdict)
    verdict.diverged += _stores_differ(facts, recount)
    verdict.diverged += _windows_differ(facts, recount)
    verdict.diverged += _screens_differ(facts, recount)
    return verdict


def _gaps(facts: Facts, verdict: Verdict) -> frozenset[int]:
    """Seqs that no event has."""
    verdict.doubled += [f"seq {seq} stands on {n} events" for seq, n in Counter(facts.seqs).items() if n > 1]
    gone = frozenset(range(facts.began + 1, facts.live_seq + 1)) - frozenset(facts.seqs)
    if len(gone) != facts.announced:
        verdict.diverged.append(f"{len(gone)} seqs are missing, the log tells of {facts.announced}: {_some(gone)}")
    if beyond := [seq for seq in facts.seqs if seq > facts.live_seq]:
        verdict.diverged.append(f"the archive has events that the live store has not: {_some(beyond)}")
    return gone if facts.may_lose else frozenset()


def _judge_acks(facts: Facts, memory: Memory, gone: frozenset[int], verdict: Verdict) -> None:
    by_seq = {event.seq: event for event in facts.events}
    held = {(event.key, event.value) for event in facts.events}
    told: dict[int, Attempt] = {}
    for attempt in memory.all():
        if attempt.status is None:
            continue
        if attempt.seq is None:
            found = (attempt.key, attempt.value) in held
            excused = bool(gone)
        else:
            event = by_seq.get(attempt.seq)
            found = event is not None and (event.key, event.value) == (attempt.key, attempt.value)
            excused = attempt.seq in gone
            if attempt.seq in told and not gone:
                verdict.doubled.append(f"seq {attempt.seq} was given to {told[attempt.seq]} and to {attempt}")
            told[attempt.seq] = attempt
        if not found and excused:
            verdict.forfeited += 1
        elif not found:
            verdict.lost.append(f"acknowledged, but no event says so: {attempt}")


def _judge_counts(facts: Facts, memory: Memory, verdict: Verdict) -> None:
    """Each attempt may have led to one event at most; one that was answered, to no other than it was told."""
    told = {attempt.seq for attempt in memory.all() if attempt.seq is not None}
    open_attempts = Counter((a.key, a.value) for a in memory.all() if not a.answered)
    untold = Counter((event.key, event.value) for event in facts.events if event.seq not in told)
    verdict.untold = untold.total()
    verdict.doubled += [
        f"{n} events {key} = {value} that nobody was told of, from {open_attempts[key, value]} unanswered votes"
        for (key, value), n in untold.items()
        if n > open_attempts[key, value]
    ]
    per_ballot = Counter(event.key for event in facts.events if event.key.board == facts.ballots.final)
    verdict.doubled += [f"{n} events of the final ballot {key}" for key, n in per_ballot.items() if n > 1]


def _judge_ballots(facts: Facts, memory: Memory, recount: Recount, verdict: Verdict) -> None:
    """Each ballot is the one acknowledged last, where no unanswered vote may have come after it."""
    known = {event.seq for event in facts.events}
    for key, attempts in memory.attempts.items():
        acked = [attempt for attempt in attempts if attempt.status is not None]
        forgotten = any(attempt.seq is not None and attempt.seq not in known for attempt in acked)
        if not acked or forgotten or any(not attempt.answered for attempt in attempts):
            continue
        wanted = acked[-1].value
        if recount.ballots.get(key) != wanted and not facts.may_lose:
            verdict.lost.append(f"the ballot {key} is {recount.ballots.get(key)}, acknowledged last was {wanted}")


def _stores_differ(facts: Facts, recount: Recount) -> Iterator[str]:
    expected = {key: (value, recount.last_seq[key]) for key, value in recount.ballots.items()}
    yield from _differences("votes", dict(facts.votes), expected)
    yield from _differences("live ballots", dict(facts.live), recount.ballots)
    counts = {(board, item): recount.counts(board, item) for board in facts.ballots[:2] for item in facts.ballots.items}
    yield from _differences("board_items", dict(facts.kept), counts)


def _windows_differ(facts: Facts, recount: Recount) -> Iterator[str]:
    for (server, board, window), shown in facts.shown.items():
        if list(shown) != sorted(shown, key=lambda row: (-row.points, row.item)):
            yield f"{window} of {board} at {server} is not in order"
        candidates = _moments(facts, recount)
        latest = candidates[0]
        expected = recount.window(board, window, facts.ballots.items, latest)
        if window == "trending":
            if not any(_agrees(shown, expected, 2 ** ((latest - moment) / HALF_LIFE)) for moment in candidates):
                yield f"trending of {board} at {server} fits no moment: {shown[:2]}, recounted {_first(expected)}"
        else:
            days = {moment.date(): moment for moment in candidates}.values()
            windows = [recount.window(board, window, facts.ballots.items, day) for day in days]
            rows = {row.item: (row.points, row.up, row.down, row.rank) for row in shown}
            if not any(rows == {item: _exact(standing) for item, standing in some.items()} for some in windows):
                yield f"{window} of {board} at {server} shows {shown[:2]}, recounted {_first(windows[0])}"


def _moments(facts: Facts, recount: Recount) -> list[datetime]:
    """Minutes that windows may be as of: the store's clock follows the server that is ahead."""
    last = max((event.at for event in recount.events), default=facts.now)
    first = (min(last, facts.now) - 2 * _MINUTE).replace(second=0, microsecond=0)
    end = max(last, facts.now) + _AHEAD * _MINUTE
    return [first + n * _MINUTE for n in range(int((end - first) / _MINUTE))]


def _agrees(shown: Sequence[Shown], expected: Mapping[str, Standing], factor: float) -> bool:
    """`factor` takes weights as of the first moment to those as of another."""
    return {row.item for row in shown} == expected.keys() and all(
        abs(row.points - expected[row.item].points * factor) <= _TOLERANCE
        and (row.up, row.down) == (expected[row.item].up, expected[row.item].down)
        for row in shown
    )


def _screens_differ(facts: Facts, recount: Recount) -> Iterator[str]:
    for screen in facts.screens:
        yield from screen.broken
        if screen.epoch != facts.epoch:
            yield f"a subscriber of {screen.board} shows the live state {screen.epoch}, not {facts.epoch}"
        scores = {item: recount.counts(screen.board, item)[0] / 100 for item in facts.ballots.items}
        if screen.digest != digest(scores):
            yield f"a subscriber of {screen.board} shows another ranking than the events give"


def _exact(standing: Standing) -> tuple[float, int, int, int]:
    return standing.points, standing.up, standing.down, standing.rank


def _differences(what: str, found: Mapping[K, V], expected: Mapping[K, V]) -> Iterator[str]:
    for key in expected.keys() | found.keys():
        if found.get(key) != expected.get(key):
            yield f"{what}: {key} is {found.get(key)}, its events give {expected.get(key)}"


def _first(standings: Mapping[str, Standing]) -> list[tuple[str, Standing]]:
    return sorted(standings.items(), key=lambda pair: (-pair[1].points, pair[0]))[:2]


def _some(seqs: Sequence[int] | frozenset[int]) -> list[int]:
    return sorted(seqs)[:5]
