"""A client's connection: makes it, greets, reads and writes, and makes it again when it is lost."""

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from channels.backoff import full_jitter
from channels.casting import check
from channels.codec import MAX_MESSAGES, TEXT, Codec, NotProtocol
from channels.errors import BAD_TOKEN, PlauditError, worth_retrying
from channels.frames import MAX_SIZE
from channels.protocol import Bye, ClientMessage, Error, Hello, ServerMessage, Welcome

# Above the largest snapshot: 1,000 entries with titles of 500 characters.
_MAX_ANSWER = 16 * 2**20
_WELCOME_WITHIN = 10.0
_CLOSE_WITHIN = 2.0
# A connection that was lost sooner counts as a try that failed: whatever ended it may do so again.
_STEADY = 1.0
LOST = (OSError, WebSocketException, NotProtocol, PlauditError)
"""What making a connection, or keeping it, may fail with."""

_ABNORMAL = 1006


class Owner(Protocol):
    """Who uses a link, and hears from it."""

    def opened(self) -> None:
        """There is a connection, and the server's welcome: time to send all that is open."""

    def lost(self) -> None:
        """That connection is gone; the next one is tried for."""

    def taken(self, message: ServerMessage) -> None:
        """A message came."""

    def ended(self, error: Exception) -> None:
        """There will be no further connection: coming back would be vain, or the link was closed. Called once."""


class Link:
    """Keeps one websocket to the server for as long as it is open.

    `jitter` gives numbers in [0, 1). The first connection is tried for during `patience` seconds, at least
    once; later ones for as long as it takes.
    """

    def __init__(
        self, owner: Owner, url: str, hello: Hello, codec: Codec, *, patience: float, jitter: Callable[[], float]
    ) -> None:
        self._owner = owner
        self._url = websocket_url(url)
        self._hello = hello
        self._codec = codec
        self._patience = patience
        self._jitter = jitter
        self._task: asyncio.Task[None] | None = None
        self._unsent: list[ClientMessage] = []
        self._wake = asyncio.Event()
        self._steady_from = math.inf
        self._retry_after = 0.0
        self._closing = False
        self.connected = False
        self.welcome: Welcome | None = None

    async def open(self) -> None:
        """Connects. Raises PlauditError where the server refuses or would, another of `LOST` where there is none."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready))
        try:
            await ready
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connection; there will be no other."""
        self._closing = True
        while self._task is not None and not self._task.done():
            # Again, where that got lost: before Python 3.13 a task group that fails forgets that it was cancelled.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=2 * _CLOSE_WITHIN)

    def send(self, message: ClientMessage) -> None:
        """Queues a message. While there is no connection it is dropped: `opened` sends whatever is still wanted."""
        if self.connected:
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
            self._owner.ended(reason)
            if not ready.done():
                ready.set_exception(reason)

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        check(self._codec, self._hello)
        clock = asyncio.get_running_loop().time
        impatient_from = clock() + self._patience
        attempt = 0
        while True:
            self._retry_after, self._steady_from = 0.0, math.inf
            try:
                await self._connect(ready)
            except LOST as error:
                gave_up = not ready.done() and clock() >= impatient_from
                if gave_up or not _worth_retrying(error):
                    raise _refusal(error) from error
                self._retry_after = max(self._retry_after, _asked_to_wait(error))
            if self._closing:
                return
            attempt = 0 if clock() >= self._steady_from else attempt + 1
            # On top of what the server asks for, so that those who were sent away together don't come back together.
            delay = self._retry_after + full_jitter(attempt, self._jitter)
            await asyncio.sleep(delay if ready.done() else min(delay, max(0.0, impatient_from - clock())))

    async def _connect(self, ready: asyncio.Future[None]) -> None:
        async with connect(
            self._url,
            subprotocols=[Subprotocol(self._codec.subprotocol)],
            compression=None,
            max_size=_MAX_ANSWER,
            close_timeout=_CLOSE_WITHIN,
        ) as socket:
            async with asyncio.timeout(_WELCOME_WITHIN):
                self.welcome = await self._greet(socket)
            self._steady_from = asyncio.get_running_loop().time() + _STEADY
            self._unsent = []
            self.connected = True
            try:
                self._owner.opened()
                if not ready.done():
                    ready.set_result(None)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._write(socket))
                    both.create_task(self._read(socket))
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            finally:
                self.connected = False
                self._owner.lost()

    async def _greet(self, socket: ClientConnection) -> Welcome:
        await self._transmit(socket, self._codec.encode(self._hello))
        while True:
            for message in self._codec.decode_server(await socket.recv(decode=False)):
                match message:
                    case Welcome():
                        return message
                    case Error():
                        raise error_of(message)
                    case Bye():
                        # The close code that follows says whether to come back; this says when.
                        self._retry_after = (message.retry_after_ms or 0) / 1000
                    case _:
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
                self._owner.taken(message)


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
    """The messages as few payloads, each within the limits of a frame."""
    parts: list[bytes] = []
    size = 0
    for part in map(codec.encode, messages):
        # Between messages there is a comma, around them brackets or an array's head of three bytes.
        if parts and (len(parts) == MAX_MESSAGES or size + len(part) + 4 > MAX_SIZE):
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
        case InvalidURI():
            return False
        case _:
            return True


def _asked_to_wait(error: Exception) -> float:
    """Seconds that the server wants us to stay away for, as far as the error says."""
    match error:
        case PlauditError():
            return error.retry_after or 0.0
        case InvalidStatus():
            seconds = error.response.headers.get("Retry-After", "")
            return float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0
        case _:
            return 0.0


def _refusal(error: Exception) -> Exception:
    """What a caller is told: a refused token in the contract's own words, all else as it is."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == BAD_TOKEN:
        return PlauditError("unauthorized", error.rcvd.reason)
    return error
