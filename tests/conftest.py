"""One Valkey and one PostgreSQL for a run; a database and a key prefix of its own for each test."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
import pytest_asyncio

from storage.embedded import EmbeddedServers, NotInstalled
from tests.databases import Databases

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
async def databases(servers: EmbeddedServers) -> AsyncIterator[Databases]:
    """Migrated, empty databases."""
    async with Databases(servers.database_url) as made:
        yield made


@pytest_asyncio.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A migrated, empty database for this test alone."""
    async with databases.take() as url:
        yield url


@pytest.fixture
def redis_url(servers: EmbeddedServers) -> str:
    """The run's Valkey. Keys in it start with `prefix`."""
    return servers.redis_url


@pytest.fixture
def prefix() -> str:
    """What this test's keys start with."""
    return f"test-{uuid4().hex}"
