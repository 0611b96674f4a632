"""What a server remembers of tenants, boards and keys, so that a vote asks the archive for nothing.

Other servers' changes arrive as notices; while notices may have been missed, nothing is remembered.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from typing import Final

from app.guard import Guard
from channels.errors import PlauditError
from storage.boards import Boards
from storage.directory import Credential, Directory, hash_secret
from storage.types import Board, Tenant

UNKNOWN_AT_ONCE: Final = 8
"""Keys not seen before that are looked up at a time; far fewer than an address may try in a minute."""

KEYS: Final = 200_000
"""Credentials that are remembered at most; some sixty megabytes."""

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Registry:
    """Cached answers of the directory and of the boards."""

    def __init__(self, directory: Directory, boards: Boards, default_tenant: str, guard: Guard | None = None) -> None:
        self._directory = directory
        self._boards = boards
        self._default = default_tenant
        self._guard = guard or Guard()
        self._unknown = asyncio.Semaphore(UNKNOWN_AT_ONCE)
        self._keys: OrderedDict[bytes, Credential] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._tenants: dict[str, Tenant] = {}
        self._by_slug: dict[int, dict[str, Board]] = {}
        self._forgotten = 0  # how often; an answer that was asked for before the last time is not kept

    @property
    def forgotten(self) -> int:
        """How often anything was forgotten: what rests on answers from before may be void."""
        return self._forgotten

    async def credential(self, secret: str, address: str) -> Credential:
        """Who a key speaks for that somebody at an address shows.

        Raises PlauditError `unauthorized`, and `too_fast` for an address that has shown too many keys that are none.
        A key that was good on this server before is never slowed; another one can't be told from a guess.
        """
        digest = hash_secret(secret)
        known = self._keys.get(digest)
        if known is not None:
            self._keys.move_to_end(digest)
            return known
        if digest in self._good:
            found = await self._look_up(secret)
        else:
            # Few at a time: a crowd that comes back with good keys from one address must not look like a guesser.
            async with self._unknown:
                found = await self._try(secret, address)
        if found is None:
            raise PlauditError("unauthorized", "This API key is unknown or was revoked")
        self._keys[digest] = found
        if len(self._keys) > KEYS:
            self._keys.popitem(last=False)
        self.issued(digest)
        return found

    async def _try(self, secret: str, address: str) -> Credential | None:
        """Looks up what may be a guess."""
        self._guard.charge(address)
        try:
            found = await self._look_up(secret)
        except BaseException:
            self._guard.refund(address)
            raise
        if found is not None:
            self._guard.refund(address)
        return found

    async def _look_up(self, secret: str) -> Credential | None:
        while True:
            forgotten = self._forgotten
            found = await self._directory.find_key(secret)
            if found is None or forgotten == self._forgotten:
                return found
            # Else what was found may be void by now.

    def issued(self, digest: bytes) -> None:
        """Notes that a key is good: whoever shows it does not guess."""
        self._good[digest] = None
        self._good.move_to_end(digest)
        if len(self._good) > KEYS:
            self._good.popitem(last=False)

    async def tenant(self, slug: str | None = None) -> Tenant:
        """A tenant by its slug, the default one for None.

        Raises PlauditError `unknown_board`: to those outside, a tenant that is not there and one without
        boards look the same.
        """
        name = self._default if slug is None else slug
        known = self._tenants.get(name)
        if known is None:
            # What can be no slug is not asked for: PostgreSQL takes no NUL, for one.
            known = await self._directory.tenant(name) if _SLUG.fullmatch(name) else None
            if known is None:
                raise PlauditError("unknown_board", "There is no such tenant")
            self._tenants[name] = known
        return known

    async def boards(self, tenant: Tenant) -> dict[str, Board]:
        """A tenant's boards by slug, oldest first."""
        known = self._by_slug.get(tenant.number)
        if known is None:
            forgotten = self._forgotten
            known = {board.slug: board for board in await self._boards.of_tenant(tenant.number)}
            if forgotten == self._forgotten:
                self._by_slug[tenant.number] = known
        return known

    async def board(self, tenant: Tenant, slug: str) -> Board:
        """One board. Raises PlauditError `unknown_board`."""
        found = (await self.boards(tenant)).get(slug)
        if found is None:
            raise PlauditError("unknown_board", f"There is no board {slug!r}")
        return found

    def known_board(self, tenant: Tenant, slug: str) -> Board | None:
        """One board if it can be told without asking; the hot path's short cut."""
        boards = self._by_slug.get(tenant.number)
        return None if boards is None else boards.get(slug)

    async def valid(self, digest: bytes) -> bool:
        """Whether the key of this hash still speaks for anybody."""
        return digest in self._keys or await self._directory.find_hash(digest) is not None

    def forget_key(self, digest: bytes) -> None:
        """Makes a key be looked up again."""
        self._forgotten += 1
        self._keys.pop(digest, None)
        self._good.pop(digest, None)

    def forget_boards(self, tenant: int) -> None:
        """Makes a tenant's boards be looked up again."""
        self._forgotten += 1
        self._by_slug.pop(tenant, None)

    def forget_all(self) -> None:
        """Makes everything be looked up again: notices may have been missed."""
        self._forgotten += 1
        self._keys.clear()
        self._by_slug.clear()
