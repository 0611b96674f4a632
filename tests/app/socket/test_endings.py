"""How connections end: keys that are revoked, clients that stop, servers that do, and too many of them."""

import asyncio
import socket
from typing import Any

import pytest

from app import gateway as gateway_module
from app import websocket as websocket_module
from app.connection import Connection
from channels import room as room_module
from storage.directory import Directory
from tests.app.running import http_client
from tests.app.sockets import Client, ClosedError, Deaf, Message, OpenStage, Stage, opened


async def expelled(client: Client, code: int) -> Message:
    """Reads the bye and the close with this code; answers the bye."""
    closed = await client.closed()
    assert closed.code == code
    assert closed.last is not None
    assert (closed.last["type"], closed.last["code"]) == ("bye", code)
    return closed.last


async def issue(stage: Stage, agent_id: str = "agent") -> tuple[str, str]:
    """A further key of an agent: the path to revoke it, and its secret."""
    key = await stage.admin(f"/agents/{agent_id}/keys")
    return f"/agents/{agent_id}/keys/{key['key_id']}", key["api_key"]


async def test_a_revoked_key_ends_its_connections_here_and_elsewhere(stage: Stage) -> None:
    kept = await stage.key()
    path, secret = await issue(stage)
    async with (
        opened(stage.where) as elsewhere,
        stage.agent(kept) as unharmed,
        stage.agent(secret) as first,
        stage.agent(secret) as second,
        elsewhere.agent(secret) as third,
    ):
        await stage.admin(path, method="DELETE")
        for client in (first, second, third):
            assert (await expelled(client, 4401))["retry_after_ms"] is None
        for server in (stage, elsewhere):
            async with server.connect() as client:
                await client.send({"type": "hello", "id": 1, "token": secret})
                await expelled(client, 4401)
            async with http_client(headers={"authorization": f"Bearer {secret}"}) as http:
                assert (await http.get(f"{server.url}/api/v1/me")).status_code == 401
        assert (await unharmed.vote())["status"] == "applied"


async def test_a_key_that_is_revoked_while_hello_is_answered_is_void(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.key()
    path, secret = await issue(stage)
    quota, find = stage.services.voting.quota_remaining, Directory.find_hash

    async def quota_after_revocation(*args: object) -> object:
        await stage.admin(path, method="DELETE")
        return await quota(*args)  # type: ignore[arg-type]  # as they came

    with monkeypatch.context() as patch:
        patch.setattr(stage.services.voting, "quota_remaining", quota_after_revocation)
        async with stage.connect() as client:
            await client.send({"type": "hello", "id": 1, "token": secret})
            await expelled(client, 4401)
    path, secret = await issue(stage)

    async def found_before_revocation(directory: Directory, digest: bytes) -> object:
        found = await find(directory, digest)
        if not revoked.is_set():
            revoked.set()
            await stage.admin(path, method="DELETE")
        return found

    revoked = asyncio.Event()
    # Loaded before, so that the admin's own key is not looked up by what stands in for the look-up.
    await stage.ranking()
    monkeypatch.setattr(Directory, "find_hash", found_before_revocation)
    async with stage.connect() as client:
        await client.send({"type": "hello", "id": 1, "token": secret})
        await expelled(client, 4401)


async def test_too_many_connections(open_stage: OpenStage) -> None:
    async with open_stage(connections=2) as stage, stage.viewer() as client, stage.connect():
        async with stage.connect() as third:
            assert (await expelled(third, 1013))["retry_after_ms"] > 0
        assert (await client.ask("ping"))["type"] == "pong"


async def test_too_many_connections_from_one_address(open_stage: OpenStage) -> None:
    async with open_stage(connections_per_address=1) as stage:
        async with stage.viewer(), stage.connect() as second:
            await expelled(second, 1013)
        await stage.until(lambda: not stage.services.gateway.viewers)
        async with stage.viewer() as client:
            assert (await client.ask("ping"))["type"] == "pong"


async def test_a_server_that_stops_answers_what_it_read_and_says_goodbye(stage: Stage) -> None:
    about = {"title": "X", "artist": "Y", "platform": "suno", "platform_url": "https://suno.example/song"}
    await stage.admin("/songs", [{"id": f"x{n}", **about} for n in range(900)])
    key = await stage.key()
    votes = [{"type": "vote", "id": n, "board": "songs", "item": f"x{n}", "vote": "up"} for n in range(900)]
    async with (
        opened(stage.where) as leaving,
        leaving.agent(key) as agent,
        leaving.viewer() as viewer,
        leaving.connect() as nobody,
    ):
        await viewer.ask("subscribe", board="songs", items=["s1"])
        batcher = leaving.services.batchers[stage.where.tenant.shard]
        await agent.send(votes)
        await leaving.until(lambda: batcher.waiting > 0)
        leaving.stop.set()
        acks = [await agent.next() for _ in range(900)]
        assert {(ack["type"], ack.get("status")) for ack in acks} == {("ack", "applied")}
        for client in (agent, viewer, nobody):
            assert (await expelled(client, 1012))["retry_after_ms"] > 0
    ranking = await stage.ranking("songs?limit=1000")
    assert sum(entry["score"] for entry in ranking["entries"]) == 900


async def test_while_a_server_stops_nothing_more_is_read_and_nobody_is_let_in(stage: Stage) -> None:
    async with stage.viewer() as client:
        await stage.services.gateway.quiesce()
        await client.send({"type": "ping", "id": "late"})
        async with stage.connect() as late:
            await expelled(late, 1012)
        stage.stop.set()
        assert (await expelled(client, 1012))["code"] == 1012


async def test_a_client_that_answers_no_ping_is_dropped(open_stage: OpenStage) -> None:
    async with open_stage(heartbeat=0.1) as stage, stage.viewer() as alive, Deaf.connect(stage) as half_open:
        half_open.send({"type": "hello", "id": 1})
        await stage.until(lambda: stage.services.gateway.viewers == 2)
        await stage.until(lambda: stage.services.gateway.viewers == 1)
        # One that answers lives on, though it says nothing.
        assert alive.connection.protocol.close_code is None
        assert (await alive.ask("ping"))["type"] == "pong"


def connection_of(stage: Stage, deaf: Deaf) -> Connection:
    """The server's end of a connection, over a buffer of the system's that is soon full."""
    (connection,) = [
        found
        for found in stage.services.gateway._connections
        if found.transport.get_extra_info("peername")[1] == deaf.port
    ]
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return connection


async def stop_reading(stage: Stage, deaf: Deaf) -> Connection:
    """Sends so much that calls for an answer, and reads none, that the server holds it for blocked."""
    connection = connection_of(stage, deaf)
    deaf.send([{"type": "ping", "id": n} for n in range(1000)])
    await stage.until(lambda: connection.blocked)
    return connection


@pytest.mark.parametrize("memory", [room_module.MEMORY, 1])
async def test_a_client_that_does_not_read_is_passed_over_and_brought_up_to_date(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 8192)
    monkeypatch.setattr(room_module, "MEMORY", memory)
    async with (
        open_stage(tick_rate=200) as stage,
        Deaf.connect(stage) as deaf,
        stage.viewer() as viewer,
        stage.agent() as agent,
    ):
        deaf.send([{"type": "hello", "id": 1}, {"type": "subscribe", "id": 2, "board": "songs"}])
        snapshot = await deaf.next_of("snapshot")
        await stop_reading(stage, deaf)
        await viewer.ask("subscribe", board="songs")
        for item in ("s1", "s2", "s3"):
            await agent.vote(item)
            last = await viewer.next()  # one that is blocked holds up nobody
        assert last["entries"][0]["item"] == "s3"
        message = await deaf.next_of("delta", "snapshot")
        assert (message["version"], message["digest"]) == (last["version"], last["digest"])
        if memory == 1:
            assert (message["type"], message["id"], message["sub"]) == ("snapshot", None, snapshot["sub"])
        else:
            assert (message["type"], message["prev"]) == ("delta", snapshot["version"])
            assert {entry["item"]: entry["score"] for entry in message["entries"]} == {"s1": 1, "s2": 1, "s3": 1}
        # From here on it is one of many again, and what it sends is read.
        await agent.vote("s1", "down")
        deaf.send({"type": "ping", "id": "last"})
        assert (await deaf.next_of("pong"))["id"] == "last"


async def test_a_client_that_stopped_reading_is_sent_away(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 8192)
    monkeypatch.setattr(gateway_module, "STALLED_AFTER", 0.1)
    async with open_stage() as stage, Deaf.connect(stage) as deaf:
        deaf.send({"type": "hello", "id": 1})
        await deaf.next_of("welcome")
        connection = await stop_reading(stage, deaf)
        await stage.until(lambda: connection._closing)
        assert (await deaf.next_of("bye"))["code"] == 4409
        with pytest.raises(ClosedError) as closed:
            await deaf.next()
        assert closed.value.code == 4409


@pytest.mark.parametrize("goodbye", [True, False])
async def test_one_that_never_reads_its_goodbye_is_cut_off(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch, goodbye: bool
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 8192)
    monkeypatch.setattr(websocket_module, "_CLOSE_WITHIN", 0.1)
    async with open_stage() as stage, Deaf.connect(stage) as deaf:
        deaf.send({"type": "hello", "id": 1})
        await deaf.next_of("welcome")
        if goodbye:
            # Read by the server before it stops reading, since all of it comes at once.
            deaf.send([{"type": "ping", "id": n} for n in range(1000)], close=True)
        else:
            (await stop_reading(stage, deaf)).expel(4409, "no reader")
        await stage.until(lambda: not stage.services.gateway._connections)


class Recorded:
    """A transport that remembers what is written to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.written: list[bytes] = []
        self._transport = transport

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_nothing_is_written_to_a_client_that_has_said_its_last(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end of stream is read, and its connection not yet lost, when a board changes that it watches."""
    async with stage.viewer() as leaver, stage.viewer() as viewer, stage.agent() as agent:
        (connection,) = [
            found
            for found in stage.services.gateway._connections
            if found.transport.get_extra_info("peername") == leaver.connection.local_address
        ]
        recorded = Recorded(connection.transport)
        monkeypatch.setattr(connection, "transport", recorded)
        for client in (leaver, viewer):
            assert (await client.ask("subscribe", board="songs"))["type"] == "snapshot"
        recorded.written.clear()
        await agent.vote("s1")
        assert (await viewer.next())["type"] == "delta"
        assert len(recorded.written) == 1
        connection.eof_received()
        await agent.vote("s2")
        assert (await viewer.next())["type"] == "delta"
        assert len(recorded.written) == 1


def ask_for_much(deaf: Deaf) -> list[Message]:
    """Sends small messages that ask for much, all at once; answers them."""
    asked: list[Message] = []
    for sub in range(1, 201):
        asked.append({"type": "subscribe", "id": 2 * sub, "board": "songs"})
        asked.append({"type": "unsubscribe", "id": 2 * sub + 1, "sub": sub})
    deaf.send([{"type": "hello", "id": 1}, *asked])
    return asked


async def test_what_is_asked_for_waits_until_the_client_reads(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 8192)
    async with open_stage() as stage, Deaf.connect(stage) as deaf:
        connection = connection_of(stage, deaf)
        asked = ask_for_much(deaf)
        await stage.until(lambda: connection.blocked)
        assert (await stage.ranking())["entries"]  # the loop has gone round, and more was not written
        assert connection.transport.get_write_buffer_size() < 2 * 8192
        answers = [await deaf.next() for _ in range(1 + len(asked))]
        assert [answer["id"] for answer in answers] == [1, *(message["id"] for message in asked)]
        assert {answer["type"] for answer in answers} == {"welcome", "snapshot", "ack"}
        deaf.send({"type": "ping", "id": "last"})
        assert (await deaf.next())["id"] == "last"


async def test_what_waits_for_a_reader_holds_up_no_ending(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 8192)
    monkeypatch.setattr(gateway_module, "_QUIET_WITHIN", 3600.0)
    async with open_stage() as stage, Deaf.connect(stage) as deaf, Deaf.connect(stage) as other:
        first, second = connection_of(stage, deaf), connection_of(stage, other)
        for client in (deaf, other):
            ask_for_much(client)
        await stage.until(lambda: first._reader is not None and second._reader is not None)
        first.expel(4409, "no reader")
        await stage.until(lambda: first._work is None)
        assert (await deaf.next_of("bye"))["code"] == 4409
        stage.stop.set()
        assert (await other.next_of("bye"))["code"] == 1012
