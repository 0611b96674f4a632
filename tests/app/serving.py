"""`plaudit serve` as it is started in production: a process of its own, with stores of its own, that may be killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from app.tenants import ADMIN_KEY_FILE, kept_secret

_COMMAND: Final = (sys.executable, "-c", "from app.cli import main; main(prog_name='plaudit')")
ROOT: Final = Path(__file__).parent.parent.parent
STARTS_WITHIN: Final = 60.0
STOPS_WITHIN: Final = 30.0


async def plaudit(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """The command, with nothing of this process' environment but what is given."""
    return await asyncio.create_subprocess_exec(
        *_COMMAND,
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def complaints(errors: bytes) -> list[str]:
    """What a server said on standard error, but for moments in which a busy machine did not let it run."""
    return [line for line in errors.decode().splitlines() if "stood still" not in line]


class Serving:
    """A server on a folder of data. Once started it keeps its port, however often it is started again."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.data = data
        self.port = 0
        self.url = ""
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[bytes] | None = None

    @property
    def admin_key(self) -> str:
        """The default tenant's."""
        key = kept_secret(self.data, ADMIN_KEY_FILE)
        assert key is not None
        return key

    async def start(self) -> None:
        """Returns when it says that it is ready."""
        environment = {"PLAUDIT_DATA": str(self.data), "PLAUDIT_PORT": str(self.port)}
        self._process = await plaudit("serve", *self._flags, **environment)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._errors = asyncio.create_task(self._process.stderr.read())
        async with asyncio.timeout(STARTS_WITHIN):
            while line := await self._process.stdout.readline():
                if found := re.search(rb"ready at +(http://\S+:(\d+))", line):
                    self.url, self.port = found[1].decode(), int(found[2])
                    return
        raise AssertionError(f"it did not start: {(await self._errors).decode()}")

    async def end(self, number: signal.Signals) -> int:
        """Sends a signal and waits for the end; answers the exit code."""
        assert self._process is not None
        assert self._errors is not None
        self._process.send_signal(number)
        async with asyncio.timeout(STOPS_WITHIN):
            # Its own servers, which outlive it when it is killed, hold its output open: only the process counts.
            code = await self._process.wait()
        self._process, errors = None, self._errors
        errors.cancel()
        await asyncio.wait([errors])
        return code

    async def clear(self) -> None:
        """Leaves nothing running: servers that were left behind are stopped by the next one."""
        if self._process is None:
            await self.start()
        await self.end(signal.SIGTERM)


@asynccontextmanager
async def serving(data: Path, *flags: str) -> AsyncIterator[Serving]:
    """A server that runs, and is stopped in order."""
    server = Serving(data, *flags)
    await server.start()
    try:
        yield server
    finally:
        await server.clear()
