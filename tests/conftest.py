"""One Valkey and one PostgreSQL for a run; a database and a key prefix of its own for each test."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
import pytest_asyncio

from storage.embedded import EmbeddedServers, NotInstalled
from storage.migrations import migrate

_TEMPLATE = "template"

# A machine that does other things as well makes some example slow, sometimes; that is no failure.
hypothesis.settings.register_profile("plaudit", deadline=None)
hypothesis.settings.load_profile("plaudit")


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="plaudit-"))
    yield folder
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(short_folder: Path) -> AsyncIterator[EmbeddedServers]:
    """The run's Valkey and PostgreSQL, without fsync."""
    try:
        async with EmbeddedServers(short_folder / "run", durable=False) as running:
            yield running
    except NotInstalled as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(servers: EmbeddedServers) -> str:
    """Name of a migrated database that tests' databases are copies of."""
    await _execute(servers.database_url, f"create database {_TEMPLATE}")
    await migrate(_named(servers.database_url, _TEMPLATE))
    return _TEMPLATE


@pytest_asyncio.fixture
async def database_url(servers: EmbeddedServers, template: str) -> AsyncIterator[str]:
    """A migrated, empty database for this test alone."""
    async with copied(servers, template) as url:
        yield url


@pytest.fixture
def redis_url(servers: EmbeddedServers) -> str:
    """The run's Valkey. Keys in it start with `prefix`."""
    return servers.redis_url


@pytest.fixture
def prefix() -> str:
    """What this test's keys start with."""
    return f"test-{uuid4().hex}"


@asynccontextmanager
async def copied(servers: EmbeddedServers, template: str) -> AsyncIterator[str]:
    """The address of a migrated, empty database, dropped at the end."""
    name = f"test_{uuid4().hex}"
    await _execute(servers.database_url, f"create database {name} template {template}")
    yield _named(servers.database_url, name)
    await _execute(servers.database_url, f"drop database {name} with (force)")


def _named(database_url: str, name: str) -> str:
    head, _, query = database_url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
