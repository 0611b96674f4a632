"""The folder that the servers' data, sockets and logs stand in, and the lock on it."""

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from storage.embedded.account import Account
from storage.embedded.errors import EmbeddedError

DATABASE: Final = "plaudit"
"""Name of the database and of its owner."""

_POSTGRES_PORT: Final = 5432
"""PostgreSQL listens on no port; this one is only part of its socket's name."""

_LONGEST_SOCKET: Final = 100
"""Bytes of a socket's path that every platform takes (macOS 103, Linux 107)."""


class Addresses(msgspec.Struct, frozen=True):
    """Where the servers of a folder answer."""

    database_url: str
    redis_url: str


class _Holder(msgspec.Struct):
    """What the lock file says of whoever holds the lock."""

    pid: int


class Folder:
    """One data folder: the paths in it, made on first use.

    Raises EmbeddedError where it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.lock = self.path / "lock"
        self.sockets = _short(self.path / "run")
        self.valkey_socket = self.sockets / "valkey.sock"

    @property
    def addresses(self) -> Addresses:
        """Both URLs follow from the path, so that another process can know them too."""
        host = quote(str(self.sockets), safe="/")
        return Addresses(
            database_url=f"postgresql://{DATABASE}@/{DATABASE}?host={host}&port={_POSTGRES_PORT}",
            redis_url=f"unix://{host}/{self.valkey_socket.name}",
        )

    def make(self) -> None:
        """Makes the folder, for its owner alone."""
        # PostgreSQL never runs as root: what it owns must then be reachable for its account.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=mode)
        except OSError as error:
            raise EmbeddedError(f"The data folder {self.path} cannot be made: {error.strerror}.") from error

    def make_sockets(self, owner: Account | None) -> None:
        """Makes the folder of the sockets, for `owner` (None: us) alone.

        It may stand in a place that everybody may write to: a folder that somebody else made there
        is refused.
        """
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        found = self.sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), owner and owner.uid}:
            raise EmbeddedError(f"{self.sockets} is needed for sockets and belongs to somebody else: remove it.")
        self.sockets.chmod(0o700)
        if owner is not None:
            os.chown(self.sockets, owner.uid, owner.gid)

    def log(self, name: str) -> Path:
        """Where a server's output goes; what an earlier run wrote is kept beside it."""
        log = self.path / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.old"))
        log.touch(mode=0o600)
        return log

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for this process. Raises EmbeddedError where another one does.

        The lock is the kernel's and goes with its process, so that it is never stale; the number in
        the file is only for the message.
        """
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedError(f"The data folder {self.path} cannot be written to: {error.strerror}.") from error
        try:
            if not _try_lock(descriptor):
                holder = _holder(self.lock)
                who = f"process {holder.pid}" if holder else "another process"
                raise EmbeddedError(
                    f"The data folder {self.path} is in use by {who}: stop it, or choose another folder."
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(_Holder(os.getpid())), 0)
            yield
        finally:
            os.close(descriptor)


def running(data: Path) -> Addresses | None:
    """Where the servers of this folder answer, None while no process holds the folder."""
    folder = Folder(data)
    try:
        descriptor = os.open(folder.lock, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _try_lock(descriptor) else folder.addresses
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: Path) -> _Holder | None:
    try:
        return msgspec.json.decode(lock.read_bytes(), type=_Holder)
    except (OSError, msgspec.DecodeError):
        return None


def _short(folder: Path) -> Path:
    """The folder itself, or where its sockets' paths would be too long a short one that stands for it."""
    if len(os.fsencode(folder)) + len(f"/.s.PGSQL.{_POSTGRES_PORT}.lock") <= _LONGEST_SOCKET:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"plaudit-{name}"
