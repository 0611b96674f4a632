"""Both servers of a data folder as one thing to enter and to leave."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from storage.embedded.child import Child
from storage.embedded.folder import Folder
from storage.embedded.postgres import Postgres
from storage.embedded.valkey import Valkey

_log = structlog.get_logger(__name__)


class EmbeddedServers:
    """Runs a Valkey and a PostgreSQL on a data folder for as long as it is entered.

        async with EmbeddedServers(Path(".plaudit")) as servers:
            connect(servers.redis_url, servers.database_url)

    Entering makes what is missing, ends what an earlier process left running, and returns when both
    take connections; leaving stops them. Inside, a server that ends is started again, and `tell` is
    given a sentence about it (by default it goes to the log). `valkey` or `postgres` False leaves
    that one out; `durable` False trades safety for speed, for tests.

    Raises EmbeddedError: the folder is another process', the wheels are missing, a server does not
    start.
    """

    def __init__(
        self,
        data: Path,
        *,
        valkey: bool = True,
        postgres: bool = True,
        durable: bool = True,
        tell: Callable[[str], None] = _log.warning,
    ) -> None:
        self._folder = Folder(data)
        self._valkey = valkey
        self._postgres = postgres
        self._durable = durable
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._lock = ExitStack()

    @property
    def redis_url(self) -> str:
        """Valkey's address, for redis-py."""
        return self._folder.addresses.redis_url

    @property
    def database_url(self) -> str:
        """PostgreSQL's address, for asyncpg, libpq and dbmate."""
        return self._folder.addresses.database_url

    @property
    def pids(self) -> dict[str, int]:
        """The process of each server that runs, by the server's name."""
        return {name: child.pid for name, child in self._children.items() if child.pid is not None}

    async def __aenter__(self) -> Self:
        self._folder.make()
        self._lock.enter_context(self._folder.held())
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        programs: list[Valkey | Postgres] = []
        if self._valkey:
            programs.append(Valkey(self._folder, durable=self._durable))
        if self._postgres:
            programs.append(Postgres(self._folder, durable=self._durable))
        account = next((program.account for program in programs if isinstance(program, Postgres)), None)
        self._folder.make_sockets(account)
        # Each runs to its end, so that none is still starting while the others are stopped.
        outcomes = await asyncio.gather(*map(self._start_one, programs), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _start_one(self, program: Valkey | Postgres) -> None:
        await program.prepare()
        child = Child(program, self._folder.log(program.folder.name), self._tell)
        await child.start()
        self._children[program.name] = child

    async def _stop(self) -> None:
        try:
            await asyncio.gather(*(child.stop() for child in self._children.values()))
        finally:
            self._children.clear()
            with suppress(OSError):
                self._folder.sockets.rmdir()
            self._lock.close()
