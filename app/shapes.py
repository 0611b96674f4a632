"""What goes in and out over HTTP, as typed structures.

They are decoded and encoded by msgspec, and the OpenAPI document is made from them: a constraint stands here
once. Bodies refuse fields that they don't know; clients are to ignore fields that they don't know in answers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from channels.errors import ErrorCode
from channels.protocol import (
    BoardName,
    Choice,
    Comment,
    Int64,
    ItemId,
    Slug,
    Status,
    Tier,
    Window,
    check_ballot,
    check_item_id,
)
from storage.catalogue import Song, Tool
from storage.types import WINDOWS, BallotKind, BoardState, ItemType

MAX_BATCH: Final = 1000
"""Votes, or objects of an admin call, in one request at most."""

# The lookahead refuses the final newline that `$` lets pass in Python.
_NO_CONTROL: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$(?!\n)"
_NO_NUL: Final = r"^[^\u0000]*$"

Name = Annotated[
    str,
    Meta(min_length=1, max_length=255, pattern=_NO_CONTROL, description="1 to 255 characters, no control characters"),
]
Title = Annotated[str, Meta(min_length=1, max_length=500, pattern=_NO_CONTROL)]
Text = Annotated[str, Meta(max_length=500, pattern=_NO_NUL)]
# Pages make links of these: nothing but the web's own schemes may become one.
Url = Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s\u0000-\u001f\u007f-\u009f]+$(?!\n)")]
Timestamp = Annotated[
    datetime, Meta(tz=True, description="RFC 3339 with an offset, like 2026-05-16T19:00:00Z; answers are in UTC")
]
Score = Annotated[int | float, Meta(description="exact to the hundredth")]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Limit = Annotated[int, Meta(ge=1, le=1000)]


# Votes


class NewVote(Struct, forbid_unknown_fields=True, gc=False):
    """A vote: what it is on (`board`, or `item_type` for the board `songs` or `tools`), and `vote` or `value`."""

    item_id: ItemId
    item_type: ItemType | None = None
    board: BoardName | None = None
    vote: Choice | None = None
    value: Int64 | None = None
    comment: Comment | None = None
    agent_id: Annotated[str, Meta(max_length=255, description="where given, the key's own agent")] | None = None

    def __post_init__(self) -> None:
        if (self.board is None) is (self.item_type is None):
            raise ValueError('a vote has either "board" or "item_type"')
        check_item_id(self.item_id)
        check_ballot(self.vote, self.value, self.comment)

    @property
    def board_slug(self) -> str:
        """The board that it is for."""
        return f"{self.item_type}s" if self.board is None else self.board


class VoteQuery(Struct):
    """Which ballot to retract."""

    board: BoardName
    item_id: ItemId

    def __post_init__(self) -> None:
        check_item_id(self.item_id)


class VoteResult(Struct, gc=False):
    """What a vote did, and how its item stands right after it.

    `seq` is null where nothing changed, `quota_remaining` where the tier has no limit.
    """

    status: Status
    board: str
    item_id: str
    seq: int | None
    score: Score
    up_votes: int
    down_votes: int
    rank: int | None
    quota_remaining: int | None


class VoteError(Struct):
    """A vote of a batch that had no effect; the codes are those of problem details."""

    code: ErrorCode
    detail: str
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET
    status: Literal["error"] = "error"


class VoteResults(Struct):
    """One result per vote, in order."""

    # A union of two structures without a tag can't be decoded, so that msgspec knows no schema for it.
    results: Annotated[
        list[Any],
        Meta(
            extra_json_schema={
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/VoteResult"},
                        {"$ref": "#/components/schemas/VoteError"},
                    ]
                }
            }
        ),
    ]


class Me(Struct):
    """The agent of the key."""

    agent_id: str
    tier: Tier
    reputation_score: float
    quota_remaining: int | None


class MyBallot(Struct):
    """A ballot as it stands. `vote` is null where the board takes values."""

    board: str
    item_id: str
    title: str
    artist: str | None
    vote: Choice | None
    value: int
    seq: int
    voted_at: datetime
    comment: str | None


class MyBallots(Struct):
    """A page of the agent's ballots, newest first; `total` counts all of them."""

    total: int
    limit: int
    offset: int
    votes: list[MyBallot]


class PageQuery(Struct):
    """Which part of a list is wanted."""

    limit: Limit = 50
    offset: Offset = 0


# Boards


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


# The catalogue


class BoardCounts(Struct):
    """How an item stands on one board."""

    up_votes: int
    down_votes: int
    score: Score


class CataloguedSong(Song, frozen=True, kw_only=True):
    """A song, its counts on the board `songs`, and on every board that has it."""

    created_at: datetime
    up_votes: int
    down_votes: int
    score: Score
    boards: dict[str, BoardCounts]


class CataloguedTool(Tool, frozen=True, kw_only=True):
    """A tool, its counts on the board `tools`, and on every board that has it."""

    created_at: datetime
    up_votes: int
    down_votes: int
    score: Score
    boards: dict[str, BoardCounts]


class SongList(Struct):
    """Songs, newest first, or with `q` the most similar first; `total` counts all that were found."""

    total: int
    limit: int
    offset: int
    songs: list[CataloguedSong]


class ToolList(Struct):
    """Tools, newest first, or with `q` the most similar first; `total` counts all that were found."""

    total: int
    limit: int
    offset: int
    tools: list[CataloguedTool]


class SearchQuery(PageQuery):
    """What is looked for, forgiving typing errors; empty for everything."""

    q: Annotated[str, Meta(max_length=200, pattern=_NO_NUL)] = ""


# What the tenant's admin key may add


class NewSong(Song, frozen=True, forbid_unknown_fields=True):
    """A song; `tempo` in beats a minute."""

    id: Name
    title: Title
    artist: Title
    platform: Text
    platform_url: Url
    genre: Text | None = None
    mood: Text | None = None
    tempo: Annotated[float, Meta(gt=0, le=10_000)] | None = None


class NewTool(Tool, frozen=True, forbid_unknown_fields=True):
    """A music tool; `commission_rate` as a fraction (0.2 is 20 %)."""

    id: Name
    name: Title
    website: Url
    affiliate_link: Url | None = None
    commission_rate: Annotated[float, Meta(ge=0)] | None = None
    category: Text | None = None
    features: Annotated[list[Text], Meta(max_length=100)] | None = None
    pricing: Text | None = None


class NewAgent(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to vote."""

    agent_id: Name
    tier: Tier


class Issued(Struct):
    """A key and whose it is. `api_key` is told this once; `key_id` serves to revoke it."""

    agent_id: str
    tier: Tier
    key_id: int
    api_key: str


class NewKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key needs nothing said of it."""


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


# Everything else


class Problem(Struct):
    """RFC 9457 problem details. `temporary` says that sending the same again may help."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET


class Health(Struct):
    """Whether all is well, and if not, what is wrong with which part."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str | None] = {}
