"""`plaudit watch`, in a pipe and on a terminal, while its server goes away and comes back."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from app.demo import load_demo
from channels.client import PlauditClient
from tests.app.running import Installation, Running, install, running
from tests.app.serving import ROOT, plaudit

SONG = "sonoa-glass-rivers"


@pytest_asyncio.fixture
async def installation(database_url: str, redis_url: str, prefix: str) -> Installation:
    """Stores of the test's own."""
    return await install(database_url, redis_url, prefix)


@asynccontextmanager
async def furnished(where: Installation, port: int = 0) -> AsyncIterator[tuple[Running, str]]:
    """A server with the demo catalogue, and an agent's key."""
    async with running(where, port) as server:
        of = server.services
        agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        yield server, (await of.directory.add_agent_key(where.tenant, agent)).secret


async def vote(server: Running, key: str, choice: str | None) -> None:
    async with PlauditClient(server.url, key) as client:
        await (client.vote("songs", SONG, "up") if choice else client.retract("songs", SONG))


async def test_a_line_for_every_state_of_the_board(installation: Installation) -> None:
    async with asyncio.timeout(60):
        async with furnished(installation) as (server, key):
            process = await plaudit("watch", "songs", "--limit", "1", "--json", "--url", server.url)
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(await process.stdout.readline())["entries"][0]["score"] == 0
            await vote(server, key, "up")
            first = json.loads(await process.stdout.readline())["entries"][0]
            assert (first["item"], first["score"]) == (SONG, 1)
        assert await process.stderr.readline() == b"connection lost, trying again\n"
        async with furnished(installation, server.port) as (server, key):
            assert await process.stderr.readline() == b"connected again\n"
            await vote(server, key, None)
            assert json.loads(await process.stdout.readline())["entries"][0]["score"] == 0
            process.send_signal(signal.SIGINT)
            rest, errors = await process.communicate()
    assert (process.returncode, rest, errors) == (0, b"", b"")


async def test_a_reader_that_leaves_is_no_error(installation: Installation) -> None:
    async with asyncio.timeout(60), furnished(installation) as (server, key):
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-c",
                "from app.cli import main; main()",
                "watch",
                "songs",
                "--json",
                "--url",
                server.url,
            ),
            cwd=ROOT,
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        await asyncio.to_thread(os.read, reading, 1)
        os.close(reading)
        await vote(server, key, "up")
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")


class Terminal:
    """A terminal with `plaudit watch` on it."""

    def __init__(self, *arguments: str) -> None:
        self._child, self._end = pty.fork()
        if not self._child:
            os.environ |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", "PYTHONPATH": str(ROOT)}
            os.execv(sys.executable, [sys.executable, "-c", "from app.cli import main; main()", *arguments])  # noqa: S606
        self._written = ""

    async def until(self, pattern: str) -> str:
        """Reads until the pattern was written; answers what came up to it, without colours."""
        while (found := re.search(pattern, self._written)) is None:
            try:
                data = await asyncio.to_thread(os.read, self._end, 65536)
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"it ended after {self._written[-2000:]}")
            self._written += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="ignore"))
        before, self._written = self._written[: found.end()], self._written[found.end() :]
        return before

    async def interrupt(self) -> int:
        """Ctrl-C; answers the exit code."""
        os.write(self._end, b"\x03")
        with pytest.raises(AssertionError, match="it ended"):
            await self.until("never written")
        _, status = await asyncio.to_thread(os.waitpid, self._child, 0)
        os.close(self._end)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_table_that_says_when_it_is_out_of_date(installation: Installation) -> None:
    async with asyncio.timeout(60):
        async with furnished(installation) as (server, key):
            terminal = Terminal("watch", "songs", "--top", "5", "--url", server.url)
            await terminal.until(r"● live[^●]*40 on the board")
            await vote(server, key, "up")
            await terminal.until(r"● live\s+#[^●]*\s1\s+Glass Rivers\s+Vela Nightfall\s+1 ")
        await terminal.until(r"connection to \S+ lost, trying again[^●]*Glass Rivers")
        async with furnished(installation, server.port):
            await terminal.until(r"● live[^●]*Glass Rivers")
            assert await terminal.interrupt() == 0
