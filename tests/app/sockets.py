"""Whole servers with something to vote on, and websocket clients that show every message as it came."""

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from app.tenants import add_tenant
from storage.archive import Archive
from storage.directory import Directory
from tests.app.running import Installation, Running, http_client, running

WITHIN = 10.0
"""Seconds after which something that should have come counts as not coming."""

JSON, MSGPACK = "plaudit.v1.json", "plaudit.v1.msgpack"

Message = dict[str, Any]


class ClosedError(Exception):
    """The server closed the connection; `last` is the message before."""

    def __init__(self, code: int | None, last: Message | None) -> None:
        super().__init__(f"{code} after {last}")
        self.code = code
        self.last = last


class Client:
    """A connection, with no more sense than the contract's page gives it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.binary = connection.subprotocol == MSGPACK
        self.last: Message | None = None
        self._names = itertools.count(1)
        self._read: deque[Message] = deque()

    async def send(self, message: Message | Sequence[Message]) -> None:
        """Sends one frame."""
        if self.binary:
            await self.connection.send(msgspec.msgpack.encode(message))
        else:
            await self.connection.send(msgspec.json.encode(message).decode())

    async def next(self) -> Message:
        """The next message. Raises ClosedError."""
        if not self._read:
            self._read.extend(await self._frame())
        self.last = self._read.popleft()
        return self.last

    async def _frame(self) -> list[Message]:
        try:
            data = await asyncio.wait_for(self.connection.recv(), WITHIN)
        except ConnectionClosed as closed:
            raise ClosedError(closed.rcvd.code if closed.rcvd else None, self.last) from None
        assert isinstance(data, bytes) is self.binary
        found: Message | list[Message]
        found = msgspec.msgpack.decode(data) if isinstance(data, bytes) else msgspec.json.decode(data)
        return found if isinstance(found, list) else [found]

    async def ask(self, type_: str, **fields: Any) -> Message:
        """Sends a message and answers its answer; what comes before is kept for later."""
        name = fields.pop("id", next(self._names))
        await self.send({"type": type_, "id": name, **fields})
        return await self.answer(name)

    async def answer(self, name: str | int) -> Message:
        """The answer to a message, wherever it stands among others."""
        passed: list[Message] = []
        while (message := await self.next()).get("id") != name:
            passed.append(message)
        self._read.extendleft(reversed(passed))
        return message

    async def vote(self, item: str = "s1", vote: str = "up", board: str = "songs", **more: Any) -> Message:
        """Casts a vote."""
        return await self.ask("vote", board=board, item=item, vote=vote, **more)

    async def closed(self) -> ClosedError:
        """Reads until the server closes."""
        while True:
            try:
                await self.next()
            except ClosedError as closed:
                return closed


class Stage:
    """A server with the songs `s1`, `s2`, `s3`, and calls of its tenant's admin."""

    def __init__(self, server: Running, where: Installation) -> None:
        self.services = server.services
        self.url = server.url
        self.port = server.port
        self.stop = server.stop
        self.ws = f"ws://127.0.0.1:{server.port}/ws"
        self.where = where

    async def admin(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """A call of the admin that has to succeed."""
        async with http_client(base_url=self.url + "/api/v1") as http:
            headers = {"authorization": f"Bearer {self.where.admin_key}"}
            response = await http.request(method, path, json=body, headers=headers)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def ranking(self, board: str = "songs") -> dict[str, Any]:
        """A board as HTTP shows it."""
        async with http_client() as http:
            found: dict[str, Any] = (await http.get(f"{self.url}/api/v1/boards/{board}")).raise_for_status().json()
        return found

    async def furnish(self) -> None:
        about = {"artist": "Vela", "platform": "suno", "platform_url": "https://suno.example/song"}
        await self.admin("/songs", [{"id": name, "title": f"Song {name}", **about} for name in ("s1", "s2", "s3")])

    async def key(self, name: str = "agent", tier: str = "enterprise") -> str:
        """A new agent's key."""
        made = await self.admin("/agents", {"agent_id": name, "tier": tier})
        key: str = made["api_key"]
        return key

    async def board(self, slug: str, kind: str = "updown", **rules: Any) -> None:
        """A board with the song `s1` on it."""
        bounds = {"min": 1, "max": 12} if kind == "points" else {}
        board = {"slug": slug, "title": slug, "item_type": "song", "ballot": {"kind": kind, **bounds}, **rules}
        await self.admin("/boards", board)
        await self.admin(f"/boards/{slug}/items", {"item_id": "s1"})

    async def tenant(self, slug: str) -> str:
        """A further tenant's admin key, made as `plaudit tenant add` does."""
        async with Archive(self.where.database_url) as archive:
            tenant, key = await add_tenant(Directory(archive), slug, self.where.settings.shards)
        await self.services.recovery.ensure(tenant.shard)
        return key

    @asynccontextmanager
    async def connect(
        self, subprotocol: str | None = None, compression: str | None = None, **headers: str
    ) -> AsyncIterator[Client]:
        """A connection before its hello; several subprotocols have commas between them."""
        offered = None if subprotocol is None else [Subprotocol(name) for name in subprotocol.split(", ")]
        async with connect(
            self.ws, subprotocols=offered, additional_headers=headers, compression=compression, ping_interval=None,
            max_size=None,
        ) as connection:  # fmt: skip
            yield Client(connection)

    @asynccontextmanager
    async def agent(self, key: str | None = None, subprotocol: str | None = None) -> AsyncIterator[Client]:
        """An agent's connection; a new agent's where no key is given."""
        token = key or await self.key()
        async with self.connect(subprotocol) as client:
            assert (await client.ask("hello", token=token))["type"] == "welcome"
            yield client

    @asynccontextmanager
    async def viewer(self, subprotocol: str | None = None) -> AsyncIterator[Client]:
        """A viewer's connection."""
        async with self.connect(subprotocol) as client:
            assert (await client.ask("hello"))["type"] == "welcome"
            yield client

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits for something inside the server that nobody outside is told of."""
        async with asyncio.timeout(WITHIN):
            while not done():
                await asyncio.sleep(0.005)


OpenStage = Callable[..., AbstractAsyncContextManager[Stage]]


@asynccontextmanager
async def opened(where: Installation) -> AsyncIterator[Stage]:
    """A server that is furnished by whoever comes first."""
    async with running(where) as server:
        stage = Stage(server, where)
        if not (await stage.ranking())["entries"]:
            await stage.furnish()
        yield stage


class Deaf:
    """A connection that reads nothing but when it is told to, over buffers that are soon full."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ClientProtocol) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self.port = writer.get_extra_info("sockname")[1]
        self._read: deque[Message] = deque()

    @classmethod
    @asynccontextmanager
    async def connect(cls, stage: Stage) -> AsyncIterator["Deaf"]:
        """After its handshake."""
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.setblocking(False)
        await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", stage.port))
        reader, writer = await asyncio.open_connection(sock=bare, limit=1024)
        self = cls(reader, writer, ClientProtocol(parse_uri(stage.ws), max_size=None))
        try:
            self._protocol.send_request(self._protocol.connect())
            self._flush()
            while not self._protocol.events_received():
                await self._feed()
            yield self
        finally:
            writer.transport.abort()

    def send(self, message: Message | Sequence[Message], *, close: bool = False) -> None:
        """Sends one frame without waiting, and perhaps a goodbye with it."""
        self._protocol.send_text(msgspec.json.encode(message))
        if close:
            self._protocol.send_close(1000)
        self._flush()

    async def next(self) -> Message:
        """The next message. Raises ClosedError."""
        while not self._read:
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode == 1:
                    found = msgspec.json.decode(event.data)
                    self._read.extend(found if isinstance(found, list) else [found])
            if not self._read:
                await self._feed()
        return self._read.popleft()

    async def next_of(self, *types: str) -> Message:
        """The next message of these types."""
        while (message := await self.next())["type"] not in types:
            pass
        return message

    async def _feed(self) -> None:
        data = await asyncio.wait_for(self._reader.read(65536), WITHIN)
        if not data:
            closed = self._protocol.close_rcvd
            raise ClosedError(closed.code if closed else None, None)
        self._protocol.receive_data(data)
        self._flush()

    def _flush(self) -> None:
        self._writer.write(b"".join(self._protocol.data_to_send()))
