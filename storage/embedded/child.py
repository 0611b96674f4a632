"""A server as a child process: started, waited for, kept alive, stopped.

Children are in a session of their own, so that a terminal's Ctrl-C reaches only their parent,
which then stops them in order. They are not tied to the parent's death (PR_SET_PDEATHSIG follows the
thread, not the process, and macOS has nothing like it): a parent that is killed leaves orphans, and
the next start ends them first.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from storage.embedded.errors import EmbeddedError
from storage.embedded.orphans import stop_orphans

START_TIMEOUT: Final = 60.0
"""Seconds until a server must be ready; a recovery after a crash takes some."""

STOP_TIMEOUT: Final = 20.0
"""Seconds that a server may take to stop in order before it is killed."""

_POLL: Final = 0.02
_BACKOFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TAIL: Final = 12


class Program(Protocol):
    """What differs between one server and another."""

    name: str
    """Of its process, and in messages."""
    folder: Path
    """Its data, and its processes' working directory."""
    stop_signal: signal.Signals

    def command(self) -> list[str]:
        """What to run."""
        ...

    async def ready(self, pid: int) -> bool:
        """Whether the server that runs as `pid` takes connections."""
        ...


class Child:
    """One server process. `tell` is given a sentence whenever it ends or comes back by itself."""

    def __init__(self, program: Program, log: Path, tell: Callable[[str], None]) -> None:
        self._program = program
        self._log = log
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._exit: asyncio.Future[int] | None = None
        self._guard: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process, None before the start and after the stop."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Runs the server and returns when it is ready.

        Whatever an earlier parent left running on this folder is stopped first. Raises
        EmbeddedError with the end of the server's log.
        """
        await self._launch()
        self._guard = asyncio.create_task(self._keep_alive(), name=f"keep {self._program.name} alive")

    async def stop(self) -> None:
        """Stops the server in order, or by force where it does not stop or this is cancelled."""
        try:
            if self._guard is not None:
                self._guard.cancel()
                await asyncio.wait({self._guard})
        finally:
            await self._end()

    async def _launch(self) -> None:
        program = self._program
        await asyncio.to_thread(stop_orphans, program.name, program.folder, program.stop_signal)
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - forks and returns; our own binary
                    program.command(),
                    cwd=program.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise EmbeddedError(f"{program.name} cannot be started: {error.strerror}.") from error
        self._exit = asyncio.ensure_future(asyncio.to_thread(self._process.wait))
        try:
            await self._until_ready(self._process.pid, self._exit)
        except BaseException:
            await self._end()
            raise

    async def _until_ready(self, pid: int, exited: asyncio.Future[int]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not await self._program.ready(pid):
            if exited.done():
                raise self._failure(f"{self._program.name} ended at its start ({_how(exited.result())})")
            if time.monotonic() > deadline:
                raise self._failure(f"{self._program.name} was not ready within {START_TIMEOUT:g} seconds")
            await asyncio.wait({exited}, timeout=_POLL)

    async def _end(self) -> None:
        process, exited = self._process, self._exit
        if process is None or exited is None:
            return
        self._process = self._exit = None
        if exited.cancelled():
            # With all tasks of a loop that was interrupted: the server still runs.
            exited = asyncio.ensure_future(asyncio.to_thread(process.wait))
        try:
            if not exited.done():
                process.send_signal(self._program.stop_signal)
                await asyncio.wait({exited}, timeout=STOP_TIMEOUT)
        finally:
            if not exited.done():
                process.kill()
                await asyncio.wait({exited})

    async def _keep_alive(self) -> None:
        """Starts the server again whenever it ends without having been asked to."""
        while self._exit is not None:
            name = self._program.name
            code = await asyncio.shield(self._exit)
            self._tell(f"{name} has ended ({_how(code)}) and is started again.")
            await self._relaunch()
            self._tell(f"{name} is back.")

    async def _relaunch(self) -> None:
        attempt = 0
        while True:
            try:
                return await self._launch()
            except EmbeddedError as error:
                self._tell(str(error))
            await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
            attempt += 1

    def _failure(self, what: str) -> EmbeddedError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        tail = "".join(f"\n  {line}" for line in lines)
        return EmbeddedError(f"{what}; the end of {self._log}:{tail}")


def _how(code: int) -> str:
    """An exit status in words."""
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name
