"""What those who run a server ask it."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse

from app import metrics
from app.calls import NOT_STORED, Answer, Call, Request, answer, services_of
from app.shapes.common import Health
from storage.errors import StorageError

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
        text="With several workers each answers for itself, labelled with its `pid` in `plaudit_build_info`.",
        stores=False,
        answers={200: Answer("Prometheus's text format.", str, media_type="text/plain")},
    ),
)
async def read_metrics(request: Request) -> ASGIResponse:
    """All metrics of this process."""
    services = services_of(request)
    services.metrics.connections.labels("agent").set(services.gateway.agents)
    services.metrics.connections.labels("viewer").set(services.gateway.viewers)
    try:
        services.metrics.waiting(await services.backlog())
    except StorageError:
        # The other numbers matter most while a store is away.
        services.metrics.backlog.clear()
    return ASGIResponse(body=services.metrics.text(), media_type=metrics.MEDIA_TYPE, headers=dict(NOT_STORED))


ROUTES: Final = (live, ready, read_metrics)
