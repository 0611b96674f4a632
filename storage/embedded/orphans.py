"""Server processes that their parent left behind, e.g. because it was killed.

They are known by their name and by where they stand, not by a file that may be stale. Only for
whoever holds the folder's lock: for anyone else they are no orphans.
"""

import os
import signal
import time
from pathlib import Path
from typing import Final

PATIENCE: Final = 20.0
"""Seconds that orphans may take to stop in order before they are killed."""

_POLL: Final = 0.02


def stop_orphans(name: str, folder: Path, stop_signal: signal.Signals) -> None:
    """Stops every process called `name` that works in `folder`, and returns when they are gone. Blocks.

    Only servers are asked to stop; their helpers end with them, and would take the signal for
    something else.
    """
    deadline = time.monotonic() + PATIENCE
    asked: set[int] = set()
    while found := _processes(name, folder):
        for pid, is_server in found.items():
            if time.monotonic() > deadline:
                _send(pid, signal.SIGKILL)
            elif is_server and pid not in asked:
                _send(pid, stop_signal)
                asked.add(pid)
        time.sleep(_POLL)


def _processes(name: str, folder: Path) -> dict[int, bool]:
    """The processes, each with whether it was started as a server on the folder."""
    import psutil  # noqa: PLC0415 - part of the extra, which may be missing

    found = {}
    for process in psutil.process_iter(["name"]):
        # A zombie has no working directory any more and raises, as do other people's processes.
        try:
            if process.info["name"] == name and Path(process.cwd()) == folder:
                found[process.pid] = str(folder) in process.cmdline()
        except psutil.Error:
            continue
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
