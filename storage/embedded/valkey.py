"""Valkey as a server of our own: a socket, no port, and every write on disk before its answer."""

import asyncio
import signal
from typing import Final

from storage.embedded.binaries import valkey_server
from storage.embedded.folder import Folder

_PING: Final = b"PING\r\n"
_PONG: Final = b"+PONG"


class Valkey:
    """How Valkey is run and asked whether it is ready.

    `durable` False gives up fsync, for tests.
    """

    name = "valkey-server"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Folder, *, durable: bool) -> None:
        self.folder = folder.path / "valkey"
        self._socket = folder.valkey_socket
        self._durable = durable
        self._binary = valkey_server()

    async def prepare(self) -> None:
        """Makes the folder of the data."""
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def command(self) -> list[str]:
        """The server and its whole configuration."""
        config = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always" if self._durable else "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            "set-proc-title": "no",  # its command line stays as below, and it is known by that
        }
        return [str(self._binary), *(word for key, value in config.items() for word in (f"--{key}", value))]

    async def ready(self, pid: int) -> bool:
        """Whether it answers; while it loads its data it answers with an error."""
        del pid  # Nobody else can listen in a folder of ours.
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        try:
            writer.write(_PING)
            return (await reader.readline()).startswith(_PONG)
        except OSError:
            return False
        finally:
            writer.close()
