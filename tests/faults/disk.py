"""A disk for PostgreSQL's tables that can be full: a tmpfs, where we may mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

_SIZE: Final = 2**30
"""Bytes that fit on it while it is not full: no more memory is used than there is data."""

_TRIES: Final = 20


class Disk:
    """A file system of its own at `folder` for as long as it is entered; `real` is false where that is not allowed.

    What else PostgreSQL has, its log before all, stays where it is: without room for that it would not refuse
    writes, but end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real = False

    def __enter__(self) -> Self:
        self.folder.mkdir()
        self.real = _ran("mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "plaudit-test", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever still has files on it, keeps them until it ends.
        if self.real and not _ran("umount", str(self.folder)):
            _ran("umount", "-l", str(self.folder))

    def belongs_to(self, folder: Path) -> None:
        """Gives it to whom `folder` belongs."""
        owner = folder.stat()
        os.chown(self.folder, owner.st_uid, owner.st_gid)

    def fill(self) -> None:
        """Leaves no room on it beyond what is taken."""
        # It can't be made smaller than what is on it, and somebody may be writing just now.
        if not any(self._resize(shutil.disk_usage(self.folder).used) for _ in range(_TRIES)):
            raise OSError(f"{self.folder} can't be made smaller")

    def free(self) -> None:
        """The end of `fill`."""
        if not self._resize(_SIZE):
            raise OSError(f"{self.folder} can't be made larger")

    def _resize(self, size: int) -> bool:
        return _ran("mount", "-o", f"remount,size={size}", str(self.folder))


def _ran(*command: str) -> bool:
    """Whether a command is there and succeeds."""
    program = shutil.which(command[0])
    return program is not None and not subprocess.run([program, *command[1:]], capture_output=True).returncode  # noqa: PLW1510, S603 - ours
