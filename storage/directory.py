"""Tenants, agents and their keys, in the archive."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from storage.archive import CHANNEL, Archive, Connection, Record
from storage.boards import STANDING_BOARDS, Boards, NewBoard
from storage.errors import Exists, NotFound
from storage.types import Agent, Board, Tenant, Tier

KEY_PREFIX: Final = "plaudit_"


class Credential(msgspec.Struct, frozen=True, gc=False):
    """Who a key speaks for: an agent of a tenant, or, without an agent, the tenant's administration."""

    key: int
    key_hash: bytes
    tenant: Tenant
    agent: Agent | None


class IssuedKey(msgspec.Struct, frozen=True):
    """A new key. Its secret is known this once; only its hash is kept."""

    key: int
    agent: Agent
    secret: str


class AdminKey(msgspec.Struct, frozen=True):
    """A key that administers a tenant. `from_settings` is one that PLAUDIT_ADMIN_KEY gave."""

    number: int
    created_at: datetime
    from_settings: bool


class KeyRevoked(msgspec.Struct, frozen=True, tag="key"):
    """Told to every server: this key is void from now on."""

    key_hash: bytes


class BoardsChanged(msgspec.Struct, frozen=True, tag="boards"):
    """Told to every server: the boards of a tenant, which may be new, are not what they were."""

    tenant: int
    shard: int


Notice = KeyRevoked | BoardsChanged
encode_notice = msgspec.json.Encoder().encode
decode_notice = msgspec.json.Decoder(Notice).decode


def new_secret() -> str:
    """A fresh key with 192 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(24)


def hash_secret(secret: str) -> bytes:
    """What is kept of a key. Keys are random, so that a fast hash without salt serves."""
    return hashlib.sha256(secret.encode()).digest()


class Directory:
    """Who is who."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries
        self._boards = Boards(archive)

    async def tenants(self) -> list[Tenant]:
        """Every tenant, oldest first."""
        async with self._archive.connection() as connection:
            return [Tenant(*row) async for row in self._queries.list_tenants(connection)]

    async def tenant(self, slug: str) -> Tenant | None:
        """The tenant of that slug."""
        async with self._archive.connection() as connection:
            row = await self._queries.find_tenant(connection, slug=slug)
        return None if row is None else Tenant(*row)

    async def add_tenant(self, slug: str, shards: int, admin_key: str | None = None) -> tuple[Tenant, list[Board]]:
        """A new tenant with its standing boards, of which every server is told, and a key that administers it.

        Raises Exists where there is such a tenant.
        """
        async with self._archive.transaction() as connection:
            row = await self._queries.add_tenant(connection, slug=slug, shards=shards)
            if row is None:
                raise Exists(f"a tenant {slug!r} is there already")
            tenant = Tenant(*row)
            boards = await self._boards.add_over(connection, tenant, _standing_boards())
            if admin_key is not None:
                await self._add_admin_key(connection, tenant, admin_key)
            await self._notify(connection, BoardsChanged(tenant.number, tenant.shard))
        return tenant, boards

    async def add_standing_boards(self, tenant: Tenant) -> list[Board]:
        """Makes those of a tenant's standing boards that are missing; answers them."""
        present = {board.slug for board in await self._boards.of_tenant(tenant.number)}
        return await self._boards.add(tenant, [board for board in _standing_boards() if board.slug not in present])

    async def find_key(self, secret: str) -> Credential | None:
        """Who a key speaks for; None for an unknown or revoked one."""
        return await self.find_hash(hash_secret(secret))

    async def find_hash(self, digest: bytes) -> Credential | None:
        """Who the key of that hash speaks for."""
        async with self._archive.connection() as connection:
            row = await self._queries.find_key(connection, hash=digest)
        if row is None or not secrets.compare_digest(row["hash"], digest):
            return None
        tenant = Tenant(row["tenant_id"], row["slug"], row["shard"])
        agent = None
        if row["agent"] is not None:
            agent = Agent(row["agent"], row["agent_id"], row["tier"], row["reputation_score"])
        return Credential(row["key_id"], digest, tenant, agent)

    async def add_admin_key(self, tenant: Tenant, secret: str, *, from_settings: bool = False) -> list[bytes]:
        """Lets a key administer the tenant, unless it was revoked.

        One that comes from the settings does in any case, and replaces earlier such ones, whose hashes are answered.
        Raises Exists for a key that is somebody else's.
        """
        digest = hash_secret(secret)
        async with self._archive.transaction() as connection:
            await self._add_admin_key(connection, tenant, secret, from_settings=from_settings)
            if not from_settings:
                return []
            ended = [
                row async for row in self._queries.revoke_settings_keys(connection, tenant=tenant.number, hash=digest)
            ]
            for row in ended:
                await self._notify(connection, KeyRevoked(row["hash"]))
            return [row["hash"] for row in ended]

    async def _add_admin_key(
        self, connection: Connection, tenant: Tenant, secret: str, *, from_settings: bool = False
    ) -> int:
        key: int | None = await self._queries.add_key(
            connection, tenant=tenant.number, agent=None, hash=hash_secret(secret), from_settings=from_settings
        )
        if key is None:
            raise Exists("this key is in use already, by an agent or by another tenant")
        return key

    async def issue_admin_key(self, tenant: Tenant) -> tuple[int, str]:
        """A further key that administers the tenant: its number, and its secret, known this once."""
        secret = new_secret()
        async with self._archive.transaction() as connection:
            return await self._add_admin_key(connection, tenant, secret), secret

    async def admin_keys(self, tenant: Tenant) -> list[AdminKey]:
        """The keys that administer a tenant, oldest first."""
        async with self._archive.connection() as connection:
            return [AdminKey(*row) async for row in self._queries.admin_keys(connection, tenant=tenant.number)]

    async def revoke_admin_key(self, tenant: Tenant, key: int) -> bool:
        """Ends a key that administers a tenant, on every server; answers whether settings gave it. Raises NotFound."""
        async with self._archive.transaction() as connection:
            row = await self._queries.revoke_admin_key(connection, tenant=tenant.number, key=key)
            if row is None:
                raise NotFound(f"the tenant {tenant.slug!r} has no admin key {key}")
            await self._notify(connection, KeyRevoked(row["hash"]))
            return bool(row["from_settings"])

    async def add_first_admin_key(self, tenant: Tenant, secret: str) -> bool:
        """Lets a key administer a tenant that nobody administers yet; answers whether it was such a one."""
        async with self._archive.transaction() as connection:
            await self._queries.lock_tenant(connection, tenant=tenant.number)
            if await self._queries.has_admin_key(connection, tenant=tenant.number):
                return False
            await self._add_admin_key(connection, tenant, secret)
            return True

    async def add_agents(self, tenant: Tenant, new: Sequence[tuple[str, Tier]]) -> list[IssuedKey]:
        """New agents, each with a first key, all or none. Raises Exists."""
        issued = [new_secret() for _ in new]
        async with self._archive.transaction() as connection:
            rows = [
                row
                async for row in self._queries.add_agents(
                    connection,
                    tenant=tenant.number,
                    agent_ids=[agent_id for agent_id, _ in new],
                    tiers=[tier for _, tier in new],
                )
            ]
            agents = {row["agent_id"]: _agent(row) for row in rows}
            numbers = [agents[agent_id].number for agent_id, _ in new]
            keys = [
                row
                async for row in self._queries.add_agent_keys(
                    connection, tenant=tenant.number, agents=numbers, hashes=[hash_secret(secret) for secret in issued]
                )
            ]
        key_of = {row["agent_id"]: row["id"] for row in keys}
        return [
            IssuedKey(key_of[agents[agent_id].number], agents[agent_id], secret)
            for (agent_id, _), secret in zip(new, issued, strict=True)
        ]

    async def add_agent_key(self, tenant: Tenant, agent_id: str) -> IssuedKey:
        """A further key of an agent. Raises NotFound."""
        secret = new_secret()
        async with self._archive.transaction() as connection:
            row = await self._queries.find_agent(connection, tenant=tenant.number, agent_id=agent_id)
            if row is None:
                raise NotFound(f"there is no agent {agent_id!r}")
            key = await self._queries.add_key(
                connection, tenant=tenant.number, agent=row["id"], hash=hash_secret(secret), from_settings=False
            )
            return IssuedKey(key, _agent(row), secret)

    async def revoke_key(self, tenant: Tenant, agent_id: str, key: int) -> bytes:
        """Ends a key of an agent on every server; answers its hash. Raises NotFound."""
        async with self._archive.transaction() as connection:
            row = await self._queries.revoke_key(connection, tenant=tenant.number, agent_id=agent_id, key=key)
            if row is None:
                raise NotFound(f"agent {agent_id!r} has no key {key}")
            await self._notify(connection, KeyRevoked(row["hash"]))
            digest: bytes = row["hash"]
            return digest

    async def notify(self, notice: Notice) -> None:
        """Tells every server."""
        async with self._archive.connection() as connection:
            await self._notify(connection, notice)

    async def _notify(self, connection: Connection, notice: Notice) -> None:
        await self._queries.notify(connection, channel=CHANNEL, message=encode_notice(notice).decode())


def _standing_boards() -> list[NewBoard]:
    return [NewBoard(slug, title, kind) for slug, title, kind in STANDING_BOARDS]


def _agent(row: Record) -> Agent:
    return Agent(row["id"], row["agent_id"], row["tier"], row["reputation_score"])
