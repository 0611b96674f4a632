"""The client for scripts, against a whole server."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from app.demo import load_demo
from channels.client import Vote
from channels.errors import PlauditError
from channels.http import PlauditHTTP
from tests.app.running import Running, install, running


@pytest_asyncio.fixture
async def reached(database_url: str, redis_url: str, prefix: str) -> AsyncIterator[tuple[Running, str]]:
    """A server with the demo catalogue, and an agent's key."""
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server:
        of = server.services
        agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        yield server, (await of.directory.add_agent_key(where.tenant, agent)).secret


async def test_every_call(reached: tuple[Running, str]) -> None:
    server, key = reached

    def script() -> None:
        with PlauditHTTP(server.url, key) as plaudit:
            assert plaudit.me()["agent_id"] == "demo-agent"
            assert [board["slug"] for board in plaudit.boards()] == ["songs", "tools"]
            assert plaudit.vote("songs", "sonoa-glass-rivers", "up", "that bridge")["status"] == "applied"
            several = plaudit.vote_many([Vote("songs", "loomwave-umbra", 1), Vote("songs", "nope", "up")])
            assert [result["status"] for result in several] == ["applied", "error"]
            assert plaudit.ranking("songs", window="day", limit=1)["entries"][0]["item_id"] == "loomwave-umbra"
            assert plaudit.ranking("songs", offset=1, limit=1)["entries"][0]["item_id"] == "sonoa-glass-rivers"
            assert plaudit.standing("songs", "loomwave-umbra", around=1)["item"]["rank"] == 1
            assert plaudit.retract("songs", "loomwave-umbra")["status"] == "retracted"
            assert plaudit.search("songs", "glas rivvers", limit=1)["songs"][0]["id"] == "sonoa-glass-rivers"
            assert plaudit.item("tools", "clearcue")["name"] == "Clearcue"

    await asyncio.to_thread(script)


async def test_what_the_server_refuses_is_raised(reached: tuple[Running, str]) -> None:
    server, key = reached

    def script() -> None:
        with PlauditHTTP(server.url, key) as plaudit:
            with pytest.raises(PlauditError, match="unknown_item"):
                plaudit.vote("songs", "nope", "up")
            with pytest.raises(PlauditError, match="unknown_board"):
                plaudit.ranking("no/such?board")
            with pytest.raises(PlauditError, match="unknown_item"):
                plaudit.standing("songs", "..")
            with pytest.raises(PlauditError, match="invalid"):
                plaudit.ranking("songs", limit=0)
            with pytest.raises(PlauditError) as caught:
                plaudit.retract("songs", "loomwave-umbra")
            assert (caught.value.code, caught.value.temporary) == ("no_ballot", False)
        with PlauditHTTP(server.url) as viewer:
            assert viewer.boards()
            with pytest.raises(PlauditError, match="unauthorized"):
                viewer.me()
        with PlauditHTTP(server.url, tenant="nobody") as viewer, pytest.raises(PlauditError):
            viewer.boards()

    await asyncio.to_thread(script)


@pytest.mark.parametrize(
    "call",
    [
        lambda plaudit: plaudit.vote("songs", "a", "up", "\ud800"),
        lambda plaudit: plaudit.vote_many([Vote("songs", "a", "up", "\ud800")]),
        lambda plaudit: plaudit.retract("songs", "\udcff"),
        lambda plaudit: plaudit.ranking("\udcff"),
        lambda plaudit: plaudit.search("songs", "\udcff"),
    ],
)
def test_what_can_be_in_no_request_is_invalid(call: Callable[[PlauditHTTP], object]) -> None:
    with PlauditHTTP("http://127.0.0.1:1", "key") as plaudit, pytest.raises(PlauditError, match="invalid"):
        call(plaudit)


def test_a_key_that_can_be_none_is_invalid() -> None:
    with pytest.raises(PlauditError, match="invalid"):
        PlauditHTTP("http://127.0.0.1:1", "clé")


async def test_what_is_no_plaudit_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nno! ")
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]

    def script() -> None:
        as_told = pytest.raises(ConnectionError, match="answers 404, and not as Plaudit does")
        with PlauditHTTP(f"http://127.0.0.1:{port}") as plaudit, as_told:
            plaudit.boards()

    await asyncio.to_thread(script)
    other.close()
    await other.wait_closed()
    with PlauditHTTP(f"http://127.0.0.1:{port}") as plaudit, pytest.raises(ConnectionError, match="can't be reached"):
        plaudit.boards()
