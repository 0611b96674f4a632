"""The short way gives the answers of the long one, and is closed as soon as it might lead elsewhere."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app import express, http, serve
from tests.app.sockets import OpenStage, Stage
from tests.app.test_front import Wire, wire

ORIGIN = "https://songs.example"


class Ways:
    """Counts the requests that go the long way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.long = 0
        proper = http._Application.__call__

        async def counted(application: Any, scope: Any, receive: Any, send: Any) -> None:
            self.long += 1
            await proper(application, scope, receive, send)

        monkeypatch.setattr(http._Application, "__call__", counted)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: plaudit", *headers, "", ""]).encode()


def post(key: str, vote: dict[str, Any] | bytes, *headers: str) -> bytes:
    body = vote if isinstance(vote, bytes) else json.dumps(vote).encode()
    head = ["POST /api/v1/vote HTTP/1.1", "Host: plaudit", f"Authorization: Bearer {key}", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def vote(item: str = "s1", value: str = "up", **more: Any) -> dict[str, Any]:
    return {"board": "songs", "item_id": item, "vote": value, **more}


async def ask(client: Wire, request: bytes) -> tuple[int, dict[str, str], bytes]:
    client.send(request)
    return await client.answer()


@asynccontextmanager
async def taught(stage: Stage, ways: Ways, request: bytes) -> AsyncIterator[Wire]:
    """A connection on which a request like this one takes the short way, as the second one has shown."""
    async with wire(stage) as client:
        await ask(client, request)
        ways.long = 0
        await ask(client, request)
        assert ways.long == 0
        yield client


@pytest.mark.parametrize("origins", [(), (ORIGIN, "https://other.example")])
@pytest.mark.parametrize("asks", [(), (f"Origin: {ORIGIN}",), ("Origin: https://evil.example",)])
async def test_both_ways_give_the_same_answer(
    open_stage: OpenStage, ways: Ways, origins: tuple[str, ...], asks: tuple[str, ...]
) -> None:
    async with open_stage(origins=origins) as stage:
        free, pro = await stage.key("f", "free"), await stage.key("p", "pro")
        state = await stage.ranking()
        tag = f'"{state["epoch"]}-{state["version"]}"'
        requests = {
            "read": get("/api/v1/boards/songs?limit=2", *asks),
            "read by an agent": get("/api/v1/boards/songs", f"Authorization: Bearer {pro}", *asks),
            "daily": get("/api/v1/top/daily?item_type=song", *asks),
            "not modified": get("/api/v1/boards/songs?limit=2", f"If-None-Match: {tag}", *asks),
        }
        votes = {
            "vote": post(free, vote(), *asks),
            "unknown item": post(pro, vote("s9"), *asks),
            "another ballot": post(pro, vote(value="down"), *asks),
        }
        async with wire(stage) as client:
            await ask(client, post(pro, vote()))
            for name, request in (requests | votes).items():
                if name in votes:
                    await ask(client, request)  # from now on it changes nothing
                fresh = request.replace(b"Host: plaudit", b"Host: PLAUDIT")
                ways.long = 0
                longer = await ask(client, fresh)
                assert ways.long == 1, name
                shorter = await ask(client, fresh)
                assert ways.long == 1, name
                for _, headers, _ in (longer, shorter):
                    del headers["date"]
                    headers["ratelimit"] = headers.get("ratelimit", "").partition(";t=")[0]  # seconds pass
                assert longer == shorter, name


async def test_a_ranking_moves_on_the_short_way_too(stage: Stage, ways: Ways) -> None:
    key = await stage.key()
    read = get("/api/v1/boards/songs")
    async with taught(stage, ways, read) as reader, wire(stage) as voter:
        for item in ("s1", "s2", "s3"):
            status, _, _ = await ask(voter, post(key, vote(item)))
            assert status == 201
            _, _, body = await ask(reader, read)
            assert {entry["item_id"] for entry in json.loads(body)["entries"] if entry["score"] == 1} >= {item}
        assert (await stage.ranking())["entries"] == json.loads(body)["entries"]


async def test_a_vote_that_can_not_be_read_goes_the_long_way(stage: Stage, ways: Ways) -> None:
    request = post(await stage.key(), vote())
    async with taught(stage, ways, request) as client:
        for body in (b"{", b'{"board":"songs","item_id":7}', b"\xff\xfe", json.dumps(vote(agent_id="x")).encode()):
            wanted = request.partition(b"\r\n\r\n")[2]
            bad = request.replace(wanted, body[: len(wanted)].ljust(len(wanted)))
            client.send(bad)
            assert await client.code() == (400, "invalid")
        unknown = request.replace(b'"songs"', b'"sings"')
        client.send(unknown)
        assert await client.code() == (404, "unknown_board")
        assert ways.long == 5
        assert (await ask(client, request))[0] == 200


async def test_a_revoked_key_is_void_on_the_short_way_at_once(stage: Stage, ways: Ways) -> None:
    made = await stage.admin("/agents", {"agent_id": "leaver", "tier": "pro"})
    request, read = (
        post(made["api_key"], vote()),
        get("/api/v1/boards/songs", f"Authorization: Bearer {made['api_key']}"),
    )
    async with taught(stage, ways, request) as client, taught(stage, ways, read) as reader:
        await stage.admin(f"/agents/leaver/keys/{made['key_id']}", method="DELETE")
        for connection, again in ((client, request), (reader, read)):
            connection.send(again)
            assert await connection.code() == (401, "unauthorized")


async def test_what_is_learned_on_one_connection_serves_another(stage: Stage, ways: Ways) -> None:
    request = post(await stage.key(), vote())
    async with taught(stage, ways, request), wire(stage) as other:
        assert (await ask(other, request))[0] == 200
        assert ways.long == 0


async def test_answers_come_in_the_order_of_their_requests(stage: Stage, ways: Ways) -> None:
    key = await stage.key()
    await stage.board("moods", ballots_change=True)
    up, down = (post(key, vote(value=value) | {"board": "moods"}) for value in ("up", "down"))
    read = get("/api/v1/boards/moods")
    async with taught(stage, ways, read) as client:
        for request in (up, down):
            await ask(client, request)
        for together in (True, False):
            requests = [up, read, down, up, get("/health/live"), read, down]
            if together:
                client.send(b"".join(requests))
            else:
                for request in requests:
                    client.send(request)
                    await asyncio.sleep(0)
            answers = [await client.answer() for _ in requests]
            bodies = [json.loads(body) for _, _, body in answers]
            assert all(status < 300 for status, _, _ in answers)
            assert ["entries" in body for body in bodies] == [False, True, False, False, False, True, False]
            assert ["score" in body for body in bodies] == [True, False, True, True, False, False, True]


async def test_a_request_in_pieces_and_one_in_chunks_go_the_long_way(stage: Stage, ways: Ways) -> None:
    request = post(await stage.key(), vote())
    async with taught(stage, ways, request) as client:
        for place in (10, len(request) - 5):
            client.send(request[:place])
            await client.writer.drain()
            while not ways.long:
                await asyncio.sleep(0)
                if place == 10:
                    break
            client.send(request[place:])
            assert (await client.answer())[0] == 200
        head, _, body = request.partition(b"\r\n\r\n")
        head = head.rpartition(b"\r\n")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        ways.long = 0
        for size in (len(body), 5, 1):
            pieces = [body[start : start + size] for start in range(0, len(body), size)]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            assert (await ask(client, head + chunks + b"0\r\n\r\n"))[0] == 200
        assert ways.long == 3


async def test_a_client_that_leaves_has_voted(stage: Stage, ways: Ways) -> None:
    request = post(await stage.key(), vote())
    async with taught(stage, ways, request), wire(stage) as other:
        assert (await ask(other, request.replace(b'"s1"', b'"s2"')))[0] == 201
        other.send(request.replace(b'"s1"', b'"s3"'))
    async with taught(stage, ways, request) as client, asyncio.timeout(5):
        while (await stage.ranking())["entries"][2]["score"] != 1:
            assert (await ask(client, request))[0] == 200


async def test_an_idle_connection_is_closed_but_not_a_busy_one(
    open_stage: OpenStage, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "KEEP_ALIVE", 0.3)
    read = get("/api/v1/boards/songs")
    async with open_stage() as stage, taught(stage, ways, read) as client, wire(stage) as fresh:
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            for connection in (client, fresh):
                assert (await ask(connection, read))[0] == 200
        assert ways.long == 0
        assert await client.ended()
        assert await fresh.ended()


def test_only_so_many_heads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "HEADS", 2)
    lanes = express.Express(lambda: 0)

    def plan(body: bytes, respond: express.Respond) -> bool:
        del body, respond
        return False

    for head in (b"a", b"b", b"c", b"x" * (express.LONGEST + 1)):
        lanes.learn(head, 0, {"plaudit.plan": (plan, 0), "headers": []})
    assert [head for head in (b"a", b"b", b"c") if lanes.find(head)] == [b"b", b"c"]
    assert lanes.find(b"x" * (express.LONGEST + 1)) is None


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: plaudit\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


async def test_what_comes_behind_a_vote_harms_nobody_else(stage: Stage, ways: Ways) -> None:
    request = post(await stage.key("attacker"), vote())
    async with taught(stage, ways, request), stage.agent() as other:
        for n in range(10):
            async with wire(stage) as client:
                client.send(request)
                await asyncio.sleep(0)
                client.send(UPGRADE + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n")
                answer = await other.vote("s2")
                assert answer.get("status") == ("unchanged" if n else "applied")
                assert (await client.answer())[0] in {200, 400}


@pytest.mark.parametrize(
    "more",
    [
        b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        b"Origin: http://plaudit\r\nHost: other\r\n",
        b"X-Long: " + b"x" * 10_000 + b"\r\n",
        b"X-More: 1\r\n" * 200,
        b"Content-Length: 5\r\n",
    ],
)
async def test_a_handshake_that_can_not_be_is_answered_and_over(stage: Stage, more: bytes) -> None:
    async with wire(stage) as client:
        client.send(UPGRADE + more + b"\r\n")
        assert (await client.answer())[0] == 400
        assert await client.ended()
    assert stage.services.gateway.viewers == 0


async def test_empty_lines_before_a_request_teach_nothing(stage: Stage) -> None:
    length = 300
    attack = get("/api/v1/boards/songs?limit=2", f"Content-Length: {length:03}")
    attack += b" " * (length - len(attack))
    other = get("/api/v1/me", "X-Fill: ")
    other = other[:-4] + b"x" * (length - len(other)) + b"\r\n\r\n"
    assert len(other) == len(attack)
    for request, status in ((attack, 200), (other, 401)):
        for _ in range(2):
            async with wire(stage) as client:
                client.send(b"\r\n\r\n" + request)
                assert (await client.answer())[0] == status
