"""The child's end of `child`: reads commands from its input, answers on its output, and ends with its input."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop

Open = Callable[..., Awaitable[object]]


class _Command(msgspec.Struct):
    command: str
    arguments: dict[str, Any]


def work(open_worker: Open) -> None:
    """Makes a worker of the first line's arguments, and calls its methods as the lines that follow name them."""
    uvloop.run(_work(open_worker))


async def _work(open_worker: Open) -> None:
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    worker = await open_worker(**msgspec.json.decode(await reader.readline()))
    _answer(None)
    while line := await reader.readline():
        given = msgspec.json.decode(line, type=_Command)
        _answer(await getattr(worker, given.command)(**given.arguments))


def _answer(result: object) -> None:
    # Marked, so that anything else that is printed is seen to be something else.
    sys.stdout.buffer.write(b"=" + msgspec.json.encode(result) + b"\n")
    sys.stdout.buffer.flush()
