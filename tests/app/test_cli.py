"""The command line: what each command does, and that a user's mistakes end with one sentence."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from storage.archive import Archive
from storage.directory import Directory
from tests.app.running import http_client
from tests.app.sockets import Stage
from tests.storage.shard import emptied

Plaudit = Callable[..., Awaitable[Result]]
COMMANDS = ("serve", "migrate", "replay", "verify", "rebuild", "tenant", "agent")


@pytest.fixture
def plaudit(database_url: str, redis_url: str, prefix: str, tmp_path: Path) -> Plaudit:
    """The command, on stores of the test's own. It has a loop of its own, and so a thread."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PLAUDIT_PREFIX": prefix, "PLAUDIT_SHARDS": "1"}

    async def run(*arguments: str, **environment: str) -> Result:
        environ = {"PLAUDIT_DATA": str(tmp_path / "data"), **given, **environment}
        return await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environ)

    return run


def succeeded(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def one_sentence(result: Result, *words: str) -> None:
    """One line, no traceback, and an exit code that says that it failed."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"DATABASE_URL": "", "REDIS_URL": ""} | environment)


def test_the_version_and_help_texts() -> None:
    assert re.fullmatch(r"plaudit, version \d+\.\d+\.\d+\n", succeeded(invoke("--version")))
    overview = succeeded(invoke("--help"))
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", overview, re.MULTILINE), command
        text = succeeded(invoke(command, "--help"))
        assert re.search(r"Usage: .*\n\n  [A-Z]", text), command
    for words in (("tenant", "add"), ("tenant", "keys"), ("agent", "add"), ("agent", "key"), ("agent", "revoke")):
        assert "Usage: " in succeeded(invoke(*words, "-h"))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PLAUDIT_PORT": "http"}, ["PLAUDIT_PORT", "0 to 65,535", "'http'"]),
        ({"PLAUDIT_WORKERS": "0"}, ["PLAUDIT_WORKERS"]),
        ({"PLAUDIT_QUOTA_FREE": "many"}, ["PLAUDIT_QUOTA_FREE", "none"]),
        ({"REDIS_URL": "localhost"}, ["REDIS_URL", "redis://"]),
        ({"PLAUDIT_ADMIN_KEY": "short"}, ["PLAUDIT_ADMIN_KEY", "16"]),
    ],
)
def test_wrong_settings(environment: dict[str, str], words: list[str]) -> None:
    for command in ("serve", "migrate"):
        result = invoke(command, **environment)
        one_sentence(result, *words)
        assert environment.get("PLAUDIT_ADMIN_KEY", "secret") not in result.stderr


def test_a_wrong_flag_is_named_as_it_was_given() -> None:
    for flag, text in (("--tick-rate", "nan"), ("--port", "abc")):
        result = invoke("serve", flag, text)
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1].startswith(f"Error: {flag} must be ")
        assert result.stderr.endswith(f"not {text!r}.\n")


async def test_stores_that_do_not_answer(plaudit: Plaudit, unused_tcp_port: int) -> None:
    for command in (("verify",), ("migrate",), ("tenant", "add", "x")):
        database = await plaudit(*command, DATABASE_URL=f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none")
        one_sentence(database, "refused")
    await plaudit("tenant", "add", "default")
    one_sentence(await plaudit("verify", REDIS_URL=f"redis://127.0.0.1:{unused_tcp_port}"), "live store")


async def test_migrating_an_empty_database(plaudit: Plaudit, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("drop schema public cascade; create schema public")
        succeeded(await plaudit("migrate"))
        succeeded(await plaudit("migrate"))
        assert await connection.fetchval("select count(*) from votes") == 0
    finally:
        await connection.close()


async def test_tenants(plaudit: Plaudit, database_url: str) -> None:
    key = succeeded(await plaudit("tenant", "add", "sound-of-chi")).strip()
    succeeded(await plaudit("tenant", "add", "payportpro"))
    assert succeeded(await plaudit("tenant", "list")).split() == ["sound-of-chi", "payportpro"]
    async with Archive(database_url) as archive:
        credential = await Directory(archive).find_key(key)
    assert credential is not None
    assert (credential.tenant.slug, credential.agent) == ("sound-of-chi", None)
    one_sentence(await plaudit("tenant", "add", "payportpro"), "payportpro")
    for slug in ("Upper", "-x", "", "x" * 64, "a b"):
        assert (await plaudit("tenant", "add", "--", slug)).exit_code == 2


async def test_admin_keys_are_exchanged(plaudit: Plaudit, stage: Stage) -> None:
    found = succeeded(await plaudit("tenant", "keys", "default")).split()
    issued = await plaudit("tenant", "key", "default")
    number, secret = issued.stderr.split()[-1], succeeded(issued).strip()
    assert len(succeeded(await plaudit("tenant", "keys", "default")).splitlines()) == 2

    names = itertools.count()

    async def status(key: str) -> int:
        async with http_client(base_url=stage.url, headers={"authorization": f"Bearer {key}"}) as http:
            return (await http.post("/api/v1/agents", json={"agent_id": f"a{next(names)}", "tier": "free"})).status_code

    assert await status(stage.where.admin_key) == await status(secret) == 201
    async with stage.connect() as client:
        assert (await client.ask("hello", token=stage.where.admin_key))["type"] == "welcome"
        succeeded(await plaudit("tenant", "revoke", "default", found[0]))
        assert (await client.closed()).code == 4401
    assert (await status(stage.where.admin_key), await status(secret)) == (401, 201)
    one_sentence(await plaudit("tenant", "revoke", "default", found[0]), "no admin key")
    # An agent's key is none.
    agent = await plaudit("agent", "key", "a0")
    assert len(succeeded(await plaudit("tenant", "keys", "default")).splitlines()) == 1
    one_sentence(await plaudit("tenant", "revoke", "default", agent.stderr.split()[-1]), "no admin key")
    one_sentence(await plaudit("tenant", "revoke", "other", number), "other")
    succeeded(await plaudit("tenant", "add", "other"))
    one_sentence(await plaudit("tenant", "revoke", "other", number), "no admin key")


async def test_agents(plaudit: Plaudit, database_url: str) -> None:
    one_sentence(await plaudit("agent", "add", "owl"), "default")
    for slug in ("default", "guest"):
        succeeded(await plaudit("tenant", "add", slug))
    first = succeeded(await plaudit("agent", "add", "owl", "--tier", "pro")).strip()
    second = await plaudit("agent", "key", "owl")
    number = second.stderr.split()[-1]
    elsewhere = succeeded(await plaudit("agent", "add", "owl", "--tenant", "guest")).strip()
    async with Archive(database_url) as archive:
        directory = Directory(archive)

        async def owner(key: str) -> tuple[Any, ...] | None:
            found = await directory.find_key(key.strip())
            return None if found is None or found.agent is None else (found.tenant.slug, found.agent.tier)

        assert await owner(first) == await owner(second.stdout) == ("default", "pro")
        assert await owner(elsewhere) == ("guest", "free")
        succeeded(await plaudit("agent", "revoke", "owl", number))
        assert (await owner(second.stdout), await owner(first)) == (None, ("default", "pro"))
    one_sentence(await plaudit("agent", "revoke", "owl", number), "owl")
    one_sentence(await plaudit("agent", "add", "owl"), "There is an agent 'owl' already.")
    one_sentence(await plaudit("agent", "key", "lark"), "lark")
    one_sentence(await plaudit("agent", "add", "owl", "--tenant", "nobody"), "nobody")
    for agent_id in ("", "x" * 256, "a\nb"):
        assert (await plaudit("agent", "add", agent_id)).exit_code == 2


async def test_giving_up_what_an_older_postgresql_does_not_have(
    plaudit: Plaudit, stage: Stage, database_url: str
) -> None:
    async with stage.agent() as agent:
        await agent.vote("s1")
    shard = stage.where.tenant.shard
    await stage.services.caught_up(shard)
    connection = await asyncpg.connect(database_url)
    await connection.execute("delete from votes; delete from vote_events; update board_items set points = 0")
    await connection.execute("update flush_positions set seq = 0; update board_items set up_votes = 0")
    await connection.close()
    refused = await plaudit("rebuild")
    assert refused.exit_code == 1
    (line,) = [line for line in refused.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: PostgreSQL has the votes")
    assert line.endswith("`plaudit rebuild --from-archive`.")
    assert (await stage.services.live.position(shard)).seq == 1
    given_up = await plaudit("rebuild", "--from-archive")
    assert f"Rebuilt shards: {shard}." in succeeded(given_up)
    succeeded(await plaudit("verify"))


async def test_verifying_and_rebuilding(plaudit: Plaudit, stage: Stage, database_url: str) -> None:
    async with stage.agent() as agent:
        for item in ("s1", "s2"):
            await agent.vote(item)
    shard = stage.where.tenant.shard
    await stage.services.caught_up(shard)
    report = succeeded(await plaudit("verify"))
    assert re.search(r"songs +3 +(\w{8}) +\1 +\1 +same", report)
    assert "nothing to do" in succeeded(await plaudit("rebuild"))

    await emptied(stage.services.live, shard)
    one_sentence(await plaudit("verify"), "The live store", "songs", "plaudit rebuild")
    assert f"Rebuilt shards: {shard}." in succeeded(await plaudit("rebuild"))
    succeeded(await plaudit("verify"))

    connection = await asyncpg.connect(database_url)
    await connection.execute("update board_items set points = points + 100 where up_votes > 0")
    await connection.close()
    wrong = await plaudit("verify")
    assert wrong.exit_code == 1
    assert "songs: " in wrong.stderr
    # None of it disturbed the server.
    async with stage.viewer() as client:
        assert (await client.ask("ping"))["type"] == "pong"
