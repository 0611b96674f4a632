"""What describes the application: OpenAPI, AsyncAPI, and a page to read."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse

from app.answers import HttpReply
from app.calls import Answer, Call, Request, to_asgi
from app.docs import CONTENT_SECURITY_POLICY

_REVALIDATED: Final = {"cache-control": "no-cache"}


@get(
    "/docs",
    call=Call(
        tag="documentation",
        summary="This documentation, to read",
        stores=False,
        answers={200: Answer("A page.", str, media_type="text/html")},
    ),
)
async def docs(request: Request) -> ASGIResponse:
    """A page without scripts, and with nothing from elsewhere."""
    headers = _REVALIDATED | {"content-security-policy": CONTENT_SECURITY_POLICY}
    return ASGIResponse(body=request.app.state.docs_page, media_type="text/html", headers=headers)


@get(
    "/schema/openapi.json",
    call=Call(
        tag="documentation",
        summary="The OpenAPI document of the calls over HTTP",
        stores=False,
        answers={200: Answer("OpenAPI 3.1.", dict)},
    ),
)
async def openapi(request: Request) -> ASGIResponse:
    """Made once, from the routes."""
    return to_asgi(HttpReply(200, _REVALIDATED, request.app.state.openapi))


@get(
    "/schema/asyncapi.json",
    call=Call(
        tag="documentation",
        summary="The AsyncAPI document of the websocket",
        stores=False,
        answers={200: Answer("AsyncAPI 3.0.", dict)},
    ),
)
async def asyncapi(request: Request) -> ASGIResponse:
    """Made once, from the messages."""
    return to_asgi(HttpReply(200, _REVALIDATED, request.app.state.asyncapi))


ROUTES: Final = (docs, openapi, asyncapi)
