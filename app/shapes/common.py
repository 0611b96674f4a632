"""What the structures have in common, and those that belong to no call alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from channels.errors import ErrorCode

MAX_BATCH: Final = 1000
"""Votes, or objects of an admin call, in one request at most."""

# The lookahead refuses the final newline that `$` lets pass in Python.
NO_CONTROL: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$(?!\n)"
NO_NUL: Final = r"^[^\u0000]*$"

Name = Annotated[
    str,
    Meta(min_length=1, max_length=255, pattern=NO_CONTROL, description="1 to 255 characters, no control characters"),
]
Title = Annotated[str, Meta(min_length=1, max_length=500, pattern=NO_CONTROL)]
Text = Annotated[str, Meta(max_length=500, pattern=NO_NUL)]
# Pages make links of these: nothing but the web's own schemes may become one.
Url = Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s\u0000-\u001f\u007f-\u009f]+$(?!\n)")]
Timestamp = Annotated[
    datetime, Meta(tz=True, description="RFC 3339 with an offset, like 2026-05-16T19:00:00Z; answers are in UTC")
]
Score = Annotated[int | float, Meta(description="exact to the hundredth")]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Limit = Annotated[int, Meta(ge=1, le=1000)]


class PageQuery(Struct):
    """Which part of a list is wanted."""

    limit: Limit = 50
    offset: Offset = 0


class Problem(Struct):
    """RFC 9457 problem details. `temporary` says that sending the same again may help."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET


class Backlog(Struct):
    """Events of a shard that PostgreSQL does not have yet, and for how many seconds the oldest of them has waited."""

    events: int
    seconds: float


class Health(Struct):
    """Whether all is well, and if not, what is wrong with which part. `backlog` is by shard, where it is known."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str | None] = {}
    backlog: dict[str, Backlog] | UnsetType = UNSET
