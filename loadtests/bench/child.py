"""A process of ours that does what it is told: one JSON object a line, in and out.

async with child("clients.voters", port=8000, ...) as voters:
    run = await voters.call("run", VoteRun, seconds=3.0)
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import psutil

ROOT: Final = Path(__file__).parent.parent.parent
_LINE: Final = 64 * 1024 * 1024
_ANSWERS_WITHIN: Final = 120.0
_ENDS_WITHIN: Final = 5.0

_T = TypeVar("_T")


class ChildError(Exception):
    """A process of the harness failed; the text says how."""


class Child:
    """The parent's end."""

    def __init__(self, name: str, process: Process) -> None:
        self._name = name
        self._process = process
        self._watched = psutil.Process(process.pid)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return int(self._watched.memory_info().rss)

    async def call(self, command: str, kind: type[_T], **arguments: Any) -> _T:
        """Has it do something, and waits for the answer."""
        await self._send({"command": command, "arguments": arguments})
        return msgspec.json.decode(await self._answer(), type=kind)

    async def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.drain()

    async def _answer(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(_ANSWERS_WITHIN):
            line = await self._process.stdout.readline()
        if not line.startswith(b"="):
            rest = line or await self._process.stdout.read()
            raise ChildError(f"{self._name} failed: {rest.decode(errors='replace').strip() or 'it ended'}")
        return line[1:]

    async def begin(self, arguments: dict[str, Any]) -> None:
        """Gives it what it needs to know, and waits until it is ready."""
        await self._send(arguments)
        await self._answer()

    async def end(self) -> None:
        """Lets it go; it ends when its input does."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _ENDS_WITHIN)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def child(module: str, **arguments: Any) -> AsyncIterator[Child]:
    """Runs `loadtests.bench.<module>` and ends it afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"loadtests.bench.{module}", stdin=PIPE, stdout=PIPE, limit=_LINE, cwd=ROOT
    )
    running = Child(module, process)
    try:
        await running.begin(arguments)
        yield running
    finally:
        await running.end()
