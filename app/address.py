"""Where the server of a data folder is: it says so in the folder, and commands on the same machine read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

ADDRESS_FILE: Final = "server.url"

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where to reach what listens there

log = structlog.get_logger(__name__)


def http_url(host: str, port: int) -> str:
    """The URL of a host and a port."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def local_url(host: str, port: int) -> str:
    """The URL by which this machine reaches what listens on `host`, also where that is every address."""
    return http_url(_ANYWHERE.get(host, host), port)


@contextmanager
def kept_address(folder: Path, url: str) -> Iterator[None]:
    """Keeps a server's address in its data folder for as long as it is entered."""
    path = folder / ADDRESS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{url}\n", encoding="utf-8")
    except OSError as error:
        # Whoever has servers of their own may well run this one where nothing can be written.
        log.info("the server's address is not kept", file=str(path), error=error.strerror)
    try:
        yield
    finally:
        # With stores that were given, servers may share a folder: the address may be a later one's by now.
        if address_in(folder) == url:
            with suppress(OSError):
                path.unlink()


def address_in(folder: Path) -> str | None:
    """The address of the server that runs on this folder, or that was killed on it; None where none did."""
    try:
        return (folder / ADDRESS_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
