"""What charts, panels and streams of a board are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from app.shapes.common import Limit, Name, Score, Timestamp
from channels.protocol import DEFAULT_TOP, Choice
from storage.types import Window


class HistoryQuery(Struct):
    """Which ranking, over which time, of whom, and at how many moments at most."""

    window: Window = "all"
    since: Annotated[Timestamp | None, Meta(description="an hour before `until` unless said otherwise")] = None
    until: Annotated[Timestamp | None, Meta(description="now unless said otherwise")] = None
    top: Annotated[int, Meta(ge=0, le=100, description="so many of those that are first at the end")] = 10
    item: Annotated[Name | None, Meta(description="one more item")] = None
    samples: Annotated[int, Meta(ge=2, le=500)] = 120


class Line(Struct):
    """An item over time, as of each of `times`: null where it stood below the first hundred."""

    item_id: str
    title: str
    ranks: list[int | None]
    scores: list[Score | None]
    artist: str | UnsetType = UNSET


class History(Struct):
    """How a ranking stood from `since` to `until`, at the moments `times`.

    Boards are sampled once a minute, where they changed: between two moments the former stands. Samples of minutes
    are kept for a day, one an hour for ninety days.
    """

    board: str
    window: Window
    since: datetime
    until: datetime
    times: list[datetime]
    items: list[Line]


class CommentsQuery(Struct):
    """How many comments, and from where on: the `next` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    before: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class Comment(Struct):
    """What an agent says with its ballot. `vote` is null where the board takes values."""

    agent_id: str
    vote: Choice | None
    value: int
    comment: str
    voted_at: datetime
    seq: int


class Comments(Struct):
    """A page of comments on an item, newest first. `next` asks for the page after it, null at the end."""

    board: str
    item_id: str
    comments: list[Comment]
    next: int | None


class Activity(Struct):
    """How lively a board is. `votes_per_second` is the mean of the last seconds; `ask_after_ms` when to ask again."""

    board: str
    votes_per_second: float
    viewers: int
    ask_after_ms: int


class BadgeQuery(Struct):
    """Of which window, and of whom instead of the first."""

    window: Window = "all"
    item: Name | None = None


class EventsQuery(Struct):
    """Which view of a board is wanted."""

    window: Window = "all"
    top: Limit = DEFAULT_TOP
