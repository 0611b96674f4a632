"""Plain data that the live store, the archive and everything above them exchange.

No behaviour beyond what follows from the data itself, no I/O, no clock. Times are milliseconds
since the Unix epoch (UTC); points are hundredths of a vote.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, NamedTuple

import msgspec

ItemType = Literal["song", "tool"]
Tier = Literal["free", "pro", "enterprise"]
BallotKind = Literal["updown", "points", "stars", "like"]
Window = Literal["all", "day", "week", "month", "trending"]
BoardState = Literal["scheduled", "open", "closed"]

WINDOWS: Final[tuple[Window, ...]] = ("all", "day", "week", "month", "trending")

FULL_WEIGHT: Final = 100
"""Hundredths of a vote that an unweighted ballot of value 1 moves a score by."""


class Status(IntEnum):
    """What became of one vote. The numbers are those of `lua/apply.lua`.

    OVERLOADED says that nothing was counted; UNKNOWN, that the live store went away with the vote and may have
    counted it: sent again, it is counted at most once.
    """

    APPLIED = 0
    CHANGED = 1
    UNCHANGED = 2
    RETRACTED = 3
    UNKNOWN_ITEM = 4
    NO_BALLOT = 5
    ALREADY_VOTED = 6
    QUOTA_EXCEEDED = 7
    VOTING_CLOSED = 8
    OVERLOADED = 9
    UNKNOWN = 10


class Tenant(msgspec.Struct, frozen=True, gc=False):
    """A customer of the installation. `shard` never changes once it is given."""

    number: int
    slug: str
    shard: int


class Agent(msgspec.Struct, frozen=True, gc=False):
    """Who votes. `number` is unique over all tenants."""

    number: int
    agent_id: str
    tier: Tier
    reputation_score: float = 0.0


class Board(msgspec.Struct, frozen=True, gc=False):
    """A ranking and its rules.

    `minimum` and `maximum` bound a ballot's value, inclusively. `weights` maps a tier to the
    hundredths of a vote that one point of its ballots counts for; a tier without an entry counts
    fully. `opens_at` and `closes_at` are milliseconds, None where there is no bound.
    """

    number: int
    tenant: int
    shard: int
    slug: str
    title: str
    item_type: ItemType
    ballot: BallotKind
    minimum: int
    maximum: int
    ballots_change: bool
    windows: tuple[Window, ...]
    opens_at: int | None = None
    closes_at: int | None = None
    weights: dict[str, int] | None = None

    def weight_of(self, tier: Tier) -> int:
        """Hundredths of a vote that one point of a ballot from `tier` counts for."""
        return FULL_WEIGHT if self.weights is None else self.weights.get(tier, FULL_WEIGHT)

    def state(self, now: int) -> BoardState:
        """Whether the board takes votes at `now`."""
        if self.opens_at is not None and now < self.opens_at:
            return "scheduled"
        if self.closes_at is not None and now >= self.closes_at:
            return "closed"
        return "open"

    def takes(self, value: int) -> bool:
        """Whether a ballot may have this value (an up-or-down ballot has no zero)."""
        return self.minimum <= value <= self.maximum and not (self.ballot == "updown" and value == 0)


class BoardItem(NamedTuple):
    """An item as a board's live state needs it."""

    number: int
    item_type: ItemType
    item_id: str
    title: str
    artist: str | None


class Vote(msgspec.Struct, gc=False):
    """One vote on its way to the live store. `value` None retracts.

    `daily_limit` is the agent's quota for the UTC day, None where its tier has none. `ranked` asks
    for the item's rank in the outcome, which costs one more look-up.
    """

    board: Board
    agent: int
    item_id: str
    value: int | None
    daily_limit: int | None = None
    weight: int = FULL_WEIGHT
    comment: str | None = None
    ranked: bool = False


class Outcome(msgspec.Struct, gc=False):
    """What a vote did, and how its item stands right after it.

    `seq` is None where nothing changed; `quota` is what is left of the day's votes, None where
    there is no limit; `rank` is None unless it was asked for.
    """

    status: Status
    seq: int | None = None
    points: int = 0
    up: int = 0
    down: int = 0
    quota: int | None = None
    rank: int | None = None


class TopView(msgspec.Struct, frozen=True, gc=False):
    """The items from `offset` on, at most `limit` of them."""

    limit: int
    offset: int = 0

    @property
    def rows(self) -> int:
        """Rows that it has at most."""
        return self.limit


class ItemsView(msgspec.Struct, frozen=True, gc=False):
    """Just these items, each with its rank on the whole board."""

    items: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows that it has at most."""
        return len(self.items)


class AroundView(msgspec.Struct, frozen=True, gc=False):
    """One item and up to `span` neighbours on either side of it."""

    item: str
    span: int

    @property
    def rows(self) -> int:
        """Rows that it has at most."""
        return 2 * self.span + 1


ViewSpec = TopView | ItemsView | AroundView


class Sample(NamedTuple):
    """One window of a board as it was at a moment (ms)."""

    board: int
    window: Window
    at: int


class Query(msgspec.Struct, frozen=True, cache_hash=True, weakref=True):
    """One view of one window of a board: what a room shows, and what a read asks for."""

    board: int
    window: Window
    view: ViewSpec


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One item's place in a ranking: `rank` is competition rank (1, 1, 3) on the whole board.

    `points` are hundredths of a vote; `before` is the rank an hour ago, None where it had none or nobody asked.
    """

    item: str
    rank: int
    points: int
    up: int
    down: int
    before: int | None = None

    @property
    def movement(self) -> int | None:
        """Places won (positive) or lost in an hour, None where the item had no rank then."""
        return None if self.before is None else self.before - self.rank


class Ranking(msgspec.Struct, frozen=True):
    """A view as the live store had it at (epoch, version), right after event `seq` of its shard.

    `total` counts the items of the board. `reference` names the sample of ranks (milliseconds)
    that movement is counted from, 0 where there is none yet.
    """

    epoch: str
    version: int
    seq: int
    total: int
    reference: int
    rows: list[Row]


class Changed(msgspec.Struct, frozen=True, gc=False):
    """What the live store announces after each applied batch: boards, their new versions, and the number of events."""

    shard: int
    epoch: str
    seq: int
    versions: dict[int, int]
    events: dict[int, int]


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far a shard has come. `seq` counts events, `flushed` those that are in the archive.

    `run` is the life of the store in which the live state was last compared with the archive.
    """

    epoch: str | None
    ready: bool
    seq: int
    flushed: int
    run: str | None = None


class Known(NamedTuple):
    """A live state as a server knows it. A store of another epoch, or behind `floor`, has lost events.

    `run` is the store's life in which this was found out, None where that was not asked. `told` is the last event of
    which this server told somebody that it is kept; None where that is `floor`. After a loss `rebuilt` tells whether
    the store has forgotten what it answered: what it was sent and did not answer may count already.
    """

    epoch: str
    floor: int
    run: str | None = None
    told: int | None = None
    rebuilt: bool = False

    @property
    def acknowledged(self) -> int:
        """The last event that somebody counts on."""
        return self.floor if self.told is None else self.told
