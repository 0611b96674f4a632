"""What a connection may do before its request is whole, on a real port."""

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from app import front, serve
from app.house import House
from app.proxies import Proxies
from app.shortcut import Shortcut
from tests.app.sockets import WITHIN, OpenStage, Stage

GET = b"GET /health/live HTTP/1.1\r\nHost: plaudit\r\n"


class Wire:
    """A connection that sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(WITHIN):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def code(self) -> tuple[int, str]:
        """Status and code of the next answer, which is problem details."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-content-type-options"] == "nosniff"
        problem = json.loads(body)
        assert problem["status"] == status
        return status, problem["code"]

    async def ended(self) -> bool:
        """Whether the server closes, after nothing more."""
        async with asyncio.timeout(WITHIN):
            return await self._reader.read(1) == b""

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(WITHIN):
            return await self._reader.read()


@asynccontextmanager
async def wire(stage: Stage) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


class Narrow:
    """What the connections of a server have in common whose kernel holds little of what they send."""

    def __init__(self) -> None:
        self.high = 0
        """Bytes that wait for the client above which writing is paused."""
        self.made: list[front._Front] = []
        self.judged = 0

    @property
    def connections(self) -> int:
        return self.made[-1].house.connections


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Narrow:
    """Of all servers of a test."""
    self = Narrow()
    make, judge = front._Front.connection_made, front._Front._judge_reading

    def connection_made(made: front._Front, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport.set_write_buffer_limits(self.high)
        self.made.append(made)
        make(made, transport)

    def judge_reading(made: front._Front) -> None:
        judge(made)
        self.judged += 1

    monkeypatch.setattr(front._Front, "connection_made", connection_made)
    monkeypatch.setattr(front._Front, "_judge_reading", judge_reading)
    return self


@contextmanager
def deaf(stage: Stage, request: bytes) -> Iterator[socket.socket]:
    """A connection that sends a request, and reads nothing but when it is told to."""
    with socket.socket() as bare:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.connect(("127.0.0.1", stage.port))
        bare.sendall(request)
        bare.setblocking(False)
        yield bare


async def works(stage: Stage) -> None:
    """Others are served as ever."""
    async with wire(stage) as other:
        other.send(GET + b"\r\n")
        assert (await other.answer())[0] == 200


async def test_a_request_may_come_in_pieces_and_several_in_one(stage: Stage) -> None:
    async with wire(stage) as client:
        for part in (GET[:10], GET[10:30], GET[30:] + b"X-More: ", b"y" * 60_000, b"\r\n\r\n"):
            client.send(part)
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer())[0] == 200
        for _ in range(100):
            client.send((GET + b"\r\n") * (1 + front.MAX_WAITING))
            for _ in range(1 + front.MAX_WAITING):
                assert (await client.answer())[0] == 200


@pytest.mark.parametrize("times", [2, 3000])
async def test_only_so_many_requests_wait_for_an_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    begun = 0
    begin = Shortcut.on_message_begin

    def on_message_begin(made: Shortcut) -> None:
        nonlocal begun
        begun += 1
        begin(made)

    monkeypatch.setattr(Shortcut, "on_message_begin", on_message_begin)
    async with wire(stage) as client:
        client.send((GET + b"\r\n") * (times + front.MAX_WAITING))
        assert await client.code() == (400, "invalid")
        assert await client.ended()
    # What follows in the same piece is not even looked at.
    assert begun == 2 + front.MAX_WAITING
    await works(stage)
    assert not caplog.records


EVENTS = b"GET /api/v1/boards/songs/events HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("behind", [b"", GET + b"\r\n"], ids=["alone", "with another behind"])
async def test_a_stream_ends_with_its_connection(open_stage: OpenStage, behind: bytes) -> None:
    # With another request behind it nothing is read: that the client left shows when it is written to.
    async with open_stage(heartbeat=0.05) as stage:
        async with wire(stage) as client:
            client.send(EVENTS + behind)
            assert (await client.answer())[0] == 200
            assert len(stage.services.streams) == 1
        await stage.until(lambda: len(stage.services.streams) == 0)


@pytest.mark.parametrize("behind", [b"nonsense\r\n\r\n", (GET + b"\r\n") * (1 + front.MAX_WAITING)])
async def test_no_refusal_breaks_into_an_answer(stage: Stage, caplog: pytest.LogCaptureFixture, behind: bytes) -> None:
    async with wire(stage) as client:
        client.send(EVENTS)
        assert (await client.answer())[0] == 200
        client.send(GET + b"\r\n" + behind)
        assert b"HTTP/1.1" not in await client.rest()
        await stage.until(lambda: len(stage.services.streams) == 0)
    assert not caplog.records


@pytest.mark.parametrize("size", [70_000, 2_000_000])
@pytest.mark.parametrize("line", [b"GET /%s HTTP/1.1\r\n", GET + b"X-More: %s\r\n"])
async def test_a_head_over_its_limit_is_refused(stage: Stage, size: int, line: bytes) -> None:
    async with wire(stage) as client:
        client.send(line % (b"x" * size) + b"\r\n")
        assert await client.code() == (431, "too_large")
        assert await client.ended()
    await works(stage)


async def test_a_head_without_end_is_refused(stage: Stage) -> None:
    async with wire(stage) as client:
        client.send(GET)
        for number in range(6000):
            client.send(b"X-%d: some more of it\r\n" % number)
        assert await client.code() == (431, "too_large")


async def test_a_handshake_over_the_limit_is_refused(stage: Stage) -> None:
    head = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-More: " + b"x" * 70_000
    async with wire(stage) as client:
        client.send(head + b"\r\n\r\n")
        assert await client.code() == (431, "too_large")
        assert await client.ended()
    assert stage.services.gateway.viewers == 0


async def test_who_sends_a_head_byte_by_byte_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_WITHIN", 0.3)
    async with wire(stage) as silent, wire(stage) as client:
        for byte in GET:
            client.send(bytes((byte,)))
            await asyncio.sleep(0.02)
            if client.writer.is_closing() or client._reader._buffer:  # type: ignore[attr-defined]  # asyncio's own
                break
        assert await client.code() == (408, "invalid")
        assert await client.ended()
        assert await silent.ended()
        await works(stage)


async def test_a_body_has_its_time_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "BODY_WITHIN", 0.2)
    key = (await stage.key()).encode()
    async with wire(stage) as client:
        client.send(b"POST /api/v1/vote HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key)
        client.send(b"\r\nContent-Length: 100\r\n\r\n{")
        assert await client.code() == (408, "invalid")
        assert await client.ended()


@pytest.mark.parametrize("head", [b"Content-Length: 90000000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_too_large_a_body_ends_the_connection(stage: Stage, head: bytes) -> None:
    key = (await stage.key()).encode()
    async with wire(stage) as client:
        client.send(b"POST /api/v1/votes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n" % (key, head))
        piece = b"x" * 65_536
        for _ in range(40):
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece) if b"chunked" in head else piece)
        assert await client.code() == (413, "too_large")
        assert await client.ended()
    await works(stage)


@pytest.mark.parametrize("last", [b"HTTP/1.1\r\nConnection: close\r\n", b"HTTP/1.0\r\n"])
async def test_whoever_sends_all_of_a_refused_body_reads_why(stage: Stage, last: bytes) -> None:
    size = 1_100_000
    loop = asyncio.get_running_loop()
    with socket.socket() as bare:
        bare.setblocking(False)
        await loop.sock_connect(bare, ("127.0.0.1", stage.port))
        async with asyncio.timeout(WITHIN):
            await loop.sock_sendall(bare, b"POST /api/v1/votes " + last + b"Content-Length: %d\r\n\r\n" % size)
            await loop.sock_recv(bare, 1)  # refused, while the body is still to come
            await loop.sock_sendall(bare, b"x" * size)
            got = b""
            while piece := await loop.sock_recv(bare, 65_536):
                got += piece
    assert got.startswith(b"TTP/1.1 401 ")
    assert got.endswith(b"}")


async def test_a_little_that_nobody_reads_ends_nothing(stage: Stage) -> None:
    async with wire(stage) as client:
        client.send(b"POST /api/v1/votes HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
        assert await client.code() == (401, "unauthorized")
        client.send(b"x" * 60_000 + GET + b"\r\n")
        assert (await client.answer())[0] == 200


async def test_a_compressed_body_is_not_unpacked(stage: Stage) -> None:
    key = (await stage.key()).encode()
    bomb = gzip.compress(bytes(50_000_000))
    async with wire(stage) as client:
        client.send(b"POST /api/v1/votes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % key)
        client.send(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(bomb), bomb))
        assert await client.code() == (400, "invalid")


async def test_what_is_no_request_is_refused_without_a_word_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 5000):
        async with wire(stage) as client:
            client.send(nonsense)
            assert await client.code() == (400, "invalid")
            assert await client.ended()
    assert not caplog.records


LONG = b"GET /schema/openapi.json HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "high", "keep_alive"),
    [
        pytest.param(b"GET /api/v1/boards/songs/events?top=500 HTTP/1.1\r\nHost: x\r\n\r\n", 0, 75, id="events"),
        pytest.param(LONG + b"\r\n", 0, 75, id="kept alive"),
        # What is little enough not to pause writing would hold up an end all the same.
        pytest.param(LONG + b"\r\n", 2**30, 0.2, id="idle for too long"),
        pytest.param(LONG + b"Connection: close\r\n\r\n", 2**30, 75, id="the last one"),
    ],
)
async def test_an_answer_that_nobody_reads_is_given_up(
    open_stage: OpenStage,
    narrow: Narrow,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request_: bytes,
    high: int,
    keep_alive: float,
) -> None:
    monkeypatch.setattr(front, "READ_WITHIN", 0.2)
    monkeypatch.setattr(serve, "KEEP_ALIVE", keep_alive)
    async with open_stage(heartbeat=0.05) as stage:
        about = {"artist": "Vela", "platform": "suno", "platform_url": "https://suno.example/song"}
        await stage.admin("/songs", [{"id": f"x{n}", "title": "x" * 200, **about} for n in range(500)])
        await stage.until(lambda: narrow.connections == 0)
        narrow.high = high
        with deaf(stage, request_):
            await stage.until(lambda: narrow.connections == 1)
            await stage.until(lambda: narrow.connections == 0 and len(stage.services.streams) == 0)
            await works(stage)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_end_of_what_is_asked_does_not_hold_an_answer_up(
    stage: Stage, narrow: Narrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "READ_WITHIN", 0.2)
    narrow.high = 2**30
    with deaf(stage, LONG + b"\r\n") as client:
        await stage.until(lambda: bool(narrow.made) and narrow.made[-1].transport.get_write_buffer_size() > 0)
        client.shutdown(socket.SHUT_WR)
        await stage.until(lambda: narrow.connections == 0)


async def test_who_wants_to_be_told_to_go_on_is(stage: Stage) -> None:
    body = b'{"item_type":"song","item_id":"s1","vote":"up"}'
    head = b"POST /api/v1/vote HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: Bearer %s\r\n"
    head = head % (await stage.key()).encode() + b"Content-Length: %d\r\n\r\n" % len(body)
    async with wire(stage) as client:
        statuses = []
        for _ in range(2):
            client.send(head)
            assert await client.answer() == (100, {}, b"")
            client.send(body)
            statuses.append((await client.answer())[0])
    assert statuses == [201, 200]


@pytest.mark.parametrize("times", [1, 3])
async def test_whoever_asks_nothing_more_is_answered(stage: Stage, times: int) -> None:
    body = b'{"item_type":"song","item_id":"s1","vote":"up"}'
    head = b"POST /api/v1/vote HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
    ask = head % ((await stage.key()).encode(), len(body)) + body
    async with wire(stage) as client:
        statuses = []
        for _ in range(times - 1):  # from then on it takes the short way
            client.send(ask)
            statuses.append((await client.answer())[0])
        client.send(ask)
        client.writer.write_eof()
        statuses.append((await client.answer())[0])
        assert await client.ended()
    assert statuses == [201, 200, 200][:times]


async def test_whoever_reads_slowly_gets_all_of_an_answer(
    stage: Stage, narrow: Narrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "READ_WITHIN", 0.3)
    with deaf(stage, LONG + b"Connection: close\r\n\r\n") as client:
        got = b""
        await stage.until(lambda: bool(narrow.made) and narrow.made[-1].flow.write_paused)
        for times in range(1, 4):
            got += client.recv(65_536)
            await stage.until(lambda times=times: narrow.judged == times)  # type: ignore[misc]
        async with asyncio.timeout(WITHIN):
            while piece := await asyncio.get_running_loop().sock_recv(client, 65_536):
                got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head.lower()


async def test_no_websocket_begins_behind_an_answer_that_is_not_read(stage: Stage, narrow: Narrow) -> None:
    upgrade = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with deaf(stage, LONG + b"\r\n") as client:
        await stage.until(lambda: bool(narrow.made) and narrow.made[-1].flow is not None)
        front_ = narrow.made[-1]
        await stage.until(lambda: front_.flow.write_paused and not front_._is_answering())
        client.sendall(upgrade)
        await stage.until(lambda: front_._stage == front._GONE)
        assert stage.services.gateway.viewers == 0
        assert front_.transport.get_protocol() is front_


async def test_connections_are_counted_and_limited(open_stage: OpenStage) -> None:
    async with open_stage(connections=3) as stage:
        async with wire(stage) as first:
            idle = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(5)]
            async with wire(stage) as refused:
                assert await refused.code() == (503, "overloaded")
                assert await refused.ended()
            first.send(GET + b"\r\n")
            assert (await first.answer())[0] == 200
            for _, writer in idle:
                writer.close()
                await writer.wait_closed()
        async with stage.viewer(), stage.viewer(), stage.viewer():
            await works(stage)


def test_an_address_has_a_share() -> None:
    house = House(10, 2, Proxies())
    addresses = "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"
    assert [house.enter(address) for address in addresses] == [True, True, False, True, True, True, False]
    for address in addresses:
        house.leave(address)
    assert (house.connections, dict(house.by_address)) == (0, {})
