"""The pages at `/` and `/boards/{slug}` and the widget, with their style and scripts, from files beside this module.

There is no build step: what lies in `static/` is what a browser gets.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from app.web import images

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

_ENTRIES: Final = {"": "boards.html", "board": "board.html", "embed.js": "embed.js"}
"""What is served elsewhere than under `/static`, and where it lies."""

_METHODS: Final = (HttpMethod.GET, HttpMethod.HEAD)

CONTENT_SECURITY_POLICY: Final = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'self'"
"""Nothing from elsewhere; the websocket's schemes are named because older browsers do not count them to 'self'."""


class _Asset(NamedTuple):
    content: bytes
    headers: dict[str, str]


@cache
def _assets() -> dict[str, _Asset]:
    """Everything that is served, by its path."""
    here = files(__name__)
    found = {name: here / file for name, file in _ENTRIES.items()} | {
        file.name: file for file in (here / "static").iterdir() if PurePosixPath(file.name).suffix in _TYPES
    }
    return {path: _asset(file.name, file.read_bytes()) for path, file in found.items()}


def _asset(name: str, content: bytes) -> _Asset:
    headers = {
        "content-type": _TYPES[PurePosixPath(name).suffix],
        "etag": f'"{hashlib.sha256(content).hexdigest()[:20]}"',
        # Asked for each time, answered with 304 mostly: modules of two releases never run together.
        "cache-control": "no-cache",
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
    }
    return _Asset(content, headers)


def _answer(request: Request[Any, Any, Any], path: str) -> Response[bytes]:
    asset = _assets().get(path)
    if asset is None:
        raise NotFoundException(detail="There is no such file")
    if asset.headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=asset.headers)
    return Response(asset.content, headers=asset.headers)


@route("/", http_method=_METHODS, include_in_schema=False, sync_to_thread=False)
def boards_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The boards."""
    return _answer(request, "")


@route("/boards", http_method=_METHODS, include_in_schema=False, sync_to_thread=False)
def no_board(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A board's address without the board, which leads to them all."""
    # Relative, for a proxy may have put all of this under a path of its own. Only the raw path has its last slash.
    way = "../" if request.scope["raw_path"].partition(b"?")[0].endswith(b"/") else "./"
    # Not from `request.url`, which needs a host that can be one.
    query = request.scope["query_string"].decode("latin-1")
    return Response(b"", status_code=307, headers={"location": f"{way}?{query}" if query else way})


@route("/boards/{board:str}", http_method=_METHODS, include_in_schema=False, sync_to_thread=False)
def board_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The live ranking of a board. Which one, and whether there is one, its script finds out."""
    return _answer(request, "board")


@route("/embed.js", http_method=_METHODS, include_in_schema=False, sync_to_thread=False)
def widget(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The live ranking of a board as an element for other pages."""
    return _answer(request, "embed.js")


@route("/static/{name:str}", http_method=_METHODS, include_in_schema=False, sync_to_thread=False)
def static(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of the page."""
    return _answer(request, name)


def handlers() -> list[HTTPRouteHandler]:
    """What serves the pages, for the application to mount."""
    return [boards_page, no_board, board_page, widget, static, images.badge, images.code]
