"""What those who run a server ask it."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from app import metrics
from app.calls import NOT_STORED, Answer, Call, Request, answer, services_of
from app.shapes.common import Backlog, Health

_FINE: Final = {"live_store": None, "archive": None, "votes": None, "backlog": None, "tasks": None}
_READY: Final = {"status": "ok", "checks": _FINE, "backlog": {"0": {"events": 3, "seconds": 0.12}}}
_AWAY: Final = {
    "status": "unavailable",
    "checks": _FINE | {"archive": "PostgreSQL does not answer"},
    "backlog": {"0": {"events": 48210, "seconds": 31.5}},
}


@get(
    "/health/live",
    call=Call(
        tag="operation",
        summary="Whether the process runs",
        stores=False,
        answers={200: Answer("It runs.", Health, {"status": "ok", "checks": {}})},
    ),
)
async def live() -> ASGIResponse:
    """Answered for as long as the loop turns."""
    return answer(Health("ok"))


@get(
    "/health/ready",
    call=Call(
        tag="operation",
        summary="Whether votes can be taken now",
        text="Each check with its problem, null where it is fine; and, by shard, how many events are not in "
        "PostgreSQL yet, and for how many seconds the oldest of them has waited. Votes go on while PostgreSQL is away, "
        "until the backlog is full.",
        stores=False,
        answers={
            200: Answer("All is well.", Health, _READY),
            503: Answer("Something is not.", Health, _AWAY),
        },
    ),
)
async def ready(request: Request) -> ASGIResponse:
    """Asked by load balancers."""
    checks, backlog = await services_of(request).readiness.check()
    well = all(problem is None for problem in checks.values())
    waiting = UNSET if backlog is None else {str(shard): Backlog(*found) for shard, found in backlog.items()}
    return answer(Health("ok" if well else "unavailable", checks, waiting), 200 if well else 503)


@get(
    "/metrics",
    call=Call(
        tag="operation",
        summary="Numbers for Prometheus",
        text="With several workers those of all, each sample with its `worker`; one that does not answer is left out. "
        "`plaudit_backlog_events` and `plaudit_backlog_seconds` are of the stores, and the same in each: take the "
        "maximum, not the sum.",
        stores=False,
        answers={200: Answer("Prometheus's text format.", str, media_type="text/plain")},
    ),
)
async def read_metrics(request: Request) -> ASGIResponse:
    """All metrics."""
    # As a header, since the framework would add a charset to a media type that has one.
    headers = dict(NOT_STORED) | {"content-type": metrics.MEDIA_TYPE}
    return ASGIResponse(body=await services_of(request).scrape(), headers=headers)


ROUTES: Final = (live, ready, read_metrics)
