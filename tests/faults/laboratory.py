"""Everything that faults are tried on: real stores behind proxies, two servers, agents without rest."""

from __future__ import annotations

import asyncio
import secrets
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Final, Self

import asyncpg
import httpx

from storage.embedded import EmbeddedServers
from storage.live import LiveStore
from storage.migrations import migrate
from tests.faults.disk import Disk
from tests.faults.entry import set_offset
from tests.faults.load import Ballots, Load, make_load
from tests.faults.server import Server, free_port
from tests.proxy import Proxy, unix_socket

BACKLOG: Final = 6000
"""Events that may wait for PostgreSQL: few, so that an outage reaches the limit within seconds."""

QUOTA: Final = 500
"""Votes a day of one agent in ten."""

WINDOWS: Final = ("all", "day", "week", "month", "trending")
SHARD: Final = 0
WORKERS: Final = 2
"""Processes of the first server."""

_ADMIN: Final = "admin-key-of-the-laboratory"
_ITEMS: Final = 40
_BACK_WITHIN: Final = 40.0
_POLL: Final = 0.02
_PLAUDIT: Final = "from app.cli import main; main()"


class Laboratory:
    """Stores, proxies, servers and a load. Enter it; everything is made in `folder`.

    `durable` False leaves out fsync, whose want only a loss of power would show.
    """

    def __init__(self, folder: Path, random: Random, *, durable: bool, voters: int, rate: float) -> None:
        self.random = random
        self.items = [f"song-{number:02d}" for number in range(_ITEMS)]
        self.folder = folder
        self.stores = EmbeddedServers(folder / "stores", durable=durable, tell=self._tell)
        self.disk = Disk(folder / "disk")
        self.told: list[str] = []
        self.complaints: list[str] = []
        self.was_ahead = False
        """Whether a clock was: from then on events bear the time of that clock, until others come up with it."""
        self._voters = voters
        self._rate = rate
        self._clock = folder / "clock"
        self._closing = AsyncExitStack()
        self.load: Load
        self.valkey: Proxy
        self.postgres: Proxy
        self.servers: list[Server]
        self.live: LiveStore
        self.admin: httpx.AsyncClient

    def _tell(self, sentence: str) -> None:
        self.told.append(sentence)

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def _open(self) -> None:
        enter = self._closing.enter_async_context
        self._closing.enter_context(self.disk)
        await enter(self.stores)
        if self.disk.real:
            self.disk.belongs_to(self.folder / "stores" / "postgres")
            await self.query(f"create tablespace small location '{self.disk.folder}'")
            await self.query("alter database plaudit set default_tablespace = small")
        # Servers that give up fsync give up this too, and then a killed PostgreSQL forgets what it committed.
        await self.query("alter database plaudit set synchronous_commit = on")
        await migrate(self.stores.database_url)
        self.valkey = await enter(Proxy(unix_socket(self.stores.redis_url)))
        self.postgres = await enter(Proxy(unix_socket(self.stores.database_url)))
        self.live = await enter(LiveStore(self.stores.redis_url))
        set_offset(self._clock, 0)
        first = self._server("first", [sys.executable, "-c", _PLAUDIT, "serve"], {"PLAUDIT_WORKERS": str(WORKERS)})
        second = self._server("second", [sys.executable, "-m", "tests.faults.entry", str(self._clock)], {})
        self.servers = [first, second]
        for server in self.servers:
            self._closing.push_async_callback(server.stop)
            await server.start()
        self.admin = await enter(httpx.AsyncClient(headers={"authorization": f"Bearer {_ADMIN}"}, timeout=30.0))
        await self._furnish()

    def _server(self, name: str, command: list[str], environ: dict[str, str]) -> Server:
        settings = {
            "REDIS_URL": f"redis://127.0.0.1:{self.valkey.port}",
            "DATABASE_URL": f"postgresql://plaudit@127.0.0.1:{self.postgres.port}/plaudit",
            "PLAUDIT_DATA": str(self.folder / name),
            "PLAUDIT_ADMIN_KEY": _ADMIN,
            "PLAUDIT_BACKLOG": str(BACKLOG),
            "PLAUDIT_QUOTA_PRO": str(QUOTA),
            "PLAUDIT_SHARDS": "1",
            "PLAUDIT_TICK_RATE": "5",
        }
        return Server(name, command, settings | environ, free_port(), self.folder / f"{name}.log")

    async def _furnish(self) -> None:
        agents = [
            {"agent_id": f"agent-{number:03d}", "tier": "pro" if number % 10 == 5 else "enterprise"}
            for number in range(self._voters)
        ]
        made = (await self._post("/agents", agents)).json()
        await self._post("/songs", [_song(item) for item in self.items])
        keys = {agent["agent_id"]: agent["api_key"] for agent in made}
        self.load = make_load(keys, self.pick, self._rate, Random(self.random.random()))
        self._closing.push_async_callback(self.load.close)

    def pick(self) -> str:
        """The address of a server. The first one has two processes, so it gets twice as much."""
        return self.random.choices([server.url for server in self.servers], [2, 1])[0]

    async def boards(self) -> Ballots:
        """Two new boards with all items on them: one of final ballots, one of ballots that change."""
        name = secrets.token_hex(4)
        final = {"slug": f"final-{name}", "ballot": {"kind": "updown"}, "ballots_change": False}
        free = {"slug": f"free-{name}", "ballot": {"kind": "points", "min": 1, "max": 10}, "ballots_change": True}
        common = {"title": name, "item_type": "song", "windows": list(WINDOWS)}
        await self._post("/boards", [final | common, free | common])
        for rules in (final, free):
            await self._post(f"/boards/{rules['slug']}/items", [{"item_id": item} for item in self.items])
        return Ballots(str(final["slug"]), str(free["slug"]), self.items)

    async def _post(self, path: str, body: object) -> httpx.Response:
        answer = await self.admin.post(f"{self.servers[1].url}/api/v1{path}", json=body)
        answer.raise_for_status()
        return answer

    def step_clock(self, milliseconds: int) -> None:
        """Makes the second server's clock wrong by so much."""
        self.was_ahead = self.was_ahead or milliseconds > 0
        set_offset(self._clock, milliseconds)

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Asks PostgreSQL, past the proxy."""
        connection = await self.connect()
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def connect(self, first: str = "select 1") -> asyncpg.Connection:
        """A connection to PostgreSQL past the proxy, as soon as it takes one and has done what `first` says."""
        async with asyncio.timeout(_BACK_WITHIN):
            while True:
                with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                    connection = await asyncpg.connect(self.stores.database_url)
                    try:
                        await connection.execute(first)
                    except BaseException:
                        connection.terminate()
                        raise
                    return connection
                await asyncio.sleep(_POLL)


def _song(item: str) -> dict[str, object]:
    return {"id": item, "title": item, "artist": "Nobody", "platform": "suno", "platform_url": f"https://x.test/{item}"}
