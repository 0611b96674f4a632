"""Every failure as the contract has it: RFC 9457 problem details with a code of the table."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

import structlog
from litestar import Response
from litestar.exceptions import HTTPException, InternalServerException
from msgspec import UNSET

from app.answers import HttpReply
from app.calls import Request, encode
from app.shapes.common import Problem
from channels.errors import ErrorCode, PlauditError
from storage.errors import ArchiveBehind, ArchiveUnavailable, Exists, NotFound, StaleStore, StoreUnavailable

MEDIA_TYPE: Final = "application/problem+json"
_AWAY: Final = (ArchiveBehind, ArchiveUnavailable, StoreUnavailable, StaleStore)
_COME_BACK_MS: Final = 1000
_OVER_LIMIT: Final[tuple[ErrorCode, str]] = ("too_large", "A body is at most 1 MiB")

log = structlog.get_logger(__name__)


def to_problem(request: Request, error: Exception) -> Response[bytes]:
    """The answer to a request that failed. What nobody expected is logged, and told to nobody."""
    # Litestar's own: no such path, wrong method, body too large, a host that can't be one.
    if isinstance(error, HTTPException) and error.status_code < 500:
        code, detail = _OVER_LIMIT if error.status_code == 413 else ("invalid", error.detail)
        known = PlauditError(code, detail)
        return _response(known, error.status_code, _passed_on(error))
    if isinstance(error, InternalServerException):
        # Litestar's word for a client that left while its body was read: nobody hears the answer.
        return _response(PlauditError("internal"), 500, {})
    known = as_plaudit_error(error)
    if known.code == "internal":
        log.error("request failed", method=request.method, path=request.scope["path"], exc_info=error)
    return _response(known, known.status, _headers(known))


def as_plaudit_error(error: Exception) -> PlauditError:
    """The contract's error for anything that may be raised."""
    match error:
        case PlauditError():
            return error
        case _ if isinstance(error, _AWAY):
            return PlauditError("overloaded", "A store does not answer; try again", _COME_BACK_MS)
        case Exists():
            return PlauditError("exists", str(error))
        case NotFound():
            return PlauditError("unknown_item", str(error))
        case _:
            return PlauditError("internal")


def problem(error: PlauditError, headers: Mapping[str, str]) -> HttpReply:
    """A refusal, with further headers."""
    return HttpReply(error.status, {**_headers(error), **headers}, problem_body(error, error.status), MEDIA_TYPE)


def _response(error: PlauditError, status: int, headers: Mapping[str, str]) -> Response[bytes]:
    return Response(problem_body(error, status), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def problem_body(error: PlauditError, status: int) -> bytes:
    """Problem details of an error that is answered with this status."""
    return encode(
        Problem(
            type=f"/docs#{error.code}",
            title=error.kind.title,
            status=status,
            detail=error.message,
            code=error.code,
            temporary=error.temporary,
            retry_after_ms=UNSET if error.retry_after_ms is None else error.retry_after_ms,
        )
    )


def _headers(error: PlauditError) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if error.status in {429, 503}:
        headers["retry-after"] = str(max(1, ceil((error.retry_after_ms or _COME_BACK_MS) / 1000)))
    if error.code == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    return headers


def _passed_on(error: HTTPException) -> dict[str, str]:
    """What a client must hear of Litestar's own headers: which methods a path has."""
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return {"cache-control": "no-store", **headers}
