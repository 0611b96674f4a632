"""PostgreSQL comes and goes: agents that a server knows vote on, and a key that was revoked meanwhile does not last."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from app.registry import STALE_FOR
from storage.archive import Archive
from storage.directory import Directory, hash_secret
from tests.app.contract import refusal
from tests.app.running import http_client, install
from tests.app.sockets import Stage, opened
from tests.app.test_express import Ways, ask, get, post, vote
from tests.app.test_front import wire
from tests.proxy import Proxy, unix_socket

_OVERLOADED = (503, "overloaded")


class Outage:
    """A server whose PostgreSQL can be taken away, and agents over HTTP connections that are kept."""

    def __init__(self, stage: Stage, proxy: Proxy, database_url: str, http: httpx.AsyncClient) -> None:
        self.stage = stage
        self.proxy = proxy
        self.database_url = database_url
        self._http = http

    async def vote(self, key: str, item: str, board: str = "songs") -> httpx.Response:
        body = {"board": board, "item_id": item, "vote": "up"}
        return await self._http.post("/api/v1/vote", json=body, headers={"authorization": f"Bearer {key}"})

    async def votes(self, key: str, items: list[str], more: Sequence[dict[str, str]] = ()) -> list[dict[str, Any]]:
        """What a batch is answered: votes for songs, and others."""
        votes = [*({"board": "songs", "item_id": item, "vote": "up"} for item in items), *more]
        headers = {"authorization": f"Bearer {key}"}
        found = await self._http.post("/api/v1/votes", json={"votes": votes}, headers=headers)
        assert found.status_code == 200, found.text
        return list(found.json()["results"])

    @asynccontextmanager
    async def locked(self, table: str) -> AsyncIterator[None]:
        """Nobody can read a table, as while it is altered, and PostgreSQL answers all the rest."""
        async with Archive(self.database_url) as archive, archive.transaction() as connection:
            await connection.execute(f"lock table {table} in access exclusive mode")
            yield

    async def until_settled(self) -> None:
        """All that connections rest on has been asked for."""
        await self.stage.until(lambda: self.stage.services.registry._unsure_since is None)

    async def go(self) -> None:
        """PostgreSQL can't be reached, and the server has noticed."""
        self.proxy.refuse()
        await self.until_hearing(is_so=False)

    async def come(self) -> None:
        """PostgreSQL is back, and the server has heard so."""
        self.proxy.accept()
        await self.until_hearing(is_so=True)

    async def flap(self) -> None:
        """It goes, comes, and goes again before anybody has asked for anything."""
        await self.go()
        await self.come()
        await self.go()

    async def until_hearing(self, *, is_so: bool) -> None:
        registry = self.stage.services.registry
        await self.stage.until(lambda: registry._hearing is is_so)

    async def revoke(self, agent: str) -> None:
        """Ends an agent's first key as another server would, that still reaches PostgreSQL."""
        async with Archive(self.database_url) as archive:
            directory, tenant = Directory(archive), self.stage.where.tenant
            async with archive.connection() as connection:
                key = await connection.fetchval(
                    "select k.id from api_keys k join agents a on a.id = k.agent_id where a.agent_id = $1", agent
                )
            await directory.revoke_key(tenant, agent, key)

    def pass_time(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        monkeypatch.setattr(self.stage.services.registry, "_clock", lambda: time.monotonic() + seconds)


@pytest_asyncio.fixture
async def outage(database_url: str, redis_url: str, prefix: str) -> AsyncIterator[Outage]:
    where = await install(database_url, redis_url, prefix)
    database = database_url.partition("?")[0].rpartition("/")[2]
    async with Proxy(unix_socket(database_url)) as proxy:
        far = where._replace(database_url=f"postgresql://plaudit@127.0.0.1:{proxy.port}/{database}")
        async with opened(far) as stage, http_client(base_url=stage.url) as http:
            opened_outage = Outage(stage, proxy, database_url, http)
            await opened_outage.until_hearing(is_so=True)
            yield opened_outage
            proxy.resume()
            proxy.accept()


def _statuses(*answers: httpx.Response) -> list[Any]:
    return [answer.json().get("status") for answer in answers]


async def test_who_was_known_votes_on_while_postgres_comes_and_goes(outage: Outage) -> None:
    keys = [await outage.stage.key(name) for name in ("ann", "bob")]
    assert _statuses(*[await outage.vote(key, "s1") for key in keys]) == ["applied"] * 2
    async with outage.stage.agent(keys[0]) as client:
        await outage.flap()
        assert _statuses(*[await outage.vote(key, "s2") for key in keys]) == ["applied"] * 2
        assert (await client.vote("s3"))["status"] == "applied"
    async with outage.stage.agent(keys[1]) as client:
        assert (await client.vote("s3"))["status"] == "applied"
    # What nobody has asked for yet can't be told, and is not denied either.
    assert refusal(await outage.vote("a key not seen before", "s1")) == _OVERLOADED
    assert refusal(await outage.vote(keys[0], "s1", board="made-meanwhile")) == _OVERLOADED
    await outage.come()
    assert refusal(await outage.vote("a key not seen before", "s1")) == (401, "unauthorized")
    assert refusal(await outage.vote(keys[0], "s1", board="made-meanwhile")) == (404, "unknown_board")


async def test_a_postgres_that_falls_silent_right_after_it_came_back_holds_nobody_up(outage: Outage) -> None:
    key = await outage.stage.key()
    assert _statuses(await outage.vote(key, "s1")) == ["applied"]
    await outage.go()
    await outage.come()
    outage.proxy.silence()
    began = time.monotonic()
    assert _statuses(await outage.vote(key, "s2")) == ["applied"]
    assert time.monotonic() - began < 5
    await outage.until_hearing(is_so=False)
    began = time.monotonic()
    assert _statuses(await outage.vote(key, "s3")) == ["applied"]
    assert time.monotonic() - began < 1


async def test_a_key_that_was_revoked_unheard_ends_when_postgres_is_back(outage: Outage) -> None:
    key = await outage.stage.key("ann")
    assert _statuses(await outage.vote(key, "s1")) == ["applied"]
    await outage.flap()
    await outage.revoke("ann")
    assert _statuses(await outage.vote(key, "s2")) == ["applied"]
    async with outage.stage.agent(key) as client:
        await outage.come()
        assert (await client.closed()).code == 4401
    assert refusal(await outage.vote(key, "s3")) == (401, "unauthorized")
    # And what has been told once is not taken back.
    await outage.go()
    assert refusal(await outage.vote(key, "s3")) == _OVERLOADED


async def test_nobody_is_known_for_ever(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [await outage.stage.key(name) for name in ("ann", "bob")]
    assert _statuses(*[await outage.vote(key, "s1") for key in keys]) == ["applied"] * 2
    async with outage.stage.agent(keys[0]) as client:
        await outage.go()
        outage.pass_time(monkeypatch, STALE_FOR - 5)
        assert _statuses(*[await outage.vote(key, item) for item in ("s2", "s3") for key in keys]) == ["applied"] * 4
        outage.pass_time(monkeypatch, STALE_FOR + 5)
        assert (await client.closed()).code == 1013
    for key in keys:
        assert refusal(await outage.vote(key, "s1")) == _OVERLOADED
    await outage.come()
    assert _statuses(*[await outage.vote(key, "s1") for key in keys]) == ["unchanged"] * 2


async def test_doubts_do_not_begin_anew_with_each_outage(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [await outage.stage.key(name) for name in ("ann", "bob")]
    assert _statuses(*[await outage.vote(key, "s1") for key in keys]) == ["applied"] * 2
    await outage.go()
    await outage.come()
    assert _statuses(await outage.vote(keys[0], "s2")) == ["applied"]
    # PostgreSQL may have been slower than the vote could wait for.
    registry = outage.stage.services.registry
    await outage.stage.until(lambda: not registry.doubts_key(hash_secret(keys[0])))
    outage.pass_time(monkeypatch, STALE_FOR + 5)
    await outage.go()
    assert _statuses(await outage.vote(keys[0], "s3")) == ["applied"]
    assert refusal(await outage.vote(keys[1], "s3")) == _OVERLOADED


async def test_a_key_that_was_taken_in_doubt_is_checked_as_soon_as_postgres_tells(outage: Outage) -> None:
    keys = [await outage.stage.key(name) for name in ("ann", "bob")]
    assert _statuses(*[await outage.vote(key, "s1") for key in keys]) == ["applied"] * 2
    await outage.go()
    await outage.revoke("ann")
    async with AsyncExitStack() as stack:
        async with outage.locked("api_keys"):
            await outage.come()
            await outage.until_settled()
            # PostgreSQL answers, though not for keys: those that were good still are.
            ann, bob = [await stack.enter_async_context(outage.stage.agent(key)) for key in keys]
            assert (await ann.vote("s2"))["status"] == "applied"
        assert (await ann.closed()).code == 4401
        assert (await bob.vote("s2"))["status"] == "applied"
    assert refusal(await outage.vote(keys[0], "s3")) == (401, "unauthorized")
    assert _statuses(await outage.vote(keys[1], "s3")) == ["applied"]


async def test_a_key_that_was_revoked_unheard_does_not_last_on_the_short_way(outage: Outage) -> None:
    key = await outage.stage.key("ann")
    async with wire(outage.stage) as client:

        async def status(item: str) -> int:
            return (await ask(client, post(key, vote(item))))[0]

        assert await status("s1") == 201
        await outage.go()
        await outage.revoke("ann")
        async with outage.locked("api_keys"):
            await outage.come()
            assert [await status(item) for item in ("s2", "s3", "s2")] == [201, 201, 200]
        # It is asked for without a further request, so that the first one is told.
        await outage.stage.until(lambda: not outage.stage.services.registry.doubts_key(hash_secret(key)))
        assert await status("s3") == 401


async def test_the_short_way_is_not_learned_in_doubt(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    key, ways = await outage.stage.key(), Ways(monkeypatch)
    read = "/api/v1/boards/songs"
    requests = [post(key, vote()), get(read), get(read, f"Authorization: Bearer {key}")]
    async with wire(outage.stage) as client:

        async def long_ways() -> int:
            before = ways.long
            for request in requests * 3:
                assert (await ask(client, request))[0] in {200, 201}
            return ways.long - before

        assert await long_ways() == len(requests)
        await outage.flap()
        assert await long_ways() == 3 * len(requests)
        await outage.come()
        assert await long_ways() == len(requests)


async def test_who_is_told_that_a_key_was_revoked_ends_all_that_rests_on_it(outage: Outage) -> None:
    key = await outage.stage.key("ann")
    async with outage.stage.agent(key) as client, wire(outage.stage) as kept:
        assert (await client.vote("s1"))["status"] == "applied"
        async with Archive(outage.database_url) as archive, archive.connection() as connection:
            await connection.execute("update api_keys set revoked_at = now() where agent_id is not null")
        outage.stage.services.registry.heard()
        before = outage.stage.services.registry.forgotten
        assert (await ask(kept, post(key, vote("s2"))))[0] == 401
        assert outage.stage.services.registry.forgotten > before
        assert (await client.closed()).code == 4401


async def test_what_a_newer_server_tells_in_words_of_its_own_is_asked_for(outage: Outage) -> None:
    key = await outage.stage.key("ann")
    async with outage.stage.agent(key) as client:
        assert (await client.vote("s1"))["status"] == "applied"
        with capture_logs() as logs:
            async with Archive(outage.database_url) as archive, archive.connection() as connection:
                await connection.execute("update api_keys set revoked_at = now() where agent_id is not null")
                for notice in ('{"type":"agent","agent":1}', "no JSON"):
                    await connection.execute("select pg_notify('plaudit', $1)", notice)
            assert (await client.closed()).code == 4401
    assert [entry["event"] for entry in logs if "not understood" in entry["event"]] == [
        "a notice of another server is not understood; is it a newer one?"
    ]
    assert refusal(await outage.vote(key, "s2")) == (401, "unauthorized")


async def test_a_connection_in_doubt_ends_when_its_key_can_not_be_checked_for_too_long(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await outage.stage.key("ann")
    assert _statuses(await outage.vote(key, "s1")) == ["applied"]
    await outage.go()
    async with outage.locked("api_keys"):
        await outage.come()
        await outage.until_settled()
        async with outage.stage.agent(key) as client:
            assert (await client.vote("s2"))["status"] == "applied"
            outage.pass_time(monkeypatch, STALE_FOR + 5)
            assert (await client.closed()).code == 1013


async def test_boards_that_postgres_does_not_tell_hold_nobody_up(outage: Outage) -> None:
    key = await outage.stage.key()
    items = ["s1", "s2", "s3"] * 5
    async with outage.stage.agent(key) as client:
        assert (await client.vote("s1"))["status"] == "applied"
        await outage.go()
        async with outage.locked("boards"):
            await outage.come()
            await outage.until_settled()
            began = time.monotonic()
            await client.send(
                [{"type": "vote", "id": n, "board": "songs", "item": s, "vote": "up"} for n, s in enumerate(items)]
            )
            for number in range(len(items)):
                assert (await client.answer(number))["type"] == "ack"
            unknown = [{"board": f"made-meanwhile-{number}", "item_id": "s1", "vote": "up"} for number in range(15)]
            answered = await outage.votes(key, items, unknown)
            assert [result["status"] for result in answered] == ["unchanged"] * 15 + ["error"] * 15
            assert {result["code"] for result in answered[15:]} == {"overloaded"}
            assert time.monotonic() - began < 3
        # The older answer does not serve for longer than it must.
        began = time.monotonic()
        while (await outage.votes(key, [], unknown))[0]["code"] != "unknown_board":
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("fault", ["refuse", "silence"])
async def test_an_unknown_board_spoils_no_batch_while_postgres_is_away(outage: Outage, fault: str) -> None:
    key = await outage.stage.key()
    assert _statuses(await outage.vote(key, "s1")) == ["applied"]
    await outage.go()
    if fault == "silence":
        outage.proxy.silence()
        outage.proxy.accept()
    unknown = [{"board": board, "item_id": "s1", "vote": "up"} for board in ("nobody-knows", "nor-this")]
    began = time.monotonic()
    answered = await outage.votes(key, ["s2", "s3"], unknown)
    assert time.monotonic() - began < 3
    assert [result["status"] for result in answered] == ["applied", "applied", "error", "error"]
    assert [result["code"] for result in answered[2:]] == ["overloaded"] * 2
    assert all(result["temporary"] for result in answered[2:])
