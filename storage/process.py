"""Runs a program to its end."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


async def run(
    command: list[str], *, text: str = "", environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[int, str]:
    """Exit status and output, both streams together, of `command` given `text` on its standard input.

    Where this is cancelled, the program and all that it started are killed. `environ` goes on top
    of our own. Raises OSError where it cannot be run.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | (environ or {}),
        cwd=folder,
        start_new_session=True,  # and with it a process group to kill
    )
    try:
        output, _ = await process.communicate(text.encode())
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return await process.wait(), output.decode(errors="replace")
