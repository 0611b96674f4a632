"""The page at `/`, with its style and scripts, from files beside this module.

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

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

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
    found = {"": here / "index.html"} | {
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
def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The live ranking of a board."""
    return _answer(request, "")


@route("/static/{name:str}", http_method=_METHODS, include_in_schema=False, sync_to_thread=False)
def static(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of the page."""
    return _answer(request, name)


def handlers() -> list[HTTPRouteHandler]:
    """What serves the page, for the application to mount."""
    return [page, static]
