"""A client's connection: makes it, greets, reads and writes, and makes it again when it is lost."""

import asyncio
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from channels.backoff import full_jitter
from channels.codec import TEXT, Codec, NotProtocol
from channels.errors import BAD_TOKEN, PlauditError, worth_retrying
from channels.frames import MAX_SIZE
from channels.protocol import Bye, ClientMessage, Error, Hello, ServerMessage, Welcome

# Above the largest snapshot: 1,000 entries with titles of 500 characters.
_MAX_ANSWER = 16 * 2**20
_PATIENCE = 10.0  # seconds for a welcome
_LOST = (OSError, InvalidHandshake, ConnectionClosed, NotProtocol, PlauditError)
_ABNORMAL = 1006


class Link:
    """Keeps one websocket to the server for as long as it is open.

    Calls `opened` after each welcome, `taken` for every message, and `ended` once, with why: the server
    refused in a way that coming back won't change, or the link was closed.
    """

    def __init__(
        self,
        url: str,
        hello: Hello,
        codec: Codec,
        jitter: Callable[[], float],
        opened: Callable[[], None],
        taken: Callable[[ServerMessage], None],
        ended: Callable[[Exception], None],
    ) -> None:
        self._url = websocket_url(url)
        self._hello = hello
        self._codec = codec
        self._jitter = jitter
        self._opened = opened
        self._taken = taken
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._connected = False
        self._unsent: list[ClientMessage] = []
        self._wake = asyncio.Event()
        self._retry_after = 0.0
        self.welcome: Welcome | None = None

    async def open(self) -> None:
        """Connects. Raises PlauditError where the server refuses, OSError or InvalidHandshake where there is none."""
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(self._ready))
        try:
            await self._ready
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def send(self, message: ClientMessage) -> None:
        """Queues a message. While there is no connection it is dropped: `opened` sends whatever is still wanted."""
        if self._connected:
            self._unsent.append(message)
            self._wake.set()

    async def _run(self, ready: asyncio.Future[None]) -> None:
        reason: Exception = ConnectionAbortedError("the client was closed")
        try:
            await self._keep(ready)
        except Exception as error:  # noqa: BLE001  # it is handed on
            # Whatever ends this task, everyone who waits on the client hears of it.
            reason = error
        finally:
            self._connected = False
            self._ended(reason)
            if not ready.done():
                ready.set_exception(reason)

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        attempt = 0
        while True:
            self._retry_after = 0.0
            try:
                await self._connect(ready)
            except _LOST as error:
                if not ready.done() or not _worth_retrying(error):
                    raise _refusal(error) from error
            attempt = 0 if self._connected else attempt + 1
            self._connected = False
            await asyncio.sleep(max(self._retry_after, full_jitter(attempt, self._jitter)))

    async def _connect(self, ready: asyncio.Future[None]) -> None:
        async with connect(
            self._url,
            subprotocols=[Subprotocol(self._codec.subprotocol)],
            compression=None,
            max_size=_MAX_ANSWER,
        ) as socket:
            async with asyncio.timeout(_PATIENCE):
                await self._greet(socket)
            self._connected = True
            self._unsent = []
            self._opened()
            if not ready.done():
                ready.set_result(None)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._write(socket))
                    both.create_task(self._read(socket))
            except ExceptionGroup as group:
                raise group.exceptions[0] from None

    async def _greet(self, socket: ClientConnection) -> None:
        await self._transmit(socket, self._codec.encode(self._hello))
        for message in self._codec.decode_server(await socket.recv(decode=False)):
            if isinstance(message, Error):
                raise error_of(message)
            if isinstance(message, Welcome):
                self.welcome = message
                return
        raise NotProtocol("the server did not answer hello with welcome")

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            messages, self._unsent = self._unsent, []
            for payload in _pack(self._codec, messages):
                await self._transmit(socket, payload)

    async def _transmit(self, socket: ClientConnection, payload: bytes) -> None:
        await socket.send(payload, text=self._codec.opcode == TEXT)

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            for message in self._codec.decode_server(await socket.recv(decode=False)):
                if isinstance(message, Bye):
                    self._retry_after = (message.retry_after_ms or 0) / 1000
                self._taken(message)


def error_of(message: Error) -> PlauditError:
    """The exception that an `error` message stands for."""
    retry_after = message.retry_after_ms
    return PlauditError(message.code, message.message, retry_after if isinstance(retry_after, int) else None)


def websocket_url(url: str) -> str:
    """The websocket's address, from itself or from the server's: http://host:8000 gives ws://host:8000/ws."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"{url} is not an address: http(s)://host:port or ws(s)://host:port is expected")
    path = parts.path if parts.path.strip("/") else "/ws"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def _pack(codec: Codec, messages: list[ClientMessage]) -> Iterator[bytes]:
    """The messages as few payloads, each within the contract's limit."""
    parts: list[bytes] = []
    size = 0
    for part in map(codec.encode, messages):
        # Between messages there is a comma, around them brackets or an array's head of three bytes.
        if parts and size + len(part) + 4 > MAX_SIZE:
            yield codec.join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield parts[0] if len(parts) == 1 else codec.join(parts)


def _worth_retrying(error: Exception) -> bool:
    match error:
        case PlauditError():
            return error.temporary
        case ConnectionClosed():
            return worth_retrying(error.rcvd.code if error.rcvd else _ABNORMAL)
        case InvalidStatus():
            return error.response.status_code >= 500 or error.response.status_code == 429
        case _:
            return True


def _refusal(error: Exception) -> Exception:
    """What a caller is told: a refused token in the contract's own words, all else as it is."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == BAD_TOKEN:
        return PlauditError("unauthorized", error.rcvd.reason)
    return error
