"""What those who run a server ask it."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse

from app import metrics
from app.calls import NOT_STORED, Answer, Call, Request, answer, services_of
from app.shapes.common import Health

_READY: Final = Health("ok", {"live_store": None, "archive": None, "votes": None, "backlog": None, "tasks": None})
_AWAY: Final = Health("unavailable", _READY.checks | {"archive": "PostgreSQL does not answer"})


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
        text="Each check with its problem, null where it is fine.",
        stores=False,
        answers={
            200: Answer("All is well.", Health, {"status": "ok", "checks": _READY.checks}),
            503: Answer("Something is not.", Health, {"status": "unavailable", "checks": _AWAY.checks}),
        },
    ),
)
async def ready(request: Request) -> ASGIResponse:
    """Asked by load balancers."""
    checks = await services_of(request).readiness()
    if any(problem is not None for problem in checks.values()):
        return answer(Health("unavailable", checks), 503)
    return answer(Health("ok", checks))


@get(
    "/metrics",
    call=Call(
        tag="operation",
        summary="Numbers for Prometheus",
        text="With several workers those of all, each sample with its `worker`; one that does not answer is left out. "
        "`plaudit_backlog_events` is of the stores, and the same in each: take the maximum, not the sum.",
        stores=False,
        answers={200: Answer("Prometheus's text format.", str, media_type="text/plain")},
    ),
)
async def read_metrics(request: Request) -> ASGIResponse:
    """All metrics."""
    text = await services_of(request).scrape()
    return ASGIResponse(body=text, media_type=metrics.MEDIA_TYPE, headers=dict(NOT_STORED))


ROUTES: Final = (live, ready, read_metrics)
