"""What subcommands share: settings, an event loop, and errors as one sentence."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
import uvloop

from app.logs import configure
from app.serve import stop_signals
from app.settings import FlagError, Settings, SettingsError
from app.stores import open_stores
from storage.archive import Archive
from storage.clock import CLOCK_LEEWAY
from storage.directory import Directory
from storage.errors import NotFound, StorageError
from storage.live import LiveStore
from storage.types import Tenant

T = TypeVar("T")


def load_settings(**flags: str | None) -> Settings:
    """The settings of the environment and of flags; logging follows them.

    Raises ClickException for a wrong variable, UsageError for a wrong flag.
    """
    try:
        settings = Settings.from_env(os.environ, **flags)
    except FlagError as error:
        raise click.UsageError(str(error)) from None
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    configure(settings)
    return settings


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs to the end; what a user can do something about becomes one sentence.

    SIGTERM ends it as SIGINT does: whatever it started is ended first.
    """
    try:
        return uvloop.run(_terminable(work()))
    except StorageError as error:
        raise click.ClickException(str(error)) from None
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


async def _terminable(work: Coroutine[Any, Any, T]) -> T:
    working = asyncio.current_task()
    assert working is not None
    # Other threads hear of no signals.
    if threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    return await work


async def until_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Runs to the end, or until SIGINT or SIGTERM cancels the work, whose tidying up is waited for: None then."""
    stop = stop_signals()
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait([working])
    return None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[LiveStore, Archive]]:
    """Both stores, for a command beside a server or without one."""
    async with (
        open_stores(settings, attach=True, create=False) as stores,
        LiveStore(stores.redis_url, settings.prefix, leeway=CLOCK_LEEWAY) as live,
        Archive(stores.database_url) as archive,
    ):
        yield live, archive


def with_tenant(slug: str | None, work: Callable[[Directory, Tenant], Awaitable[T]]) -> T:
    """Does something for a tenant, for the default one where no slug is given."""
    settings = load_settings()

    async def found() -> T:
        async with opened(settings) as (_, archive):
            directory = Directory(archive)
            tenant = await directory.tenant(slug or settings.tenant)
            if tenant is None:
                raise NotFound(f"There is no tenant {slug or settings.tenant!r}.")
            return await work(directory, tenant)

    return run(found)
