"""Answers over HTTP, and what all of them say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Final, NamedTuple

HEADERS_OF_ALL: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What every answer carries that says nothing else of its own."""

_CORS: Final = {
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, If-None-Match, Last-Event-ID",
    "access-control-expose-headers": "ETag, RateLimit, RateLimit-Policy, Retry-After",
    "access-control-max-age": "86400",
}
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class HttpReply(NamedTuple):
    """An answer, whichever way it takes. `headers` are those besides the ones that every answer has."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    media_type: str = "application/json"


def add_common(headers: MutableMapping[str, str], origins: Collection[str], origin: str | None) -> None:
    """Adds what browsers are to know of every answer.

    `origins` are those whose pages may read it, `origin` that of the page that asks.
    """
    for name, value in HEADERS_OF_ALL.items():
        headers.setdefault(name, value)
    if not origins:
        return
    vary = headers.get("vary")
    headers["vary"] = "Origin" if vary is None else f"{vary}, Origin"
    if origin is not None and origin in origins:
        headers["access-control-allow-origin"] = origin
        for name, value in _CORS.items():
            headers[name] = value


def origin_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The origin of the page for which a browser asks."""
    return next((value.decode("latin-1") for name, value in headers if name == b"origin"), None)


def as_bytes(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """An answer as HTTP/1.1 has it."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"{_STATUS_LINES[status]}{fields}\r\n".encode("latin-1") + body
