"""PostgreSQL as a server of our own: a socket, no port, one database."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

from storage.embedded.account import account_for
from storage.embedded.binaries import postgres
from storage.embedded.errors import EmbeddedError
from storage.embedded.folder import DATABASE, Folder
from storage.process import run

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",  # short queries only; compiling them costs more than it saves
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_DURABLE: Final = {"fsync": "on", "synchronous_commit": "on"}
_FOR_TESTS: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_CTYPE: Final = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"
"""The platform's locale in which pg_trgm knows the letters of every language; under "C" it knows ASCII's."""


class Postgres:
    """How PostgreSQL is made, run and asked whether it is ready.

    `durable` False gives up fsync, for tests.
    """

    name = "postgres"
    # "Fast": open transactions are rolled back, nobody is waited for.
    stop_signal = signal.SIGINT

    def __init__(self, folder: Folder, *, durable: bool) -> None:
        self.folder = folder.path / "postgres"
        self.account = account_for(self.folder)
        self._sockets = folder.sockets
        self._durable = durable
        self._binary = postgres("postgres")

    async def prepare(self) -> None:
        """Makes the cluster where there is none. Raises EmbeddedError with initdb's own words."""
        if not (self.folder / "PG_VERSION").exists():
            await self._make_cluster()

    def command(self) -> list[str]:
        """The server and its whole configuration."""
        settings = _SETTINGS | (_DURABLE if self._durable else _FOR_TESTS)
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return self._as_account([str(self._binary), "-D", str(self.folder), "-k", str(self._sockets), *options])

    async def ready(self, pid: int) -> bool:
        """Whether it takes connections, by the file that it keeps for such questions."""
        try:
            lines = (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        # First line: the process; eighth: its state. A file left by another one says nothing.
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    async def _make_cluster(self) -> None:
        """In a folder beside the real one, renamed when it is whole: a start that is killed leaves no half."""
        new = self.folder.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(new, self.account.uid, self.account.gid)
        await self._run(
            [
                str(self._binary.with_name("initdb")),
                f"--pgdata={new}",
                f"--username={DATABASE}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                f"--lc-ctype={_CTYPE}",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                *([] if self._durable else ["--no-sync"]),
            ]
        )
        await self._run(
            [str(self._binary), "--single", "-D", str(new), "-c", "log_checkpoints=off", "postgres"],
            f"create database {DATABASE}\n",
        )
        new.replace(self.folder)

    def _as_account(self, command: list[str]) -> list[str]:
        return command if self.account is None else self.account.command(command, self._binary, self.folder)

    async def _run(self, command: list[str], text: str = "") -> None:
        code, output = await run(self._as_account(command), text=text, folder=Path("/"))
        if code != 0:
            raise EmbeddedError(f"{Path(command[0]).name} failed in {self.folder.parent}:\n{output.strip()}")
