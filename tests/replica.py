"""Another Valkey, on a port of its own: it follows a first one until it is promoted."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from storage.embedded.binaries import valkey_server

_WITHIN: Final = 20.0
_POLL: Final = 0.01


class Replica:
    """Runs a server in `folder` for as long as it is entered. `options` are words of its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()

    async def start(self) -> None:
        """Begins anew, with nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        command = [str(valkey_server()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self._options]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)  # noqa: ASYNC220, S603 - ours
        await told(self.url, lambda info: info["role"] == "master")

    def kill(self) -> None:
        """Ends it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def follow(url: str, leader: str, port: int) -> None:
    """Makes the server at `url` a replica of `leader`, which it reaches on a port of this machine.

    Returns when it is up to date.
    """
    # By default it would wait for more replicas to come.
    await configure(leader, "repl-diskless-sync-delay", "0")
    await _ask(url, "REPLICAOF", "127.0.0.1", str(port))
    await told(url, lambda info: info.get("master_link_status") == "up")


async def promote(url: str) -> None:
    """Makes a replica a primary."""
    await _ask(url, "REPLICAOF", "NO", "ONE")


async def configure(url: str, setting: str, value: str) -> None:
    """Changes a setting of a server that runs."""
    await _ask(url, "CONFIG", "SET", setting, value)


async def told(url: str, wanted: Any) -> None:
    """Returns when what a server says of replication is as wanted."""
    async with asyncio.timeout(_WITHIN):
        while True:
            with suppress(RedisError, OSError):
                if wanted(await _ask(url, "INFO", "replication")):
                    return
            await asyncio.sleep(_POLL)


async def _ask(url: str, *words: str) -> Any:
    client: Any = Redis.from_url(url)
    async with client, asyncio.timeout(_WITHIN):
        while True:
            try:
                return await client.execute_command(*words)
            except BusyLoadingError:
                await asyncio.sleep(_POLL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
