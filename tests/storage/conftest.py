"""Stores for tests of this package, and the second server that the live store must hold on."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NoConnection
from redis.retry import Retry

from storage.archive import Archive
from storage.live import LiveStore
from tests.storage.house import House


@pytest.fixture(scope="session")
def redis7_url(short_folder: Path) -> Iterator[str]:
    """Debian's redis-server, without persistence. Missing, it skips on a laptop and fails in CI."""
    program = shutil.which("redis-server")
    if program is None:
        assert os.environ.get("CI") != "true", "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    socket = short_folder / "redis7.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *options], cwd=short_folder, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
    with process:
        try:
            patience = Retry(ConstantBackoff(0.01), 1000, (BusyLoadingError, NoConnection))
            with closing(Redis(unix_socket_path=str(socket), retry=patience)) as client:
                client.ping()
            yield f"unix://{socket}"
        finally:
            process.terminate()


@pytest.fixture(params=["valkey", "redis7"])
def any_redis_url(request: pytest.FixtureRequest) -> str:
    """Each server that the live store is meant for, in turn."""
    url: str = request.getfixturevalue("redis_url" if request.param == "valkey" else "redis7_url")
    return url


@pytest_asyncio.fixture
async def live(redis_url: str, prefix: str) -> AsyncIterator[LiveStore]:
    async with LiveStore(redis_url, prefix) as store:
        yield store


@pytest_asyncio.fixture
async def archive(database_url: str) -> AsyncIterator[Archive]:
    async with Archive(database_url) as store:
        yield store


@pytest_asyncio.fixture
async def house(live: LiveStore, archive: Archive) -> House:
    """A tenant with songs and agents in both stores, and everything that carries votes between them."""
    return await House.furnished(live, archive)
