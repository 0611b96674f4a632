"""What a server remembers of tenants, boards and keys, so that a vote asks the archive for nothing.

Other servers' changes arrive as notices. While none can be heard, the archive being away, what is remembered serves;
when they are heard again it is in doubt, since some may have been missed, and is asked for anew before it is used.
Where that fails, because the archive comes and goes, what is in doubt serves on, and keys no longer than `STALE_FOR`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from app.guard import Guard
from channels.errors import PlauditError
from storage.boards import Boards
from storage.directory import Credential, Directory, hash_secret
from storage.errors import ArchiveUnavailable
from storage.types import Board, Tenant

UNKNOWN_AT_ONCE: Final = 8
"""Keys not seen before that are looked up at a time; far fewer than an address may try in a minute."""

KEYS: Final = 200_000
"""Credentials that are remembered at most; some sixty megabytes."""

STALE_FOR: Final = 1800.0
"""Seconds for which a key is believed that may have been revoked unheard. A plan that was made of it in the last of
these (`app.express`) lasts at most as long again: within an hour all is over."""

_PATIENCE: Final = 1.0
"""Seconds for an answer where there is an older one."""

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Registry:
    """Cached answers of the directory and of the boards."""

    def __init__(
        self,
        directory: Directory,
        boards: Boards,
        default_tenant: str,
        guard: Guard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._boards = boards
        self._default = default_tenant
        self._guard = guard or Guard()
        self._clock = clock
        self._unknown = asyncio.Semaphore(UNKNOWN_AT_ONCE)
        self._keys: OrderedDict[bytes, Credential] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._tenants: dict[str, Tenant] = {}
        self._by_slug: dict[int, dict[str, Board]] = {}
        self._hearing = False
        self._unsure_since: float | None = clock()  # None once all that matters was asked for since notices are heard
        self._doubtful_keys: dict[bytes, float] = {}  # with the time until which each was certain
        self._doubtful_boards: set[int] = set()
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
        known = self._known_key(digest)
        if known is not None:
            self._keys.move_to_end(digest)
            return known
        if digest in self._good or digest in self._keys:
            found = await self._ask_again(digest)
        else:
            # Few at a time: a crowd that comes back with good keys from one address must not look like a guesser.
            async with self._unknown:
                found = await self._try(digest, address)
        if found is None:
            raise PlauditError("unauthorized", "This API key is unknown or was revoked")
        return found

    def _known_key(self, digest: bytes) -> Credential | None:
        """What can be told of a key without asking."""
        if digest in self._doubtful_keys and (self._hearing or not self._serves(digest)):
            return None
        return self._keys.get(digest)

    def _serves(self, digest: bytes) -> bool:
        """Whether a key that is in doubt may be taken for good where the archive can't be asked."""
        return digest in self._keys and self._clock() - self._doubtful_keys.get(digest, -STALE_FOR) <= STALE_FOR

    async def _ask_again(self, digest: bytes) -> Credential | None:
        """Looks up a key that was good; while the archive does not answer, it is for as long as that serves."""
        if not self._serves(digest):
            return await self._look_up(digest)
        with suppress(ArchiveUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self._look_up(digest)
        if digest not in self._keys:
            raise ArchiveUnavailable("PostgreSQL does not answer, and the key was revoked meanwhile")
        return self._keys[digest]

    async def _try(self, digest: bytes, address: str) -> Credential | None:
        """Looks up what may be a guess."""
        self._guard.charge(address)
        try:
            found = await self._look_up(digest)
        except BaseException:
            self._guard.refund(address)
            raise
        if found is not None:
            self._guard.refund(address)
        return found

    async def _look_up(self, digest: bytes) -> Credential | None:
        """Asks the archive for a key, and remembers what it says."""
        while True:
            forgotten = self._forgotten
            found = await self._directory.find_hash(digest)
            if found is None:
                self._keys.pop(digest, None)
                self._doubtful_keys.pop(digest, None)
                return None
            if forgotten == self._forgotten:
                break
            # Else what was found may be void by now.
        self._keys[digest] = found
        self._doubtful_keys.pop(digest, None)
        if len(self._keys) > KEYS:
            oldest, _ = self._keys.popitem(last=False)
            self._doubtful_keys.pop(oldest, None)
        self.issued(digest)
        return found

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
        """A tenant's boards by slug, oldest first; those that there were, while the archive does not answer."""
        known = self._known_boards(tenant)
        if known is not None:
            return known
        before = self._by_slug.get(tenant.number)
        if before is None:
            return await self._ask_for_boards(tenant)
        with suppress(ArchiveUnavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self._ask_for_boards(tenant)
        return before

    def _known_boards(self, tenant: Tenant) -> dict[str, Board] | None:
        """What can be told of a tenant's boards without asking."""
        if self._hearing and tenant.number in self._doubtful_boards:
            return None
        return self._by_slug.get(tenant.number)

    async def _ask_for_boards(self, tenant: Tenant) -> dict[str, Board]:
        forgotten = self._forgotten
        found = {board.slug: board for board in await self._boards.of_tenant(tenant.number)}
        if forgotten == self._forgotten:
            self._by_slug[tenant.number] = found
            self._doubtful_boards.discard(tenant.number)
        return found

    async def board(self, tenant: Tenant, slug: str) -> Board:
        """One board. Raises PlauditError `unknown_board`, and ArchiveUnavailable where nobody can tell."""
        found = (await self.boards(tenant)).get(slug)
        if found is None and (not self._hearing or tenant.number in self._doubtful_boards):
            # It may have been made unheard.
            found = (await self._ask_for_boards(tenant)).get(slug)
        if found is None:
            raise PlauditError("unknown_board", f"There is no board {slug!r}")
        return found

    def known_board(self, tenant: Tenant, slug: str) -> Board | None:
        """One board if it can be told without asking; the hot path's short cut."""
        boards = self._known_boards(tenant)
        return None if boards is None else boards.get(slug)

    async def valid(self, digest: bytes) -> bool:
        """Whether the key of this hash still speaks for anybody. Raises ArchiveUnavailable."""
        return self._known_key(digest) is not None or await self._look_up(digest) is not None

    def forget_key(self, digest: bytes) -> None:
        """Makes a key be looked up again."""
        self._forgotten += 1
        self._keys.pop(digest, None)
        self._doubtful_keys.pop(digest, None)
        self._good.pop(digest, None)

    def forget_boards(self, tenant: int) -> None:
        """Makes a tenant's boards be looked up again."""
        self._forgotten += 1
        self._by_slug.pop(tenant, None)
        self._doubtful_boards.discard(tenant)

    def heard(self) -> None:
        """Notices are heard from now on. Some may have been missed: everything is in doubt until it is asked for."""
        self._forgotten += 1
        self._hearing = True
        since = self._clock() if self._unsure_since is None else self._unsure_since
        # What is in doubt already stays so for as long as it was.
        self._doubtful_keys = dict.fromkeys(self._keys, since) | self._doubtful_keys
        self._doubtful_boards.update(self._by_slug)

    def settled(self) -> None:
        """All keys that connections use were asked for since notices are heard."""
        self._unsure_since = None

    def lost(self) -> bool:
        """Notices are not heard any more. Answers true once that has been so for too long: no key is known then."""
        now = self._clock()
        self._hearing = False
        if self._unsure_since is None:
            self._unsure_since = now
        if now - self._unsure_since <= STALE_FOR:
            return False
        self._unsure_since = now
        self._forgotten += 1
        self._keys.clear()
        self._doubtful_keys.clear()
        return True
