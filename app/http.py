"""The HTTP application: every call of the contract, over one server's parts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders, State
from litestar.types import ControllerRouterHandler, Message, Receive, Scope, Send

from app import openapi, web
from app.answers import HEADERS_OF_ALL, add_common, origin_of
from app.calls import SLASH, encode, to_asgi
from app.docs import page
from app.pages import Pages
from app.problems import problem, to_problem
from app.proxies import Proxies
from app.routes import agents, boards, catalogue, documents, health, live, me, rankings, votes
from app.services import Services
from channels import asyncapi
from channels.errors import PlauditError

MAX_BODY: Final = 1024 * 1024


def create_app(services: Services) -> Litestar:
    """The application. Its parts are started and stopped by whoever made them."""
    handlers: Sequence[ControllerRouterHandler] = [
        *(handler for module in _MODULES for handler in module.ROUTES),
        *web.handlers(),
    ]
    app = _Application(
        list(handlers),
        before_send=[_Headers(services.settings.origins)],
        exception_handlers={Exception: to_problem},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY,
        state=State({"services": services, "pages": Pages()}),
    )
    app.proxies = services.proxies
    document = openapi.document(app, version("plaudit"))
    app.state.openapi = msgspec.json.format(encode(document), indent=1)
    app.state.asyncapi = msgspec.json.format(encode(asyncapi.document(version("plaudit"))), indent=1)
    app.state.docs_page = page(document)
    return app


_MODULES: Final = (votes, me, boards, rankings, live, catalogue, agents, health, documents)


class _Application(Litestar):
    """Litestar, but for four things.

    HEAD is answered wherever there is a GET, a slash that is part of an id (%2F) is kept apart from those between
    the parts of a path, clients behind trusted proxies have their own addresses, and whoever asked for something that
    a stop cut off hears so.
    """

    proxies: Proxies

    async def __call__(self, scope: Scope | Any, receive: Receive | Any, send: Send | Any) -> None:
        if self.proxies and scope["type"] == "http":
            self.proxies.resolve(scope)
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}
            send = _without_body(send)
        raw: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw.lower() or _QUOTED_SLASH in raw:
            parts = raw.partition(b"?")[0].decode("ascii", "replace").split("/")
            scope["path"] = "/".join(_unquoted(part) for part in parts)
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError as cut:
            error = PlauditError("internal", "The server restarts, and this was cut off; try again")
            try:
                await to_asgi(problem(error, HEADERS_OF_ALL))(scope, receive, send)
            except RuntimeError:  # the answer had begun
                raise cut from None


_QUOTED_SLASH: Final = b"%%%02X" % ord(SLASH)


def _unquoted(part: str) -> str:
    # What stands for a slash here is no slash where a client sends it: no id has one control character or the other.
    return unquote(part).replace(SLASH, "\0").replace("/", SLASH)


def _without_body(send: Send) -> Send:
    """What a GET would be answered, but for the body (RFC 9110, 9.3.2)."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return send_head


class _Headers:
    """Adds to every answer what browsers are to know of it.

    Litestar's own CORS would set `Vary` in place of what a route put there.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    async def __call__(self, message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            add_common(headers, self._origins, origin_of(scope["headers"]))
