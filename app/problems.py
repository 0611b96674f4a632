"""Every failure as the contract has it: RFC 9457 problem details with a code of the table."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final

import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from msgspec import UNSET

from app.calls import Request, encode
from app.shapes import Problem
from channels.errors import PlauditError
from storage.errors import ArchiveUnavailable, Exists, NotFound, StaleStore, StoreUnavailable

MEDIA_TYPE: Final = "application/problem+json"
_AWAY: Final = (ArchiveUnavailable, StoreUnavailable, StaleStore)
_COME_BACK_MS: Final = 1000

log = structlog.get_logger(__name__)


def to_problem(request: Request, error: Exception) -> Response[Any]:
    """The answer to a request that failed. What nobody expected is logged, and told to nobody."""
    # Litestar's own: no such path, wrong method, body too large, a host that can't be one.
    if isinstance(error, HTTPException) and error.status_code < 500:
        code = "too_large" if error.status_code == 413 else "invalid"
        detail = "A body is at most 1 MiB" if error.status_code == 413 else error.detail
        return _response(PlauditError(code, detail), error.status_code, _passed_on(error))
    known = as_plaudit_error(error)
    if known.code == "internal":
        log.error("request failed", method=request.method, path=request.scope["path"], exc_info=error)
    return problem(known)


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


def problem(error: PlauditError, headers: Mapping[str, str] | None = None) -> Response[Any]:
    """A refusal, with further headers where there are some."""
    return _response(error, error.status, headers or {})


def retry_after(error: PlauditError) -> int | None:
    """Whole seconds after which to come back, for the statuses that say so."""
    if error.status not in {429, 503}:
        return None
    return max(1, ceil((error.retry_after_ms or _COME_BACK_MS) / 1000))


def _response(error: PlauditError, status: int, headers: Mapping[str, str]) -> Response[Any]:
    body = Problem(
        type=f"/docs#{error.code}",
        title=error.kind.title,
        status=status,
        detail=error.message,
        code=error.code,
        temporary=error.temporary,
        retry_after_ms=UNSET if error.retry_after_ms is None else error.retry_after_ms,
    )
    all_headers = {"cache-control": "no-store", **headers}
    seconds = retry_after(error)
    if seconds is not None:
        all_headers["retry-after"] = str(seconds)
    if error.code == "unauthorized":
        all_headers["www-authenticate"] = "Bearer"
    return Response(encode(body), status_code=status, media_type=MEDIA_TYPE, headers=all_headers)


def _passed_on(error: HTTPException) -> dict[str, str]:
    """What a client must hear of Litestar's own headers: which methods a path has."""
    return {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
