"""Votes, what became of them, and who cast them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.shapes.common import Score
from channels.errors import ErrorCode
from channels.protocol import BoardName, Choice, Comment, Int64, ItemId, Status, check_ballot, check_item_id
from storage.types import ItemType, Tier


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


class NewVotes(Struct, forbid_unknown_fields=True):
    """Up to 1,000 votes."""

    votes: list[NewVote]


class RawVotes(Struct, forbid_unknown_fields=True):
    """The same before any of the votes is looked at, so that a bad one is an error by itself."""

    votes: list[Raw]


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
