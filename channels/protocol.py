"""Every message of the websocket, as typed structures tagged by `type`.

Constraints that a schema can say stand in the annotations, so that the decoder holds them and the AsyncAPI
document shows them. What it cannot say cheaply (a pattern costs more than all the rest of decoding a vote) is
checked in `__post_init__`. A structure that was decoded is therefore valid as far as it can be without
knowing the board.
"""

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from channels.errors import ErrorCode
from storage.types import Tier, Window

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

Int64 = Annotated[int, Meta(ge=_INT64_MIN, le=_INT64_MAX)]
Position = Annotated[int, Meta(ge=0, le=_INT64_MAX)]

ClientId = Annotated[str, Meta(max_length=255, description="the client's own name of the message")] | Int64
ItemId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        description="an item's id; no control characters",
        extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"},
    ),
]
# A name that no board can have is answered like one that no board has, so a vote needs no pattern for it.
BoardName = Annotated[str, Meta(max_length=255, description="a board's slug")]
# What a new board may be called. The lookahead refuses the final newline that `$` lets pass in Python.
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\n)")]
Comment = Annotated[
    str,
    Meta(max_length=2000, description="a comment; no NUL", extra_json_schema={"pattern": r"^[^\u0000]*$"}),
]
Choice = Literal["up", "down"]
Status = Literal["applied", "changed", "unchanged", "retracted"]

MAX_ITEMS = 100
DEFAULT_TOP = 50
DEFAULT_SPAN = 5


def check_item_id(item: str) -> None:
    """Raises ValueError where an item id holds a control character (C0, DEL, C1)."""
    # Printable text holds none of them, and asking for that is ten times cheaper than the search.
    if not item.isprintable() and _CONTROL.search(item):
        raise ValueError("an item id holds no control characters")


def check_ballot(choice: Choice | None, value: int | None, comment: str | None) -> None:
    """Raises ValueError unless exactly one of choice and value is given and the comment can be stored."""
    if (choice is None) is (value is None):
        raise ValueError('a vote has either "vote" ("up" or "down") or "value" (an integer)')
    if comment is not None and "\0" in comment:
        raise ValueError("a comment holds no NUL character")


# Client to server


class Hello(Struct, tag_field="type", tag="hello"):
    """The first message: who is there. Answered by `welcome`."""

    id: ClientId
    token: str | None = None
    tenant: Annotated[str, Meta(max_length=255)] | None = None


class CastVote(Struct, tag_field="type", tag="vote", forbid_unknown_fields=True, gc=False):
    """Casts a ballot: exactly one of `vote` and `value`, as the board takes. Answered by `ack` or `error`."""

    id: ClientId
    board: BoardName
    item: ItemId
    vote: Choice | None = None
    value: Int64 | None = None
    comment: Comment | None = None

    def __post_init__(self) -> None:
        check_item_id(self.item)
        check_ballot(self.vote, self.value, self.comment)


class Retract(Struct, tag_field="type", tag="retract", forbid_unknown_fields=True, gc=False):
    """Takes a ballot back. Answered by `ack` or `error`."""

    id: ClientId
    board: BoardName
    item: ItemId

    def __post_init__(self) -> None:
        check_item_id(self.item)


class Subscribe(Struct, tag_field="type", tag="subscribe"):
    """Watches a board: its first `top` items, some `items`, or `span` places either side of `around`.

    With the `epoch` and `version` that the client holds it resumes. Answered by `snapshot`, `resumed` or
    `error`.
    """

    id: ClientId
    board: BoardName
    window: Window = "all"
    top: Annotated[int, Meta(ge=1, le=1000, description="50 where no view is named")] | None = None
    items: Annotated[list[ItemId], Meta(min_length=1, max_length=MAX_ITEMS)] | None = None
    around: ItemId | None = None
    span: Annotated[int, Meta(ge=0, le=500)] = DEFAULT_SPAN
    epoch: Annotated[str, Meta(max_length=255)] | None = None
    version: Position | None = None

    def __post_init__(self) -> None:
        if sum(choice is not None for choice in (self.top, self.items, self.around)) > 1:
            raise ValueError('a subscription has one of "top", "items" and "around"')
        for item in self.items or ():
            check_item_id(item)
        if self.around is not None:
            check_item_id(self.around)


class Unsubscribe(Struct, tag_field="type", tag="unsubscribe"):
    """Ends a subscription. Answered by `ack`."""

    id: ClientId
    sub: Int64


class Ping(Struct, tag_field="type", tag="ping"):
    """Asks for a `pong`."""

    id: ClientId


# Server to client


class Entry(Struct, gc=False):
    """One item's standing. `movement` is the rank an hour ago minus the rank now, null where there was none.

    `title` and `artist` come with snapshots and whenever the item enters the view, where the item has them.
    """

    item: str
    rank: int
    score: int | float
    up_votes: int
    down_votes: int
    movement: int | None
    title: str | UnsetType = UNSET
    artist: str | UnsetType = UNSET


class Welcome(Struct, tag_field="type", tag="welcome"):
    """Answers `hello`. `heartbeat` is in seconds, `server_time` in milliseconds since 1970 (UTC)."""

    id: str | int | None
    session: str
    agent_id: str | None
    tier: Tier | None
    quota_remaining: int | None
    heartbeat: int | float
    server_time: int


class Ack(Struct, tag_field="type", tag="ack", gc=False):
    """Says what a vote, a retraction or an `unsubscribe` did.

    `seq` is null where nothing changed, `quota_remaining` where the tier has no limit. An `unsubscribe`
    concerns no item: its ack is `unchanged` and everything else in it is null.
    """

    id: str | int
    status: Status
    seq: int | None
    score: int | float | None
    up_votes: int | None
    down_votes: int | None
    quota_remaining: int | None


class Error(Struct, tag_field="type", tag="error"):
    """A message that had no effect, and whether sending it again may help."""

    id: str | int | None
    code: ErrorCode
    message: str
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET


class Snapshot(Struct, tag_field="type", tag="snapshot"):
    """A whole view. `sub` is the subscription's number on this connection, which its deltas carry.

    `id` is null where nobody asked: the client fell too far behind, the live state was rebuilt, or there is movement
    now that the same version was shown without.
    """

    id: str | int | None
    sub: int
    board: str
    window: Window
    epoch: str
    version: int
    total: int
    entries: list[Entry]
    digest: int


class Resumed(Struct, tag_field="type", tag="resumed"):
    """The state that the client holds stands, at its `version`; the deltas that it missed follow."""

    id: str | int
    sub: int
    epoch: str
    version: int


class Delta(Struct, tag_field="type", tag="delta"):
    """What changed in a view since version `prev`: entries changed or new in it, and the items that left it."""

    sub: int
    prev: int
    version: int
    entries: list[Entry]
    left: list[str]
    total: int
    digest: int


class Pong(Struct, tag_field="type", tag="pong"):
    """Answers `ping`. `server_time` is in milliseconds since 1970 (UTC)."""

    id: str | int
    server_time: int


class Bye(Struct, tag_field="type", tag="bye"):
    """The last message: `code` is the close code that follows; `retry_after_ms` is null where coming back is vain."""

    code: int
    message: str
    retry_after_ms: int | None


ClientMessage = Hello | CastVote | Retract | Subscribe | Unsubscribe | Ping
ServerMessage = Welcome | Ack | Error | Snapshot | Resumed | Delta | Pong | Bye
CLIENT_MESSAGES: tuple[type[Struct], ...] = (Hello, CastVote, Retract, Subscribe, Unsubscribe, Ping)
SERVER_MESSAGES: tuple[type[Struct], ...] = (Welcome, Ack, Error, Snapshot, Resumed, Delta, Pong, Bye)
