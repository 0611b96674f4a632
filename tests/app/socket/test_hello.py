"""The way in: the handshake, subprotocols, who is there, and what ends a connection before it began."""

import time
from typing import Any

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from app import connection as connection_module
from tests.app.sockets import JSON, MSGPACK, Client, OpenStage, Stage

both = pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])


async def refusal(stage: Stage, subprotocol: str | None = None, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with stage.connect(subprotocol, **headers):
            pass
    return caught.value.response.status_code


async def expelled(client: Client, code: int, *, retry: bool) -> None:
    """The server says bye and closes with this code."""
    closed = await client.closed()
    assert closed.code == code
    bye = closed.last
    assert bye is not None
    assert (bye["type"], bye["code"], bye["retry_after_ms"] is not None) == ("bye", code, retry)
    assert bye["message"]


@both
async def test_an_agent_is_welcome(stage: Stage, subprotocol: str) -> None:
    key = await stage.key("night-owl", "pro")
    async with stage.connect(subprotocol) as client:
        before = time.time() * 1000
        welcome = await client.ask("hello", id="me", token=key, later="ignored")
        assert (welcome["type"], welcome["agent_id"], welcome["tier"]) == ("welcome", "night-owl", "pro")
        assert (welcome["quota_remaining"], welcome["heartbeat"]) == (1000, 25)
        assert before - 1 <= welcome["server_time"] <= time.time() * 1000 + 1
        assert welcome["session"]
        async with stage.agent(key) as other:
            assert other.last is not None
            assert other.last["session"] != welcome["session"]


async def test_quota_remaining_tells_of_what_was_used_today(stage: Stage) -> None:
    key = await stage.key("a", "free")
    async with stage.agent(key) as client:
        await client.vote()
    async with stage.agent(key) as client:
        assert client.last is not None
        assert client.last["quota_remaining"] == 99


async def test_a_viewer_is_welcome(stage: Stage) -> None:
    async with stage.viewer() as client:
        assert client.last is not None
        assert {name: client.last[name] for name in ("agent_id", "tier", "quota_remaining")} == {
            "agent_id": None,
            "tier": None,
            "quota_remaining": None,
        }


async def test_the_subprotocol_is_the_clients_first_that_is_known(stage: Stage) -> None:
    for offered, chosen in [(None, None), (JSON, JSON), (f"graphql-ws, {MSGPACK}, {JSON}", MSGPACK)]:
        async with stage.connect(offered) as client:
            assert client.connection.subprotocol == chosen
            assert (await client.ask("hello"))["type"] == "welcome"


async def test_unknown_subprotocols_are_refused(stage: Stage) -> None:
    assert await refusal(stage, "graphql-ws") == 400
    assert await refusal(stage, "plaudit.v2.json") == 400


async def test_pages_of_other_origins_are_refused(open_stage: OpenStage) -> None:
    async with open_stage(origins=("https://friend.example",)) as stage:
        for origin in ("https://foe.example", "null", "http://[", "http://127.0.0.1"):
            assert await refusal(stage, Origin=origin) == 403
        for origin in (stage.url, "https://friend.example"):
            async with stage.connect(Origin=origin) as client:
                assert (await client.ask("hello"))["type"] == "welcome"


async def test_no_websocket_is_anywhere_else(stage: Stage) -> None:
    stage.ws += "/further"
    assert await refusal(stage) == 404


async def test_the_authorization_header_serves_instead_of_a_token(stage: Stage) -> None:
    first, second = await stage.key("first"), await stage.key("second")
    async with stage.connect(Authorization=f"Bearer {first}") as client:
        assert (await client.ask("hello"))["agent_id"] == "first"
        assert (await client.vote())["status"] == "applied"
    async with stage.connect(Authorization=f"bearer {first}") as client:
        assert (await client.ask("hello", token=second))["agent_id"] == "second"
    async with stage.connect(Authorization="Bearer nonsense") as client:
        await client.send({"type": "hello", "id": 1})
        await expelled(client, 4401, retry=False)


async def test_a_bad_token_ends_the_connection(stage: Stage) -> None:
    for token in ("nonsense", "", "é\u0000"):
        async with stage.connect() as client:
            await client.send({"type": "hello", "id": 1, "token": token})
            await expelled(client, 4401, retry=False)


async def test_the_admins_key_watches_its_tenant_and_does_not_vote(stage: Stage) -> None:
    async with stage.connect() as client:
        assert (await client.ask("hello", token=stage.where.admin_key))["agent_id"] is None
        assert (await client.ask("subscribe", board="songs"))["type"] == "snapshot"
        assert (await client.vote())["code"] == "unauthorized"


async def test_a_viewer_may_name_a_tenant(stage: Stage) -> None:
    await stage.tenant("guest")
    async with stage.connect() as client:
        for unknown in ("nobody", "", "nul\u0000"):
            error = await client.ask("hello", tenant=unknown)
            assert (error["type"], error["code"]) == ("error", "unknown_board")
        assert (await client.ask("hello", tenant="guest"))["type"] == "welcome"
        assert (await client.ask("subscribe", board="songs"))["entries"] == []


async def test_an_agents_key_says_whose_it_is(stage: Stage) -> None:
    key = await stage.key()
    await stage.tenant("guest")
    async with stage.connect() as client:
        assert (await client.ask("hello", token=key, tenant="guest"))["type"] == "welcome"
        assert (await client.vote())["status"] == "applied"


async def test_who_says_no_hello_is_sent_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HELLO_WITHIN", 0.05)
    async with stage.connect() as client:
        await expelled(client, 4408, retry=True)
    async with stage.connect() as client:
        error = await client.ask("hello", token=7)
        assert (error["type"], error["code"]) == ("error", "invalid")
        await expelled(client, 4408, retry=True)


async def test_who_said_hello_may_be_silent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HELLO_WITHIN", 0.2)
    async with stage.viewer() as client:
        async with stage.connect() as other:
            await expelled(other, 4408, retry=True)
        assert (await client.ask("ping"))["type"] == "pong"


async def test_hello_is_said_once(stage: Stage) -> None:
    async with stage.viewer() as client:
        assert (await client.ask("hello"))["code"] == "invalid"
        assert (await client.ask("ping"))["type"] == "pong"


async def test_nothing_comes_before_hello(stage: Stage) -> None:
    early: list[Any] = [
        {"type": "ping", "id": 1},
        {"type": "vote", "id": 1, "board": "songs", "item": "s1", "vote": "up"},
        {"type": "vote", "id": 1},
        [{"type": "subscribe", "id": 1, "board": "songs"}, {"type": "hello", "id": 2}],
    ]
    for first in early:
        async with stage.connect() as client:
            await client.send(first)
            await expelled(client, 4400, retry=False)


NOT_MESSAGES: list[bytes | str] = [
    "{", "", "7", "[]", "[7]", "null", "{}", '{"id": 1}', '{"type": "dance", "id": 1}', '{"type": 7, "id": 1}',
    '[{"type": "ping", "id": 1}, {"type": "dance", "id": 2}]', "[" * 10_000, '{"type": "ping", "id": 1} x',
    msgspec.msgpack.encode({"type": "ping", "id": 1}),
]  # fmt: skip


NOT_PACKED: list[bytes | str] = [b"", b"\xc1", b"\x93\x01\x02", b"\x90", '{"type": "ping", "id": 1}']


async def test_what_is_no_message_ends_the_connection(stage: Stage) -> None:
    for subprotocol, data in [*((JSON, data) for data in NOT_MESSAGES), *((MSGPACK, data) for data in NOT_PACKED)]:
        for greeted in (False, True):
            async with stage.connect(subprotocol) as client:
                if greeted:
                    await client.ask("hello")
                await client.connection.send(data)
                await expelled(client, 4400, retry=False)


@both
async def test_a_frame_over_the_limit_ends_the_connection_at_once(stage: Stage, subprotocol: str) -> None:
    async with stage.viewer(subprotocol) as client:
        comment = "x" * 65_000
        error = await client.vote(comment=comment)
        assert error["code"] == "invalid"
        began = time.monotonic()
        await client.send({"type": "ping", "id": 1, "more": "x" * 65_536})
        await expelled(client, 1009, retry=True)
        assert time.monotonic() - began < 2


async def test_a_frame_in_pieces_is_one_message(stage: Stage) -> None:
    async with stage.viewer() as client:
        await client.connection.send(iter(['{"type": "pi', 'ng", "id"', ": 7}"]))
        assert (await client.answer(7))["type"] == "pong"


async def test_a_client_that_says_goodbye_is_answered(stage: Stage) -> None:
    async with stage.viewer() as client:
        await client.connection.close(1000)
        assert client.connection.close_code == 1000
    await stage.until(lambda: stage.services.gateway.viewers == 0)
