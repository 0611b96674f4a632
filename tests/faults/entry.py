"""A server like any other, but for its clock: that is wrong by as many milliseconds as a file says.

    python -m tests.faults.entry FILE      with the settings of the environment

The file holds one signed number of eight bytes and is mapped, so that a step is seen at once.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import uvloop

from app.logs import configure
from app.serve import serve_one, stop_signals
from app.services import Services, wall_clock
from app.settings import Settings

_OFFSET: Final = struct.Struct("<q")


def set_offset(path: Path, milliseconds: int) -> None:
    """Steps the clock of the server that reads this file."""
    if path.exists():
        with path.open("r+b") as file:
            file.write(_OFFSET.pack(milliseconds))
    else:
        path.write_bytes(_OFFSET.pack(milliseconds))


def wrong_clock(path: Path) -> Callable[[], int]:
    """The wall clock plus the offset in a file."""
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), _OFFSET.size, prot=mmap.PROT_READ)
    return lambda: wall_clock() + int(_OFFSET.unpack(held[:])[0])


async def serve(now: Callable[[], int]) -> None:
    """Serves an installation that is there already."""
    settings = Settings.from_env(os.environ)
    configure(settings)
    assert settings.redis_url is not None
    assert settings.database_url is not None
    stop = stop_signals()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen()
        listener.setblocking(False)
        async with Services.open(settings, settings.redis_url, settings.database_url, now) as services:
            await serve_one(services, listener, stop, nullcontext())


if __name__ == "__main__":
    uvloop.run(serve(wrong_clock(Path(sys.argv[1]))))
