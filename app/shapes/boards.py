"""Boards, their rules and their rankings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.shapes.common import Limit, Name, PageQuery, Score, Timestamp, Title
from channels.protocol import Slug
from storage.types import WINDOWS, BallotKind, BoardState, ItemType, Tier, Window


class Ballot(Struct):
    """What a ballot's value may be: from `min` to `max` (an `updown` ballot has no 0)."""

    kind: BallotKind
    min: int
    max: int


class BoardDescription(Struct):
    """A board and its rules. A board that opens or closes is a contest; others are perpetual."""

    slug: str
    title: str
    kind: Literal["perpetual", "contest"]
    item_type: ItemType
    ballot: Ballot
    ballots_change: bool
    windows: list[Window]
    opens_at: datetime | None
    closes_at: datetime | None
    state: BoardState
    weights: dict[str, Score] | UnsetType = UNSET


class BoardList(Struct):
    """The boards of the tenant, oldest first."""

    boards: list[BoardDescription]


class Entry(Struct, gc=False):
    """An item's standing. `movement` is the rank an hour ago minus the rank now, null where there was none."""

    rank: int
    item_id: str
    title: str
    score: Score
    up_votes: int
    down_votes: int
    movement: int | None
    artist: str | UnsetType = UNSET


class Ranking(Struct):
    """Part of a board in one window, in state (epoch, version); `total` counts the board's items."""

    board: str
    window: Window
    epoch: str
    version: int
    total: int
    entries: list[Entry]


class RankingQuery(PageQuery):
    """Which part of a board is wanted."""

    window: Window = "all"


class Standing(Struct):
    """One item's standing and its neighbours, among whom it is itself, in the order of the ranking."""

    board: str
    window: Window
    epoch: str
    version: int
    total: int
    item: Entry
    neighbours: list[Entry]


class StandingQuery(Struct):
    """How many neighbours on either side are wanted, and in which window."""

    around: Annotated[int, Meta(ge=0, le=500)] = 5
    window: Window = "all"


class Trending(Struct):
    """The first ten of the boards `songs` and `tools` in the window `trending`."""

    songs: list[Entry]
    tools: list[Entry]
    updated_at: datetime


class DailyQuery(Struct):
    """Of what kind, and how many."""

    item_type: ItemType = "song"
    limit: Limit = 50


class BallotRules(Struct, frozen=True, forbid_unknown_fields=True):
    """`points` needs `min` and `max`, from -10,000 to 10,000; the others have their own and may repeat them."""

    kind: BallotKind
    min: Annotated[int, Meta(ge=-10_000, le=10_000)] | None = None
    max: Annotated[int, Meta(ge=-10_000, le=10_000)] | None = None


class BoardRules(Struct, frozen=True, forbid_unknown_fields=True):
    """A board. `weights` say what one point of a tier's ballots counts for, 1 where a tier is not named."""

    slug: Slug
    title: Title
    item_type: ItemType
    ballot: BallotRules
    ballots_change: bool = False
    windows: Annotated[tuple[Window, ...], Meta(description='"all" is always kept')] = WINDOWS
    opens_at: Timestamp | None = None
    closes_at: Timestamp | None = None
    weights: dict[Tier, Annotated[float, Meta(ge=0, le=100, description="to the hundredth")]] | None = None


class NewEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Which item, of the board's type, is to be on the board."""

    item_id: Name


class Listed(Struct):
    """An item that is on a board now."""

    board: str
    item_id: str
