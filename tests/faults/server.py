"""A Plaudit server as a process of its own, which faults may kill, freeze and stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import psutil

_READY_WITHIN: Final = 60.0
_STOP_WITHIN: Final = 20.0
_POLL: Final = 0.03
_ROOT: Final = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """Runs `command`, which serves on `port`, and keeps what it logs."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], port: int, log: Path) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._environ = os.environ | environ | {"PLAUDIT_PORT": str(port), "PLAUDIT_LOG_FORMAT": "json"}
        self._log = log
        self._read = 0
        self._orphans: list[psutil.Process] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """Processes that take connections: its children, or itself."""
        children = [child.pid for child in psutil.Process(self.pid).children()]
        return children or [self.pid]

    async def start(self) -> None:
        """Runs until it takes votes; one that ends before, for want of a store, is run again.

        What is left of one that was killed ends by itself, and must not be taken for it.
        """
        async with asyncio.timeout(_READY_WITHIN), httpx.AsyncClient() as client:
            while any(_runs(process) for process in self._orphans):
                await asyncio.sleep(_POLL)
            while True:
                if self._process is None or self._process.poll() is not None:
                    self._launch()
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/health/live", timeout=1.0)).is_success:
                        return
                await asyncio.sleep(_POLL)

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                self._command, cwd=_ROOT, env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, *, workers: bool = True) -> None:
        """Ends it without a warning; without `workers` only the process that started those."""
        self._orphans = psutil.Process(self.pid).children()
        self.signal(signal.SIGKILL)
        for process in self._orphans if workers else ():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def ended(self, within: float = _STOP_WITHIN) -> int | None:
        """Its exit status, None where it does not end in time."""
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._process.poll() is None:
                    await asyncio.sleep(_POLL)
        return self._process.returncode

    async def stop(self) -> None:
        """Ends it in order, or by force."""
        if self._process is None:
            return
        family = self._family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if await self.ended() is None:
            self.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return self._orphans

    def said(self) -> list[dict[str, Any]]:
        """What it has logged since this was asked last."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        whole = text.rfind(b"\n") + 1
        self._read += whole
        return [_parsed(line) for line in text[:whole].splitlines() if line]


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _parsed(line: bytes) -> dict[str, Any]:
    """A line of the log; one that is not structured, such as a traceback's, counts as an error."""
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        found = None
    if isinstance(found, dict):
        return found
    return {"level": "error", "event": line.decode(errors="replace")}
