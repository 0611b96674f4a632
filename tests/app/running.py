"""A whole server in the test's own process: both doors on a real port."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from app.serve import serve_one
from app.services import Services
from app.settings import Settings
from app.tenants import add_tenant
from storage.archive import Archive
from storage.directory import Directory
from storage.types import Tenant

# To load what TLS needs would take every client longer than its calls.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(**options: Any) -> httpx.AsyncClient:
    """A client of servers on this machine."""
    return httpx.AsyncClient(verify=_NO_TLS, **options)


class Installation(NamedTuple):
    """Stores with a tenant `default` in them."""

    settings: Settings
    redis_url: str
    database_url: str
    tenant: Tenant
    admin_key: str


class Running(NamedTuple):
    """A server and its address. Setting `stop` is what a SIGTERM does."""

    services: Services
    url: str
    port: int
    stop: asyncio.Event


async def install(database_url: str, redis_url: str, prefix: str, **chosen: Any) -> Installation:
    """Makes the default tenant, as a first start does; `chosen` are settings."""
    settings = Settings(prefix=prefix, shards=1, **chosen)
    async with Archive(database_url) as archive:
        tenant, admin_key = await add_tenant(Directory(archive), settings.tenant, settings.shards)
    return Installation(settings, redis_url, database_url, tenant, admin_key)


@asynccontextmanager
async def running(where: Installation, port: int = 0) -> AsyncIterator[Running]:
    """Serves until left, then stops in order."""
    stop, ready = asyncio.Event(), asyncio.Event()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.setblocking(False)
        chosen = listener.getsockname()[1]
        async with Services.open(where.settings, where.redis_url, where.database_url) as services:
            serving = asyncio.create_task(serve_one(services, listener, stop, _telling(ready)))
            readied = asyncio.create_task(ready.wait())
            await asyncio.wait([serving, readied], return_when=asyncio.FIRST_COMPLETED)
            readied.cancel()
            try:
                yield Running(services, f"http://127.0.0.1:{chosen}", chosen, stop)
            finally:
                stop.set()
                await serving


@asynccontextmanager
async def _telling(ready: asyncio.Event) -> AsyncIterator[None]:
    ready.set()
    yield
