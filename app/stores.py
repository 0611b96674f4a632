"""Where the live store and the archive are: those of the settings, or servers of our own in the data folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from app.settings import Settings
from storage.embedded import EmbeddedError, EmbeddedServers, running


class Stores(NamedTuple):
    """Addresses of both stores."""

    redis_url: str
    database_url: str


@asynccontextmanager
async def open_stores(settings: Settings, *, attach: bool = False, create: bool = True) -> AsyncIterator[Stores]:
    """Both stores, running. With `attach`, servers that another process runs in the data folder are used.

    Raises EmbeddedError where servers of our own can't be started, or, without `create`, were never.
    """
    if settings.redis_url and settings.database_url:
        yield Stores(settings.redis_url, settings.database_url)
        return
    found = running(settings.data) if attach else None
    if found is not None:
        yield Stores(settings.redis_url or found.redis_url, settings.database_url or found.database_url)
        return
    if not create and not (settings.data / "postgres").is_dir():
        raise EmbeddedError(f"There is no data in {settings.data}: run `plaudit serve` first, or set PLAUDIT_DATA.")
    async with EmbeddedServers(
        settings.data, valkey=settings.redis_url is None, postgres=settings.database_url is None
    ) as own:
        yield Stores(settings.redis_url or own.redis_url, settings.database_url or own.database_url)
