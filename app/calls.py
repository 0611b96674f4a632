"""What all routes share: reading a request, writing an answer, and saying what a call does.

Bodies and queries are decoded by msgspec straight from the bytes, into the structures that the OpenAPI
document shows; so a `Call` on a route is its whole documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import litestar
import msgspec
from litestar.datastructures import State
from litestar.response.base import ASGIResponse
from msgspec import Struct

from app.answers import HttpReply
from app.shapes.common import MAX_BATCH
from channels.codec import MALFORMED
from channels.errors import ErrorCode, PlauditError
from channels.protocol import check_item_id
from storage.calendar import milliseconds

if TYPE_CHECKING:
    from app.services import Services

Request = litestar.Request[None, None, State]
T = TypeVar("T")

SLASH: Final = "\x01"
"""Stands for a slash inside a part of a path: a control character, which no id has."""

encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True):
    """One way in which a call may succeed. `shape` None stands for no body."""

    text: str
    shape: Any = None
    example: Any = None
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


class Call(Struct, frozen=True, kw_only=True):
    """What a route does, for those who call it. `errors` are those besides `internal` and `overloaded`."""

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    text: str = ""
    errors: Sequence[ErrorCode] = ()
    key: Literal["agent", "admin"] | None = None
    tenant: bool = False
    query: type[Struct] | None = None
    body: Any = None
    body_needed: bool = True
    examples: Mapping[str, Any] = {}
    stores: bool = True


def services_of(request: Request) -> Services:
    """The server's parts."""
    return cast("Services", request.app.state.services)


def header(request: Request, name: bytes) -> str | None:
    """The first header of that name (lower case). Looks without decoding all the others."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), None)


def said(error: Exception) -> str:
    """What msgspec found wrong, in the words of the contract."""
    return str(error).replace("`$.", "`")


async def read_body(request: Request, decode: Callable[[bytes], T]) -> T:
    """The request's body. Raises PlauditError `invalid`, and Litestar's own where it is over the limit."""
    body = await request.body()
    try:
        return decode(body)
    except MALFORMED as error:
        raise PlauditError("invalid", said(error)) from error


async def read_objects(request: Request, decode: Callable[[bytes], T | list[T]]) -> tuple[list[T], bool]:
    """The objects of a call that takes one or an array of them, and whether it was an array.

    Raises PlauditError `invalid`, and `too_large` for too many.
    """
    given = await read_body(request, decode)
    if not isinstance(given, list):
        return [given], False
    check_batch(given)
    return given, True


def check_batch(given: Sequence[object]) -> None:
    """Raises PlauditError `too_large` for more than a request may hold."""
    if len(given) > MAX_BATCH:
        raise PlauditError("too_large", f"A request holds at most {MAX_BATCH:,}, not {len(given):,}")


def check_distinct(names: Sequence[str]) -> None:
    """Raises PlauditError `exists` where an array names the same thing twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PlauditError("exists", f"{name!r} is in the array twice")
        seen.add(name)


def read_query(request: Request, shape: type[T]) -> T:
    """The query's parameters; those that the call does not know are ignored.

    Raises PlauditError `invalid`, also for one that is given twice: nobody can tell which was meant.
    """
    known = _fields(cast("Any", shape))
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given and name in known:
            raise PlauditError("invalid", f"`{name}` is given twice")
        given[name] = value
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise PlauditError("invalid", said(error)) from error


@cache
def _fields(shape: Any) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(shape))


def time_given(at: datetime) -> int:
    """A client's time in milliseconds since 1970. Raises PlauditError `invalid` for one that is out of range in UTC."""
    given = milliseconds(at)
    if not 0 < given <= _LAST_MOMENT:
        raise PlauditError("invalid", "Times are from 1970 to 9999, in UTC")
    return given


_LAST_MOMENT: Final = milliseconds(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) + 999


def path_part(request: Request, name: str) -> str:
    """A part of the path as the client meant it. Raises PlauditError `invalid` where it can be no name."""
    part: str = request.path_params[name].replace(SLASH, "/")
    if len(part) > 255:
        raise PlauditError("invalid", f"`{name}` is longer than 255 characters")
    try:
        check_item_id(part)
    except ValueError as error:
        raise PlauditError("invalid", f"`{name}` holds control characters") from error
    return part


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """Content as JSON, for this caller alone unless the headers say otherwise."""
    return to_asgi(HttpReply(status, NOT_STORED if headers is None else headers, encode(content)))


def to_asgi(reply: HttpReply) -> ASGIResponse:
    """The same as Litestar has it."""
    return ASGIResponse(
        body=reply.body, status_code=reply.status, media_type=reply.media_type, headers=dict(reply.headers)
    )


NOT_STORED: Final = {"cache-control": "no-store"}
