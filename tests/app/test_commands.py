"""Commands that talk to a server: what they print, how they end, and where they find address and keys."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest_asyncio

from app.address import ADDRESS_FILE, kept_address
from app.demo import load_demo
from app.tenants import ADMIN_KEY_FILE, DEMO_KEY_FILE, keep_secret
from tests.app.running import install, running
from tests.app.serving import plaudit

MISTAKES = [
    ("vote songs nope up", 1, "Error: There is no such item on this board (unknown_item)."),
    ("top nope", 1, "(unknown_board)."),
    ("vote songs nope up --key wrong", 1, "(unauthorized)."),
    ("watch nope --json", 1, "(unknown_board)."),
    ("simulate nope --admin-key {admin}", 1, "(unknown_board)."),
    ("simulate --admin-key {agent}", 1, "The server refused"),
    ("vote songs nope sideways", 2, "'sideways' is no vote"),
    ("top songs --window year", 2, "'year' is not one of"),
    ("top songs --url somewhere", 2, "somewhere is not an address"),
    ("watch songs", 2, "for pipes there is --json"),
    ("top songs --url http://127.0.0.1:1", 3, "http://127.0.0.1:1 can't be reached"),
    ("simulate --url http://127.0.0.1:1", 3, "http://127.0.0.1:1 can't be reached"),
]
"""Commands, their exit codes, and what their last line says."""


class Ended(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Here(NamedTuple):
    """A server with the demo catalogue, and a data folder with its keys."""

    url: str
    port: int
    data: Path
    agent_key: str
    admin_key: str

    async def run(self, *arguments: str, **environment: str) -> Ended:
        """Runs a command in a shell that knows only where the data folder is and on which port the server listens."""
        known = {"PLAUDIT_DATA": str(self.data), "PLAUDIT_PORT": str(self.port)}
        process = await plaudit(*arguments, **known | environment)
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


@pytest_asyncio.fixture
async def here(database_url: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Here]:
    """A server that runs."""
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server:
        of = server.services
        agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        key = (await of.directory.add_agent_key(where.tenant, agent)).secret
        keep_secret(tmp_path, DEMO_KEY_FILE, key)
        keep_secret(tmp_path, ADMIN_KEY_FILE, where.admin_key)
        yield Here(server.url, server.port, tmp_path, key, where.admin_key)


async def test_a_vote_from_a_terminal(here: Here) -> None:
    song = "sonoa-glass-rivers"
    told = await here.run("vote", "songs", song, "up", "--comment", "that bridge")
    assert told == (0, f"applied: {song} on songs: place 1, score 1 (1 up, 0 down); 999 votes left today\n", "")
    told = await here.run("top", "songs", "--limit", "1")
    assert told == await here.run("top", "songs", "--top", "1")
    assert told.out.splitlines()[1].split() == [
        "1",
        "Glass",
        "Rivers",
        *["Vela", "Nightfall", "1"],
        "━" * 12,
        "1",
        "0",
        song,
    ]
    assert (await here.run("retract", "songs", song)).out.startswith(f"retracted: {song} on songs")
    assert json.loads((await here.run("vote", "songs", song, "-1", "--json")).out)["score"] == -1


async def test_answers_for_pipes(here: Here) -> None:
    boards, top = await asyncio.gather(here.run("boards", "--json"), here.run("top", "songs", "--json"))
    assert [board["slug"] for board in json.loads(boards.out)] == ["songs", "tools"]
    ranking = json.loads(top.out)
    assert (ranking["board"], len(ranking["entries"])) == ("songs", 10)
    assert (await here.run("boards")).out.splitlines()[1].split()[:5] == ["songs", "Songs", "songs", "updown", "open"]


async def test_mistakes_are_one_sentence_and_a_code(here: Here) -> None:
    async def make(command: str, code: int, words: str) -> None:
        ended = await here.run(*command.format(admin=here.admin_key, agent=here.agent_key).split())
        last = ended.err.splitlines()[-1]
        assert (command, ended.code, ended.out) == (command, code, "")
        assert words in last
        assert last.startswith("Error: ")
        assert "Traceback" not in ended.err

    # All at once: what takes time is that Python starts.
    await asyncio.gather(*(make(*mistake) for mistake in MISTAKES))


async def test_keys_and_addresses_come_from_flags_the_environment_or_the_data_folder(
    here: Here, tmp_path: Path
) -> None:
    command = "vote", "songs", "loomwave-umbra", "up"
    elsewhere = {"PLAUDIT_DATA": str(tmp_path / "nothing"), "PLAUDIT_PORT": "1"}
    missing = await here.run(*command, **elsewhere)
    assert (missing.code, "An agent's key is needed" in missing.err) == (2, True)
    by_variable = await here.run(*command, PLAUDIT_URL=here.url, PLAUDIT_KEY=here.agent_key, **elsewhere)
    assert by_variable.out.startswith("applied")
    by_flag = await here.run(*command, "--url", here.url, "--key", here.agent_key, PLAUDIT_KEY="wrong", **elsewhere)
    assert by_flag.out.startswith("unchanged")


async def test_a_server_is_found_by_its_data_folder(here: Here) -> None:
    anywhere = {"PLAUDIT_PORT": "0"}
    with kept_address(here.data, here.url):
        assert (await here.run("vote", "songs", "loomwave-umbra", "up", **anywhere)).out.startswith("applied")
        by_flag = await here.run("top", "songs", "--url", "http://127.0.0.1:1", **anywhere)
        assert (by_flag.code, "left" in by_flag.err) == (3, False)
    with kept_address(here.data, "http://127.0.0.1:1"):
        # As one that was killed leaves it.
        commands = ("top songs", "boards", "vote songs loomwave-umbra up", "simulate")
        for ended in await asyncio.gather(*(here.run(*command.split(), **anywhere) for command in commands)):
            last = ended.err.splitlines()[-1]
            assert (ended.code, ended.out) == (3, "")
            assert last.startswith("Error: http://127.0.0.1:1 can't be reached: ")
            assert last.endswith(
                f"{here.data / ADDRESS_FILE} has this address: a server that was killed leaves one behind."
            )


async def test_a_kept_key_is_shown_to_no_other_machine(here: Here) -> None:
    for command in (("vote", "songs", "a", "up"), ("simulate",)):
        ended = await here.run(*command, "--url", "http://plaudit.invalid")
        assert (ended.code, "key is needed" in ended.err) == (2, True)


async def test_a_simulation_ends_cleanly_when_it_is_interrupted(here: Here) -> None:
    process = await plaudit(
        "simulate", "tools", "--agents", "3", "--rate", "100", "--url", here.url, PLAUDIT_DATA=str(here.data)
    )
    async with asyncio.timeout(30):
        while "entries" not in (told := json.loads((await here.run("top", "tools", "--json")).out)) or not any(
            entry["up_votes"] for entry in told["entries"]
        ):
            pass
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, "Traceback" in err.decode()) == (0, False)
    assert " votes in " in out.decode()


async def test_shells_can_complete(here: Here) -> None:
    script = await here.run(_PLAUDIT_COMPLETE="bash_source")
    assert "complete -o nosort -F _plaudit_completion plaudit" in script.out
