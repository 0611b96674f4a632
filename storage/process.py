"""Runs a program to its end."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from storage.errors import closed_transport


async def run(
    command: list[str], *, text: str = "", environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[int, str]:
    """Exit status and output, both streams together, of `command` given `text` on its standard input.

    Where this is cancelled, the program and all that it started are killed. `environ` goes on top
    of our own. Raises OSError where it cannot be run.
    """
    beginning = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if text else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | (environ or {}),
            cwd=folder,
            start_new_session=True,  # and with it a process group to kill
        )
    )
    try:
        # Cancelled itself, it would kill the program alone, and not what that has started meanwhile.
        process = await asyncio.shield(beginning)
        assert process.stdout is not None
        # Not `communicate`, which fails on uvloop where a program has ended before it is given anything.
        output, _ = await asyncio.gather(process.stdout.read(), _feed(process.stdin, text.encode()))
    except BaseException:
        process = await beginning
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return await process.wait(), output.decode(errors="replace")


async def _feed(stdin: asyncio.StreamWriter | None, data: bytes) -> None:
    """Gives a program its input, of which it need not take anything."""
    if stdin is None:
        return
    try:
        stdin.write(data)
        await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass
    except RuntimeError as error:
        if not closed_transport(error):
            raise
    stdin.close()
