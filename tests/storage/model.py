"""What the live store is meant to do, in plain Python: slow, obvious, sharing only types with it.

Every window is counted afresh from the list of all events. Times are milliseconds, points hundredths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import floor

from storage.types import Board, Outcome, Status, Vote, Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HALF_LIFE_MINUTES = 360


@dataclass(frozen=True)
class Event:
    """A vote that changed something; `value` None where it was retracted."""

    seq: int
    at: int
    board: int
    item: str
    agent: int
    weight: int
    points: int
    value: int | None
    previous: int | None
    comment: str | None


@dataclass(frozen=True)
class Standing:
    """An item's place in one window."""

    item: str
    rank: int
    points: int
    up: int
    down: int


@dataclass
class ModelBoard:
    """What the store keeps of a board: its items' numbers, and when its windows were last moved on."""

    items: dict[str, int]
    moment: int
    ballots: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)


def begin_of(window: Window, at: int) -> int:
    """When the period of a calendar window that holds `at` began."""
    midnight = (EPOCH + timedelta(milliseconds=at)).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "week":
        midnight -= timedelta(days=midnight.weekday())
    if window == "month":
        midnight = midnight.replace(day=1)
    return (midnight - EPOCH) // timedelta(milliseconds=1)


def minute_of(at: int) -> int:
    """The full minute before a moment, in minutes since 1970."""
    return at // 60_000


class Model:
    """One shard. Boards are put into it with `add_items`."""

    def __init__(self, backlog_limit: int = 10**9) -> None:
        self.backlog_limit = backlog_limit
        self.boards: dict[int, ModelBoard] = {}
        self.events: list[Event] = []
        self.clock = 0
        self.flushed = 0
        self.used: dict[tuple[int, int], int] = {}

    def add_items(self, board: Board, items: dict[str, int], now: int) -> None:
        self.clock = max(self.clock, now)
        kept = self.boards.setdefault(board.number, ModelBoard({}, self.clock))
        kept.items = items | kept.items

    def roll(self, now: int) -> None:
        """Every board's windows as of now, or of the store's clock where that is later."""
        self.clock = max(self.clock, now)
        for board in self.boards.values():
            board.moment = max(board.moment, self.clock)

    def apply(self, votes: Sequence[Vote], now: int) -> list[Outcome]:
        """One batch."""
        self.clock = max(self.clock, now)
        for vote in votes:
            board = self.boards.get(vote.board.number)
            if board is not None:
                board.moment = max(board.moment, self.clock)
        outcomes = [self._vote(vote) for vote in votes]
        for vote, outcome in zip(votes, outcomes, strict=True):
            if vote.ranked and self._item_known(vote):
                outcome.rank = self._rank(vote.board, vote.item_id)
        return outcomes

    def _item_known(self, vote: Vote) -> bool:
        return vote.item_id in self.boards.get(vote.board.number, ModelBoard({}, 0)).items

    def _vote(self, vote: Vote) -> Outcome:
        status = self._decide(vote)
        seq = None
        if status in {Status.APPLIED, Status.CHANGED, Status.RETRACTED}:
            seq = self._count(vote, status)
        quota = None
        if vote.daily_limit is not None:
            quota = max(0, vote.daily_limit - self._used(vote.agent))
        if not self._item_known(vote):
            return Outcome(status, seq, quota=quota)
        up, down = self.counts(vote.board.number, vote.item_id)
        return Outcome(status, seq, self.points(vote.board.number, vote.item_id, "all"), up, down, quota)

    def _decide(self, vote: Vote) -> Status:
        """The first refusal that holds, in this order; else what the vote does."""
        rules = vote.board
        known = self._item_known(vote)
        held = self.boards[rules.number].ballots.get((vote.agent, vote.item_id)) if known else None
        casts, changes = vote.value is not None, held is not None
        limit = vote.daily_limit
        refusals = {
            Status.UNCHANGED: casts and held is not None and held[0] == vote.value,
            Status.VOTING_CLOSED: rules.state(self.clock) != "open",
            Status.UNKNOWN_ITEM: not known,
            Status.NO_BALLOT: not casts and not changes,
            Status.ALREADY_VOTED: casts and changes and not rules.ballots_change,
            Status.QUOTA_EXCEEDED: casts and limit is not None and self._used(vote.agent) >= limit,
            Status.OVERLOADED: len(self.events) - self.flushed >= self.backlog_limit,
        }
        otherwise = (Status.CHANGED if changes else Status.APPLIED) if casts else Status.RETRACTED
        return next((status for status, holds in refusals.items() if holds), otherwise)

    def _used(self, agent: int) -> int:
        return self.used.get((begin_of("day", self.clock), agent), 0)

    def _count(self, vote: Vote, status: Status) -> int:
        ballots = self.boards[vote.board.number].ballots
        held = ballots.pop((vote.agent, vote.item_id), None)
        before, weight_before = held or (0, 0)
        weight = weight_before if vote.value is None else vote.weight
        if vote.value is not None:
            ballots[vote.agent, vote.item_id] = vote.value, vote.weight
        if status is not Status.RETRACTED and vote.daily_limit is not None:
            day = begin_of("day", self.clock), vote.agent
            self.used[day] = self.used.get(day, 0) + 1
        points = (vote.value or 0) * weight - before * weight_before
        event = Event(
            len(self.events) + 1,
            self.clock,
            vote.board.number,
            vote.item_id,
            vote.agent,
            weight,
            points,
            vote.value,
            held[0] if held else None,
            vote.comment or None,
        )
        self.events.append(event)
        return event.seq

    def _events(self, board: int, item: str | None = None) -> Iterator[Event]:
        return (event for event in self.events if event.board == board and item in {None, event.item})

    def counts(self, board: int, item: str) -> tuple[int, int]:
        """Ballots for and against an item."""
        values = [value for (_, of), (value, _) in self.boards[board].ballots.items() if of == item]
        return sum(value > 0 for value in values), sum(value < 0 for value in values)

    def points(self, board: int, item: str, window: Window) -> int:
        """What an item has in one window, trending as it is shown: whole hundredths."""
        return floor(self.exact(board, item, window) + 0.5)

    def exact(self, board: int, item: str, window: Window) -> float:
        moment = self.boards[board].moment
        if window == "trending":
            ages = ((event, minute_of(moment) - minute_of(event.at)) for event in self._events(board, item))
            return float(sum(event.points * 0.5 ** (age / HALF_LIFE_MINUTES) for event, age in ages))
        begin = 0 if window == "all" else begin_of(window, moment)
        return sum(event.points for event in self._events(board, item) if event.at >= begin)

    def _rank(self, board: Board, item: str) -> int:
        own = self.points(board.number, item, "all")
        return 1 + sum(self.points(board.number, other, "all") > own for other in self.boards[board.number].items)

    def ranking(self, board: Board, window: Window) -> list[Standing]:
        """The whole board: points descending, then item id; ranks 1, 1, 3. Without the window all have 0."""
        keeps = window in board.windows
        items = self.boards[board.number].items
        points = {item: self.points(board.number, item, window) if keeps else 0 for item in items}
        return ranked({item: (value, *self.counts(board.number, item)) for item, value in points.items()})


def ranked(standings: dict[str, tuple[int, int, int]]) -> list[Standing]:
    """Points, up and down of each item as a ranking."""
    order = sorted(standings, key=lambda item: (-standings[item][0], item))
    values = [standings[item][0] for item in order]
    return [Standing(item, 1 + values.index(standings[item][0]), *standings[item]) for item in order]


def around(ranking: Sequence[Standing], item: str, span: int) -> list[Standing]:
    """One item with its neighbours."""
    place = [standing.item for standing in ranking].index(item)
    return list(ranking[max(0, place - span) : place + span + 1])


def chosen(ranking: Iterable[Standing], items: Sequence[str]) -> list[Standing]:
    """Just these items."""
    return [standing for standing in ranking if standing.item in items]
