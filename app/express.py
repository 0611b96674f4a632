"""The short way for requests that come by the thousand: a vote, and a ranking.

A client that keeps its connection sends the same head with every request. A route that knows what a request means
may leave a `Plan` for it: from then on a request with the very same head is answered from the connection itself,
without parsing, a task, or routing. A plan that can't answer at once says so before anything has happened, and
the request goes the long way. What was learned is void as soon as anything is forgotten that it may rest on.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from app.answers import HttpReply, add_common, as_bytes, origin_of

if TYPE_CHECKING:
    from app.calls import Request

HEADS: Final = 20_000
"""Heads that are remembered at most; some ten megabytes."""

LONGEST: Final = 4096
"""Bytes of a head that is remembered."""

Respond = Callable[[HttpReply], None]
Plan = Callable[[bytes, Respond], bool]
"""Takes a request's body, and answers whether it will respond: exactly once, perhaps before it returns."""

_SCOPE_KEY: Final = "plaudit.plan"
_FRAMED_OTHERWISE: Final = (b"\r\ntransfer-encoding:", b"\r\nexpect:", b"\r\nupgrade:")
_NOT_MODIFIED: Final = 304


class Lane(NamedTuple):
    """What requests with a certain head mean. `length` is that of their body, `origin` the page's that asks."""

    plan: Plan
    length: int
    origin: str | None
    as_of: int


def offer(request: Request, plan: Plan, as_of: int) -> None:
    """Leaves a plan for requests like this one; it rests on what was known after `as_of` had been forgotten."""
    cast("MutableMapping[str, Any]", request.scope).setdefault(_SCOPE_KEY, (plan, as_of))


def withhold(request: Request) -> None:
    """Lets no plan be left for requests like this one: it rests on what is in doubt."""
    cast("MutableMapping[str, Any]", request.scope)[_SCOPE_KEY] = None, 0


class Express:
    """Heads that were understood before. `forgotten` counts how often anything was forgotten that plans rest on.

    Heads hold API keys: what is kept of them is a keyed hash. `origins` are those whose pages may read answers.
    """

    def __init__(self, forgotten: Callable[[], int], origins: Sequence[str] = ()) -> None:
        self._forgotten = forgotten
        self._origins = frozenset(origins)
        self._secret = secrets.token_bytes(32)
        self._lanes: OrderedDict[bytes, Lane] = OrderedDict()

    def find(self, head: bytes) -> Lane | None:
        """What a request with this head means, if that is known."""
        digest = self._digest(head)
        lane = self._lanes.get(digest)
        if lane is not None and lane.as_of != self._forgotten():
            del self._lanes[digest]
            return None
        return lane

    def learn(self, head: bytes, length: int, scope: Mapping[str, Any]) -> None:
        """Keeps the plan that was left for a request, if there is one. `length` is that of what came after the head."""
        plan, as_of = scope.get(_SCOPE_KEY, (None, 0))
        if plan is None or len(head) > LONGEST or any(name in head.lower() for name in _FRAMED_OTHERWISE):
            return
        if [int(value) for name, value in scope["headers"] if name == b"content-length"] != [length] * (length > 0):
            return
        self._lanes[self._digest(head)] = Lane(plan, length, origin_of(scope["headers"]), as_of)
        if len(self._lanes) > HEADS:
            self._lanes.popitem(last=False)

    def _digest(self, head: bytes) -> bytes:
        return blake2b(head, digest_size=32, key=self._secret).digest()

    def complete(self, reply: HttpReply, lane: Lane, date: Mapping[str, str]) -> bytes:
        """A reply as it goes over the wire."""
        headers = {**date, **reply.headers}
        if reply.status != _NOT_MODIFIED:
            headers["content-type"] = reply.media_type
            headers["content-length"] = str(len(reply.body))
        add_common(headers, self._origins, lane.origin)
        return as_bytes(reply.status, headers, reply.body)
