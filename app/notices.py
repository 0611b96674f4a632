"""What servers tell each other through PostgreSQL: keys that were revoked, boards that were made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from app.gateway import Gateway
from app.registry import Registry
from storage.archive import Archive
from storage.directory import BoardsChanged, Directory, KeyRevoked, decode_notice
from storage.errors import StorageError
from storage.tasks import end

_RECONNECT: Final = 0.2

log = structlog.get_logger(__name__)


class Notices:
    """Hears them. `on_revoked` is told of a key's hash, `on_shard` of a shard that has to be served here, too."""

    def __init__(
        self,
        archive: Archive,
        directory: Directory,
        registry: Registry,
        gateway: Gateway,
        on_revoked: Callable[[bytes], None],
        on_shard: Callable[[int], None],
    ) -> None:
        self._archive = archive
        self._directory = directory
        self._registry = registry
        self._gateway = gateway
        self._on_revoked = on_revoked
        self._on_shard = on_shard
        self._not_understood = asyncio.Event()
        self._said_so = False

    async def follow(self) -> None:
        """Listens, over any number of losses of PostgreSQL, until cancelled."""
        said = ""
        while True:
            try:
                async with self._archive.listen(self._heard) as lost:
                    said = ""
                    self._not_understood.clear()
                    self._registry.heard()
                    await self._make_up(lost)
            except StorageError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("notices of other servers are not heard", error=said)
            if self._registry.lost():
                log.warning("keys could not be checked for too long: none is taken for good any more")
                self._gateway.send_away()
            else:
                self._gateway.send_lapsed_away()
            await asyncio.sleep(_RECONNECT)

    async def _make_up(self, lost: asyncio.Event) -> None:
        """Asks for what may have been missed, until notices are not heard any more."""
        asking = asyncio.create_task(self._ask_for_missed())
        losing = [asyncio.create_task(event.wait()) for event in (lost, self._not_understood)]
        try:
            await asyncio.wait([asking, *losing], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                asking.result()
        finally:
            await end(asking, *losing)

    async def _ask_for_missed(self) -> None:
        for tenant in await self._directory.tenants():
            self._on_shard(tenant.shard)
        await self._gateway.keep_checking()

    def _heard(self, text: str) -> None:
        try:
            notice = decode_notice(text)
        except msgspec.DecodeError as error:
            # A newer server's: whatever it is about counts as missed, and is asked for anew.
            self._not_understood.set()
            if not self._said_so:
                log.warning("a notice of another server is not understood; is it a newer one?", error=str(error))
                self._said_so = True
            return
        match notice:
            case KeyRevoked(key_hash):
                self._on_revoked(key_hash)
            case BoardsChanged(tenant, shard):
                self._registry.forget_boards(tenant)
                self._on_shard(shard)
