"""The contract's errors and websocket close codes, each listed once.

Both doors (HTTP and websocket), both documents (OpenAPI and AsyncAPI) and the client read these tables, so
that a code means the same status and the same advice about trying again everywhere.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

ErrorCode = Literal[
    "invalid",
    "unauthorized",
    "forbidden",
    "voting_closed",
    "unknown_board",
    "unknown_item",
    "no_ballot",
    "already_voted",
    "exists",
    "too_large",
    "quota_exceeded",
    "too_fast",
    "overloaded",
    "internal",
]


class ErrorKind(NamedTuple):
    """One row of the error table. `temporary` says that the same request may succeed if simply sent again."""

    code: ErrorCode
    status: int
    temporary: bool
    title: str


class CloseKind(NamedTuple):
    """One row of the close code table. `retry` says that coming back (with back-off and jitter) makes sense."""

    code: int
    reason: str
    retry: bool


_ERROR_ROWS = (
    ErrorKind("invalid", 400, False, "The request is not valid"),
    ErrorKind("unauthorized", 401, False, "A valid API key is needed"),
    ErrorKind("forbidden", 403, False, "This key may not do this"),
    ErrorKind("voting_closed", 403, False, "Voting is not open"),
    ErrorKind("unknown_board", 404, False, "There is no such board"),
    ErrorKind("unknown_item", 404, False, "There is no such item on this board"),
    ErrorKind("no_ballot", 404, False, "There is no ballot to retract"),
    ErrorKind("already_voted", 409, False, "A final ballot stands"),
    ErrorKind("exists", 409, False, "That name is taken"),
    ErrorKind("too_large", 413, False, "The request is too large"),
    # Not temporary: an immediate retry cannot succeed before `retry_after_ms` has passed.
    ErrorKind("quota_exceeded", 429, False, "The day's votes are used up"),
    ErrorKind("too_fast", 429, True, "Too many messages a second"),
    ErrorKind("overloaded", 503, True, "Overloaded, nothing was counted"),
    ErrorKind("internal", 500, True, "An internal error"),
)

_CLOSE_ROWS = (
    CloseKind(1001, "the server is going away", True),
    CloseKind(1009, "a frame over the size limit", True),
    CloseKind(1012, "the server restarts", True),
    CloseKind(1013, "overloaded, try again later", True),
    CloseKind(4400, "not the protocol", False),
    CloseKind(4401, "bad token", False),
    CloseKind(4408, "no hello in time", True),
    CloseKind(4409, "the client stopped reading", True),
    CloseKind(4429, "flooding", True),
)

ERRORS: Final[Mapping[str, ErrorKind]] = MappingProxyType({kind.code: kind for kind in _ERROR_ROWS})
CLOSE_CODES: Final[Mapping[int, CloseKind]] = MappingProxyType({kind.code: kind for kind in _CLOSE_ROWS})

FRAME_TOO_LARGE: Final = 1009
RESTART: Final = 1012
OVERLOADED: Final = 1013
NOT_PROTOCOL: Final = 4400
BAD_TOKEN: Final = 4401
NO_HELLO: Final = 4408
NOT_READING: Final = 4409
FLOODING: Final = 4429


class PlauditError(Exception):
    """An error of the contract, the same on both doors.

    `message` is for people and may be shown to them; `retry_after_ms` is set where the server knows when to
    come back.
    """

    def __init__(self, code: ErrorCode, message: str = "", retry_after_ms: int | None = None) -> None:
        self.kind = ERRORS[code]
        self.message = message or self.kind.title
        self.retry_after_ms = retry_after_ms
        super().__init__(f"{code}: {self.message}")

    @property
    def code(self) -> ErrorCode:
        return self.kind.code

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return self.kind.status

    @property
    def temporary(self) -> bool:
        return self.kind.temporary

    @property
    def retry_after(self) -> float | None:
        """The same as `retry_after_ms`, in seconds."""
        return None if self.retry_after_ms is None else self.retry_after_ms / 1000


def worth_retrying(close_code: int) -> bool:
    """Whether a client closed with this code should come back.

    Codes that the table does not name (a lost connection, a proxy's own) count as worth retrying.
    """
    kind = CLOSE_CODES.get(close_code)
    return kind is None or kind.retry
