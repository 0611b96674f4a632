"""The live store's machine is gone for good, and its replica takes over. No vote that was acknowledged goes with it."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final, Self

from tests.faults.faults import Fault, Scene, until
from tests.faults.laboratory import Laboratory
from tests.faults.server import Server
from tests.proxy import Proxy, unix_socket
from tests.replica import Replica, follow, promote, told

_BACK_WITHIN: Final = 40.0


class ReplicatedLaboratory(Laboratory):
    """A laboratory whose Valkey has a replica, which confirms every vote."""

    def __init__(self, folder: Path, random: Random, *, durable: bool, voters: int, rate: float) -> None:
        super().__init__(folder, random, durable=durable, voters=voters, rate=rate)
        fsync = ("--appendfsync", "always") if durable else ("--appendfsync", "no")
        self._replica = Replica(folder / "replica", "--appendonly", "yes", *fsync)
        self._line: Proxy
        self._more = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            # Not the servers' way, so that the one can break without the other.
            self._line = await self._more.enter_async_context(Proxy(unix_socket(self.stores.redis_url)))
            await self._more.enter_async_context(self._replica)
            await follow(self._replica.url, self.stores.redis_url, self._line.port)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._more.aclose()

    def _server(self, name: str, command: list[str], environ: dict[str, str]) -> Server:
        return super()._server(name, command, environ | {"PLAUDIT_ACK_REPLICAS": "1"})

    async def fail_over(self, scene: Scene, *, apart: bool) -> None:
        """The replica takes over. With `apart` the primary lives on for a while: it is the network that is gone."""
        pid = self.stores.pids["valkey-server"]
        self.valkey.upstream = ("127.0.0.1", self._replica.port)
        if apart:
            self._line.refuse()
            await promote(self._replica.url)
            await scene.last(0.1, 2.0)
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
            # The one that is started in its place is not to be followed.
            self._line.refuse()
            await promote(self._replica.url)
        if not await until(lambda: self.stores.pids.get("valkey-server", pid) != pid, _BACK_WITHIN):
            scene.complain("valkey-server is not started again")
        await told(self.stores.redis_url, lambda info: info["role"] == "master")
        await follow(self.stores.redis_url, self._replica.url, self._replica.port)

    async def fail_back(self) -> None:
        """The same in the other direction, and then there is a replica as before."""
        self.valkey.upstream = unix_socket(self.stores.redis_url)
        self._replica.kill()
        await promote(self.stores.redis_url)
        self._line.accept()
        await self._replica.start()
        await follow(self._replica.url, self.stores.redis_url, self._line.port)


async def failover(scene: Scene) -> None:
    """The primary dies, or is cut off, and its replica is promoted; then the other way round."""
    laboratory = scene.laboratory
    assert isinstance(laboratory, ReplicatedLaboratory)
    await laboratory.fail_over(scene, apart=scene.random.random() < 0.5)
    if not await scene.votes(100, _BACK_WITHIN):
        scene.complain("no votes are confirmed after the failover")
    await scene.last(0.0, 1.0)
    await laboratory.fail_back()


FAULTS: Final = (Fault("valkey", "failover", failover),)
"""They need a `ReplicatedLaboratory`."""
