"""The websocket door: every connection of this server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from app.connection import Connection, Shared
from app.proxies import Proxies, place_of
from app.registry import Registry
from app.settings import Deflated
from app.voting import Voting
from channels.codec import Codec
from channels.errors import BAD_TOKEN, NOT_READING, OVERLOADED
from channels.hub import Hub
from storage.errors import ArchiveUnavailable

STALLED_AFTER: Final = 30.0
"""Seconds that a client may leave what it was sent unread."""

_QUIET_WITHIN: Final = 1.0
_CHECK_AGAIN: Final = 1.0

log = structlog.get_logger(__name__)


class Gateway:
    """What all connections of this server share, and the set of them."""

    def __init__(
        self,
        *,
        hub: Hub,
        registry: Registry,
        voting: Voting,
        now: Callable[[], int],
        message_rate: float,
        heartbeat: float,
        limit: int,
        limit_per_address: int | None,
        origins: Iterable[str],
        proxies: Proxies,
        deflate: Deflated,
        on_ack: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.proxies = proxies
        self._heartbeat = heartbeat
        self._voting = voting
        self._registry = registry
        self._now = now
        self._clock = asyncio.get_running_loop().time
        self._shared = Shared(
            hub=hub,
            registry=registry,
            voting=voting,
            clock=self._clock,
            now=now,
            message_rate=message_rate,
            heartbeat=heartbeat,
            greeted=self._greeted,
            removed=self._removed,
            on_ack=on_ack,
        )
        registry.on_void = self.revoke
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._origins = frozenset(origins)
        self._deflate = deflate
        self._quiet = False
        self._connections: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._by_key: dict[bytes, set[Connection]] = {}

    @property
    def agents(self) -> int:
        """Connections that may vote."""
        return sum(connection.agent is not None for connection in self._connections)

    @property
    def viewers(self) -> int:
        """Connections that only watch, or have not said hello yet."""
        return len(self._connections) - self.agents

    def accept(
        self, transport: asyncio.Transport, codec: Codec, token: str | None, address: str, peers: set[Any]
    ) -> Connection:
        """Takes over a connection whose handshake is done."""
        full = len(self._connections) >= self._limit
        place = place_of(address)
        crowded = self._limit_per_address is not None and self._by_address[place] >= self._limit_per_address
        connection = Connection(self._shared, transport, codec, token, address, peers)
        self._connections.add(connection)
        self._by_address[place] += 1
        if self._quiet:
            connection.shutdown()
        elif full or crowded:
            connection.expel(OVERLOADED, "too many connections", retry_after_ms=5000)
        return connection

    def _greeted(self, connection: Connection, key_hash: bytes) -> None:
        """Remembers under which key a connection says hello."""
        self._forget_key(connection)
        connection.key_hash = key_hash
        self._by_key.setdefault(key_hash, set()).add(connection)

    def _removed(self, connection: Connection) -> None:
        """Forgets a connection that is gone."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        place = place_of(connection.address)
        self._by_address[place] -= 1
        if not self._by_address[place]:
            del self._by_address[place]
        self._forget_key(connection)

    def _forget_key(self, connection: Connection) -> None:
        if connection.key_hash is not None:
            peers = self._by_key.get(connection.key_hash, set())
            peers.discard(connection)
            if not peers:
                self._by_key.pop(connection.key_hash, None)

    def revoke(self, key_hash: bytes) -> None:
        """Closes every connection that uses a key."""
        for connection in list(self._by_key.get(key_hash, ())):
            connection.expel(BAD_TOKEN, "this key was revoked")

    async def keep_checking(self) -> None:
        """Closes connections whose keys are void by now, notices of it having been missed, until cancelled.

        Keys that could not be checked, or were used in doubt since then, over HTTP too, are checked again.
        """
        said = False
        while True:
            try:
                await self._check()
            except ArchiveUnavailable as error:
                # It may answer others: a table is locked, say.
                if not said:
                    log.warning("keys of connections can't be checked", error=str(error))
                said = True
                self.send_lapsed_away()
            else:
                said = False
                self._registry.settled()
                await self._registry.used_in_doubt()
            await asyncio.sleep(_CHECK_AGAIN)

    async def _check(self) -> None:
        for key_hash in {*self._by_key, *self._registry.to_check()}:
            if not await self._registry.valid(key_hash):
                # The registry tells of those alone that it knew.
                self.revoke(key_hash)

    def send_away(self) -> None:
        """Closes every connection that uses a key: nobody knows whether it is still good."""
        self._send_away(list(self._by_key))

    def send_lapsed_away(self) -> None:
        """Closes connections whose keys have been in doubt for too long."""
        self._send_away([key_hash for key_hash in self._by_key if self._registry.lapsed(key_hash)])

    def _send_away(self, keys: Iterable[bytes]) -> None:
        for key_hash in keys:
            for connection in list(self._by_key.get(key_hash, ())):
                connection.expel(OVERLOADED, "keys can't be checked now", retry_after_ms=5000)

    async def quiesce(self) -> None:
        """Reads nothing more from anybody, and returns when what was read is dealt with, or soon."""
        self._quiet = True
        working = [work for work in [connection.quiesce() for connection in self._connections] if work is not None]
        if working:
            await asyncio.wait(working, timeout=_QUIET_WITHIN)

    async def watch(self) -> None:
        """Probes the silent and closes those that stopped reading, until cancelled."""
        period = min(self._heartbeat, STALLED_AFTER) / 3
        probes = 0.0
        while True:
            await asyncio.sleep(period)
            probes += period
            now = self._clock()
            silent = probes >= self._heartbeat
            if silent:
                probes = 0.0
            for connection in list(self._connections):
                if connection.blocked and now - connection.blocked_since > STALLED_AFTER:
                    connection.expel(NOT_READING, "the client stopped reading")
                elif silent:
                    connection.probe()

    def deflates(self, origin: str | None) -> bool:
        """Whether whoever offers to take compressed messages gets them; browsers are who name an origin."""
        return self._deflate == "all" or (self._deflate == "browsers" and origin is not None)

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of this origin may connect: the server's own, or one of those in the settings."""
        if origin is None or origin.lower() in self._origins:
            return True
        try:
            return bool(host) and urlsplit(origin).netloc == host
        except ValueError:
            return False
