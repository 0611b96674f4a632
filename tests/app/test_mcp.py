"""`plaudit mcp` as an agent's host runs it, asked by the official client."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from app.demo import load_demo
from tests.app.running import Running, install, running
from tests.app.serving import ROOT

mcp = pytest.importorskip("mcp")


@pytest_asyncio.fixture
async def reached(database_url: str, redis_url: str, prefix: str) -> AsyncIterator[tuple[Running, str]]:
    """A server with the demo catalogue, and an agent's key."""
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server:
        of = server.services
        agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        yield server, (await of.directory.add_agent_key(where.tenant, agent)).secret


@asynccontextmanager
async def connected(server: Running, key: str) -> AsyncIterator[Any]:
    """A host's client, with the tools' process behind it."""
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-c", "from app.cli import main; main()", "mcp"],
        env={"PLAUDIT_URL": server.url, "PLAUDIT_KEY": key, "PYTHONPATH": str(ROOT)},
    )
    async with mcp.Client(command, read_timeout_seconds=30) as client:
        yield client


async def call(client: Any, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


async def test_an_agent_finds_votes_and_reads(reached: tuple[Running, str]) -> None:
    async with connected(*reached) as client:
        assert [board["slug"] for board in (await call(client, "list_boards"))["boards"]] == ["songs", "tools"]
        [song] = (await call(client, "search_items", kind="songs", text="glas rivvers", limit=1))["songs"]
        ballot = {"board": "songs", "item_id": song["id"]}
        voted = await call(client, "vote", **ballot, choice="up", comment="that bridge")
        assert (voted["status"], voted["rank"]) == ("applied", 1)
        assert (await call(client, "read_board", board="songs", limit=1))["entries"][0]["item_id"] == song["id"]
        assert (await call(client, "read_standing", **ballot))["item"]["score"] == 1
        assert (await call(client, "read_item", kind="songs", item_id=song["id"]))["up_votes"] == 1
        assert (await call(client, "retract_vote", **ballot))["status"] == "retracted"
        assert (await call(client, "who_am_i"))["quota_remaining"] == 999


async def test_errors_are_words_for_a_model(reached: tuple[Running, str]) -> None:
    async with connected(*reached) as client:
        for arguments, words in (
            (
                {"item_id": "nope", "choice": "up"},
                "unknown_item: There is no such item on this board. Trying again is vain.",
            ),
            ({"item_id": "sonoa-glass-rivers", "choice": "sideways"}, "Input should be 'up' or 'down'"),
        ):
            result = await client.call_tool("vote", {"board": "songs", **arguments})
            assert result.is_error
            assert words in result.content[0].text


async def test_tools_say_what_they_do(reached: tuple[Running, str]) -> None:
    async with connected(*reached) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert all(tool.description for tool in tools.values())
    writing = {name for name, tool in tools.items() if not tool.annotations.read_only_hint}
    assert writing == {"vote", "retract_vote"}
