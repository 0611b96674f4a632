"""`plaudit serve` as a process: it comes back with its data, leaves nothing behind, and outlives its workers."""

import asyncio
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from app.address import address_in
from app.tenants import DEMO_KEY_FILE, kept_secret
from channels.client import PlauditClient
from storage.embedded import EmbeddedServers
from tests.app.running import http_client
from tests.app.serving import STARTS_WITHIN, STOPS_WITHIN, Serving, complaints, plaudit, serving
from tests.app.sockets import Client

DEMO = ("--demo", "--demo-rate", "0")
"""The catalogue, and nobody who votes but the test."""

_CROWD = "select count(*) from agents a where agent_id like 'sim-%'"
_VALID_KEY = "select from api_keys k where k.agent_id = a.id and revoked_at is null"

VOTE = {"item_type": "song", "vote": "up"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installed(short_folder: Path, servers: EmbeddedServers) -> Path:
    """A data folder after a first start, to be copied."""
    folder = short_folder / "installed"
    async with serving(folder, *DEMO):
        pass
    return folder


@pytest.fixture
def data(short_folder: Path, installed: Path) -> Iterator[Path]:
    """A data folder of the test's own; nothing works in it when the test is over."""
    folder = short_folder / uuid4().hex[:8]
    # With owners: under root, PostgreSQL works as somebody else.
    subprocess.run(["/bin/cp", "-a", installed, folder], check=True)  # noqa: S603  # our own folders
    yield folder
    assert inhabitants(folder) == []


def inhabitants(folder: Path) -> list[psutil.Process]:
    """Processes that work somewhere in a folder, or were started for it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                Path(process.cwd()).is_relative_to(folder) or process.environ().get("PLAUDIT_DATA") == str(folder)
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what another process does; it tells nobody when."""
    async with asyncio.timeout(STARTS_WITHIN):
        while not await done():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def agent(server: Serving) -> AsyncIterator[httpx.AsyncClient]:
    """The demo's agent over HTTP."""
    key = kept_secret(server.data, DEMO_KEY_FILE)
    async with http_client(base_url=f"{server.url}/api/v1", headers={"authorization": f"Bearer {key}"}) as http:
        yield http


async def songs(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (await http.get("/boards/songs")).raise_for_status().json()["entries"]
    return entries


async def vote(http: httpx.AsyncClient, place: int = 0) -> str:
    """Votes for the song at a place; answers what became of it."""
    item = sorted(entry["item_id"] for entry in await songs(http))[place]
    status: str = (await http.post("/vote", json=VOTE | {"item_id": item})).raise_for_status().json()["status"]
    return status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_comes_back_with_its_data_and_leaves_no_process(data: Path, number: signal.Signals) -> None:
    server = Serving(data, *DEMO)
    await server.start()
    keys = server.admin_key, kept_secret(data, DEMO_KEY_FILE)
    async with agent(server) as http:
        assert await vote(http) == "applied"
    assert len(inhabitants(data)) > 1
    assert await server.end(number) == 0
    assert inhabitants(data) == []

    await server.start()
    assert (server.admin_key, kept_secret(data, DEMO_KEY_FILE)) == keys
    async with agent(server) as http:
        assert sum(entry["score"] for entry in await songs(http)) == 1
        assert await vote(http) == "unchanged"
    assert await server.end(signal.SIGTERM) == 0


async def test_after_kill_9_it_starts_cleanly(data: Path) -> None:
    server = Serving(data, *DEMO)
    await server.start()
    async with agent(server) as http:
        assert await vote(http) == "applied"
    await server.end(signal.SIGKILL)
    orphans = inhabitants(data)
    await server.start()
    async with agent(server) as http:
        assert await vote(http) == "unchanged"
        assert await vote(http, place=1) == "applied"
    assert not {process.pid for process in orphans} & {process.pid for process in inhabitants(data)}
    code, output, _ = await outcome("verify", PLAUDIT_DATA=str(data))
    assert (code, "same" in output) == (0, True)
    assert await server.end(signal.SIGTERM) == 0


async def test_a_command_that_is_ended_ends_the_stores_that_it_started(data: Path) -> None:
    process = await plaudit("rebuild", "--from-archive", PLAUDIT_DATA=str(data))

    async def stores_run() -> bool:
        return any(one.name() in ("postgres", "valkey-server") for one in inhabitants(data))

    await until(stores_run)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(STOPS_WITHIN):
        await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert inhabitants(data) == []


async def test_it_can_be_stopped_while_it_waits_for_a_store(short_folder: Path, redis_url: str) -> None:
    reached = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        environment = {"REDIS_URL": redis_url, "PLAUDIT_DATA": str(short_folder / "waits"), "PLAUDIT_PORT": "0"}
        process = await plaudit("serve", DATABASE_URL=f"postgresql://plaudit@127.0.0.1:{port}/plaudit", **environment)
        async with asyncio.timeout(STARTS_WITHIN):
            await reached.wait()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, errors = await process.communicate()
    assert (process.returncode, complaints(errors)) == (0, [])


async def outcome(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Runs a command to its end: exit code, output, errors."""
    process = await plaudit(*arguments, **environment)
    async with asyncio.timeout(STARTS_WITHIN):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_beside_a_server(data: Path) -> None:
    async with serving(data) as server:
        environment = {"PLAUDIT_DATA": str(data)}
        # A second server has no business in the same folder, nor on the same port.
        for port, word in (("0", str(data)), (str(server.port), "in use")):
            code, _, errors = await outcome("serve", "--port", port, **environment)
            assert code == 1
            assert len(errors.splitlines()) == 1
            assert word in errors
        # Other commands use the servers that run there, and the server hears of what they do.
        code, admin_key, _ = await outcome("tenant", "add", "guest", **environment)
        assert code == 0
        code, key, _ = await outcome("agent", "add", "owl", "--tenant", "guest", **environment)
        assert code == 0
        async with http_client(base_url=f"{server.url}/api/v1") as http:
            me = await http.get("/me", headers={"authorization": f"Bearer {key.strip()}"})
            assert me.json()["agent_id"] == "owl"
            admin = {"authorization": f"Bearer {admin_key.strip()}"}
            tool = {"id": "t", "name": "T", "website": "https://t.example"}
            assert (await http.post("/tools", json=tool, headers=admin)).status_code == 201
            ballot = {"item_type": "tool", "item_id": "t", "vote": "up"}

            async def taken() -> bool:  # once the notice of a new shard has arrived
                answer = await http.post("/vote", json=ballot, headers={"authorization": f"Bearer {key.strip()}"})
                assert answer.status_code in {201, 503}, answer.text
                return answer.status_code == 201

            await until(taken)


def workers(server: Serving) -> list[psutil.Process]:
    """The server processes of a server."""
    assert server._process is not None
    return [child for child in psutil.Process(server._process.pid).children() if _is_worker(child)]


def _is_worker(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "app.worker" in child.cmdline()
    except psutil.NoSuchProcess:  # it ended since it was listed
        return False


@asynccontextmanager
async def only(worker: psutil.Process, server: Serving) -> AsyncIterator[None]:
    """Whoever connects meanwhile is served by this worker."""
    others = [other for other in workers(server) if other.pid != worker.pid]
    for other in others:
        other.suspend()
    try:
        yield
    finally:
        for other in others:
            other.resume()


async def test_several_workers_are_one_server(data: Path) -> None:
    async with serving(data, *DEMO, "--workers", "2") as server:
        first, second = workers(server)
        ws = f"ws://127.0.0.1:{server.port}/ws"
        async with only(first, server):
            here = await connect(ws, compression=None)
            viewer = Client(here)
            snapshot = await viewer.ask("subscribe", board="songs") if await hello(viewer) else {}
        async with only(second, server), agent(server) as http:
            there = await connect(ws, compression=None)
            voter = Client(there)
            assert await hello(voter, kept_secret(data, DEMO_KEY_FILE))
            assert (await voter.vote(snapshot["entries"][-1]["item"]))["status"] == "applied"
            assert await songs(http)
        delta = await viewer.next()
        assert [entry["score"] for entry in delta["entries"]] == [1]

        # Whichever of them is asked for numbers tells those of both.
        async with http_client() as http:
            numbers = (await http.get(f"{server.url}/metrics")).text
        connections = re.findall(r'plaudit_connections{kind="(.+)",worker="(.)"} (.+)', numbers)
        assert len(connections) == 4
        there_are = {kind: worker for kind, worker, number in connections if number == "1.0"}
        assert sorted(there_are.items(), key=lambda one: one[1]) in (
            [("viewer", "0"), ("agent", "1")],
            [("agent", "0"), ("viewer", "1")],
        )

        second.kill()
        assert (await voter.closed()).code is None

        async def replaced() -> bool:
            return {worker.pid for worker in workers(server)} - {first.pid, second.pid} != set()

        await until(replaced)
        (third,) = [worker for worker in workers(server) if worker.pid != first.pid]
        async with only(third, server), agent(server) as http:
            assert sum(entry["score"] for entry in await songs(http)) == 1
        assert (await viewer.ask("ping"))["type"] == "pong"

        await server.end(signal.SIGTERM)
        closed = await viewer.closed()
        assert closed.code == 1012
        assert inhabitants(data) == []


async def hello(client: Client, token: str | None = None) -> bool:
    answer = await client.ask("hello", token=token)
    return bool(answer["type"] == "welcome")


async def test_workers_whose_parent_was_killed_end_too(data: Path) -> None:
    server = Serving(data, "--workers", "2")
    await server.start()
    left = workers(server)
    await server.end(signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, left, STARTS_WITHIN)
    assert not any(worker.is_running() for worker in left)
    await server.start()
    assert await server.end(signal.SIGTERM) == 0


async def test_a_server_on_given_stores_starts_none(data: Path, database_url: str, redis_url: str, prefix: str) -> None:
    folder = data / "given"
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PLAUDIT_PREFIX": prefix}
    process = await plaudit("serve", *DEMO, "--port", "0", PLAUDIT_DATA=str(folder), **environment)
    assert process.stdout is not None
    async with asyncio.timeout(STARTS_WITHIN):
        while b"an agent's key" not in await process.stdout.readline():
            pass
    assert psutil.Process(process.pid).children() == []
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
    assert {path.name for path in folder.iterdir()} == {"admin.key", "demo-agent.key"}
    assert [oct(path.stat().st_mode & 0o777) for path in folder.iterdir()] == ["0o600", "0o600"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_demo_is_alive_while_it_is_served_and_leaves_nothing_behind(
    tmp_path: Path, database_url: str, redis_url: str, prefix: str, workers: str
) -> None:
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PLAUDIT_PREFIX": prefix}
    environment["PLAUDIT_LOG_LEVEL"] = "warning"
    command = "serve", "--demo", "--demo-rate", "50", "--port", "0", "--workers", workers
    for _ in range(2):  # the second time, the crowd's agents and their ballots are there
        process = await plaudit(*command, PLAUDIT_DATA=str(tmp_path), **environment)
        assert process.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN):
            while b"an agent's key" not in await process.stdout.readline():
                pass
            url = address_in(tmp_path)
            assert url is not None
            async with PlauditClient(url) as viewer:
                views = viewer.watch("songs")
                first = await anext(views)
                second = await anext(views)
                assert {entry.item: entry.score for entry in first.entries} != {
                    entry.item: entry.score for entry in second.entries
                }
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOPS_WITHIN):
            _, errors = await process.communicate()
        assert (process.returncode, complaints(errors)) == (0, [])
        assert address_in(tmp_path) is None
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval(_CROWD) == 24
        assert await connection.fetchval(f"{_CROWD} and exists ({_VALID_KEY})") == 0
    finally:
        await connection.close()


async def test_a_port_that_is_taken_costs_no_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, errors = await outcome("serve", "--port", str(port), PLAUDIT_DATA=str(tmp_path / "data"))
    assert (code, errors) == (1, f"Error: Port {port} of 127.0.0.1 can't be used: Address already in use.\n")
    assert not (tmp_path / "data").exists()
