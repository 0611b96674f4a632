"""What a server remembers of tenants, boards and keys, so that a vote asks the archive for nothing.

Other servers' changes arrive as notices. While none can be heard, the archive being away, what is remembered serves;
when they are heard again it is in doubt, since some may have been missed, and is asked for anew before it is used.
Where that fails, because the archive comes and goes, what is in doubt serves on, and keys no longer than `STALE_FOR`;
nobody waits for it twice (`app.questions`), and nothing that lasts is made of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from app.guard import Guard
from app.questions import Questions, answer_within
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
"""Seconds for which a key is believed that may have been revoked unheard, also on connections that are open. Requests
take the short way (`app.express`) for as long at most, and none learns it from a key that is in doubt already."""

_CHECKED_WITHIN: Final = 5.0
"""Seconds for an answer about the key of a connection that is open."""


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
        self.on_void: Callable[[bytes], None] = lambda key_hash: None
        """Told of the hash of a key that was good and turns out to be revoked."""
        self._asked_keys = Questions()
        self._asked_boards = Questions()
        self._asked_tenants = Questions()
        self._used_in_doubt: set[bytes] = set()  # keys, though notices are heard
        self._use_in_doubt = asyncio.Event()
        self._unknown = asyncio.Semaphore(UNKNOWN_AT_ONCE)
        self._keys: OrderedDict[bytes, Credential] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._tenants: dict[str, Tenant] = {}  # none ends
        self._all_tenants = False  # whether those are all that there are
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

        Raises PlauditError `unauthorized`, and `too_fast` for an address that has shown too many keys that are none;
        ArchiveUnavailable where nobody can tell.
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
        with suppress(ArchiveUnavailable):
            if await self._asked_keys.ask(digest, partial(self._look_up, digest)) is None:
                return None
        # Not what was found, which may have been revoked since.
        if digest not in self._keys:
            raise ArchiveUnavailable("PostgreSQL does not answer, and the key was revoked meanwhile")
        if digest in self._doubtful_keys:
            self._used_in_doubt.add(digest)
            self._use_in_doubt.set()
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
                if digest in self._keys or digest in self._good:
                    # It was revoked unheard: what rests on it ends, too.
                    self.forget_key(digest)
                    self.on_void(digest)
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

        Raises PlauditError `unknown_board`: to those outside, a tenant that is not there and one without boards look
        the same. Raises ArchiveUnavailable where nobody can tell.
        """
        name = self._default if slug is None else slug
        if name not in self._tenants and not self._all_tenants:
            # For all of them, since anybody may name a tenant; and not among those who asked before a notice came.
            await self._asked_tenants.ask(self._forgotten, self._ask_for_tenants)
        known = self._tenants.get(name)
        if known is None:
            raise PlauditError("unknown_board", "There is no such tenant")
        return known

    async def _ask_for_tenants(self) -> None:
        forgotten = self._forgotten
        self._tenants |= {tenant.slug: tenant for tenant in await self._directory.tenants()}
        self._all_tenants = self._hearing and forgotten == self._forgotten

    async def boards(self, tenant: Tenant) -> dict[str, Board]:
        """A tenant's boards by slug, oldest first; those that there were, while the archive does not answer."""
        known = self._known_boards(tenant)
        if known is not None:
            return known
        before = self._by_slug.get(tenant.number)
        if before is None:
            # Once for all who ask, but not among those who asked before a notice came.
            return await self._asked_boards.ask((tenant.number, self._forgotten), partial(self._ask_for_boards, tenant))
        with suppress(ArchiveUnavailable):
            return await self._asked_boards.ask(tenant.number, partial(self._ask_for_boards, tenant))
        return before

    def _known_boards(self, tenant: Tenant) -> dict[str, Board] | None:
        """What can be told of a tenant's boards without waiting for an answer."""
        if self._hearing and tenant.number in self._doubtful_boards:
            if not self._asked_boards.silent:
                return None
            self._asked_boards.try_again(tenant.number, partial(self._ask_for_boards, tenant))
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
            asked = await self._asked_boards.ask(tenant.number, partial(self._ask_for_boards, tenant))
            found = asked.get(slug)
        if found is None:
            raise PlauditError("unknown_board", f"There is no board {slug!r}")
        return found

    def known_board(self, tenant: Tenant, slug: str) -> Board | None:
        """One board if it can be told without waiting; the hot path's short cut."""
        boards = self._known_boards(tenant)
        return None if boards is None else boards.get(slug)

    async def valid(self, digest: bytes) -> bool:
        """Whether the key of this hash still speaks for anybody. Raises ArchiveUnavailable."""
        if self._known_key(digest) is not None:
            return True
        found = await answer_within(_CHECKED_WITHIN, partial(self._look_up, digest))
        self._asked_keys.begin_anew()
        return found is not None

    def doubts_key(self, digest: bytes) -> bool:
        """Whether a key may have been revoked unheard and was not asked for since."""
        return digest in self._doubtful_keys

    def doubts_boards(self, tenant: int) -> bool:
        """Whether a tenant's boards may have been changed unheard and were not asked for since."""
        return tenant in self._doubtful_boards

    def lapsed(self, digest: bytes) -> bool:
        """Whether a key has been in doubt for too long to be taken for good."""
        return digest in self._doubtful_keys and not self._serves(digest)

    async def used_in_doubt(self) -> None:
        """Returns when a key was taken for good that is in doubt, since `to_check` told of such."""
        await self._use_in_doubt.wait()

    def to_check(self) -> list[bytes]:
        """Keys that were taken for good, and are in doubt still."""
        self._use_in_doubt.clear()
        self._used_in_doubt &= self._doubtful_keys.keys()
        return list(self._used_in_doubt)

    def forget_key(self, digest: bytes) -> None:
        """Makes a key be looked up again."""
        self._forgotten += 1
        self._keys.pop(digest, None)
        self._doubtful_keys.pop(digest, None)
        self._good.pop(digest, None)

    def forget_boards(self, tenant: int) -> None:
        """Makes a tenant's boards be looked up again, and the tenant, which may be new."""
        self._forgotten += 1
        self._all_tenants = False
        self._by_slug.pop(tenant, None)
        self._doubtful_boards.discard(tenant)

    def heard(self) -> None:
        """Notices are heard from now on. Some may have been missed: everything is in doubt until it is asked for."""
        self._forgotten += 1
        self._hearing = True
        self._all_tenants = False
        self._asked_tenants.begin_anew()
        self._asked_keys.begin_anew()
        self._asked_boards.begin_anew()
        since = self._clock() if self._unsure_since is None else self._unsure_since
        # What is in doubt already stays so for as long as it was.
        self._doubtful_keys = dict.fromkeys(self._keys, since) | self._doubtful_keys
        self._doubtful_boards.update(self._by_slug)

    def settled(self) -> None:
        """All keys in use were asked for since notices are heard."""
        self._unsure_since = None

    def lost(self) -> bool:
        """Notices are not heard any more. Answers true once that has been so for too long: no key is known then."""
        now = self._clock()
        self._hearing = False
        self._all_tenants = False
        if self._unsure_since is None:
            self._unsure_since = now
        if now - self._unsure_since <= STALE_FOR:
            return False
        self._unsure_since = now
        self._forgotten += 1
        self._keys.clear()
        self._doubtful_keys.clear()
        return True
