"""Whom PostgreSQL runs as where we are root, since it refuses to run as root itself."""

import os
import pwd
import shutil
import stat
from pathlib import Path
from typing import Final

import msgspec

from storage.embedded.errors import EmbeddedError

_WITHOUT_RIGHTS: Final = ("postgres", "nobody")


class Account(msgspec.Struct, frozen=True):
    """An account of the system."""

    name: str
    uid: int
    gid: int

    def command(self, command: list[str], *paths: Path) -> list[str]:
        """The command that runs `command` as this account, which may reach `paths`.

        Where they stand behind a folder that only root may enter, such as root's home, the process
        keeps the one capability that it needs to get there: that is less than opening the folder
        to everybody. Raises EmbeddedError where the system has no setpriv.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise EmbeddedError("PostgreSQL does not run as root: run Plaudit as another user, or set DATABASE_URL.")
        way = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [
            setpriv,
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            *([] if all(self._may_reach(path) for path in paths) else way),
            *command,
        ]

    def _may_reach(self, path: Path) -> bool:
        return all(self._may_enter(folder.stat()) for folder in path.resolve().parents)

    def _may_enter(self, folder: os.stat_result) -> bool:
        mine, ours = folder.st_uid == self.uid, folder.st_gid == self.gid
        bit = stat.S_IXUSR if mine else stat.S_IXGRP if ours else stat.S_IXOTH
        return bool(folder.st_mode & bit)


def account_for(folder: Path) -> Account | None:
    """Whom PostgreSQL runs as on this folder: None for us, where we are not root.

    Otherwise the owner of the data that is there, or an account without rights.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    for name in _WITHOUT_RIGHTS:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EmbeddedError("PostgreSQL does not run as root, and there is no account nobody: run Plaudit as another user.")


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
