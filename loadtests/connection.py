"""A websocket for greenlets: blocking calls on a socket that Locust has made cooperative.

The protocol is `websockets`' own, without its I/O: its threaded client would cost a second greenlet per connection,
and attackers have to reach the bare socket.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any, Final, Self

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from channels.codec import MAX_MESSAGES, TEXT, Codec, NotProtocol
from channels.errors import CLOSE_CODES
from channels.frames import MAX_SIZE
from channels.link import websocket_url
from channels.protocol import ClientMessage, ServerMessage
from loadtests.checks import CheckFailed

TICK: Final = 5.0
"""Seconds after which `receive` comes back without messages, and a `send` that nobody reads is given up."""

_MAX_ANSWER: Final = 16 * 2**20
_PIECE: Final = 65536


class ConnectionEnded(ConnectionError):
    """The connection is over, or none came about. `code` is the close code, or the HTTP status that refused it."""

    def __init__(self, code: int, reason: str = "") -> None:
        kind = CLOSE_CODES.get(code)
        known = f" ({kind.reason})" if kind else ""
        super().__init__(f"closed with {code}{known}" if code >= 1000 else f"refused with HTTP {code}")
        self.code = code
        self.reason = reason


class Connection:
    """One websocket. Messages may be sent from several greenlets, and received in one."""

    def __init__(self, connected: socket.socket, protocol: ClientProtocol, codec: Codec) -> None:
        self.socket = connected
        self.codec = codec
        self.received = 0
        """Bytes of messages so far."""
        self._protocol = protocol
        self._sending = Lock()
        self._fragments = b""

    @classmethod
    def open(cls, url: str, codec: Codec, *, receive_buffer: int | None = None) -> Self:
        """Connects to the server at an http(s) address. Raises OSError, ConnectionEnded with an HTTP status."""
        uri = parse_uri(websocket_url(url))
        protocol = ClientProtocol(uri, subprotocols=[Subprotocol(codec.subprotocol)], max_size=_MAX_ANSWER)
        connected = _connect(uri.host, uri.port, receive_buffer)
        try:
            if uri.secure:
                connected = ssl.create_default_context().wrap_socket(connected, server_hostname=uri.host)
            connection = cls(connected, protocol, codec)
            connection._shake_hands()
        except BaseException:
            connected.close()
            raise
        return connection

    def _shake_hands(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            self._read()
            for event in self._protocol.events_received():
                if isinstance(event, Response) and event.status_code != 101:
                    raise ConnectionEnded(event.status_code, event.reason_phrase)
        if self._protocol.handshake_exc is not None:
            raise CheckFailed("a handshake that is none", str(self._protocol.handshake_exc))

    def send(self, messages: Sequence[ClientMessage]) -> None:
        """Sends messages in as few frames as hold them. Raises OSError, also where the connection is over."""
        part: list[bytes] = []
        size = 0
        for encoded in map(self.codec.encode, messages):
            if part and (size + len(encoded) + 4 > MAX_SIZE or len(part) == MAX_MESSAGES):
                self.send_payload(self.codec.join(part))
                part, size = [], 0
            part.append(encoded)
            size += len(encoded) + 1
        if part:
            self.send_payload(part[0] if len(part) == 1 else self.codec.join(part))

    def send_payload(self, payload: bytes) -> None:
        """Sends one frame with this payload, whatever it holds. Raises OSError."""
        with self._sending:
            if self._protocol.state is not State.OPEN:
                raise self._ended()
            if self.codec.opcode == TEXT:
                self._protocol.send_text(payload)
            else:
                self._protocol.send_binary(payload)
            self.socket.sendall(b"".join(self._protocol.data_to_send()))

    def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are, past the protocol. Raises OSError."""
        with self._sending:
            self.socket.sendall(data)

    def receive(self) -> list[ServerMessage]:
        """The messages that come next; none where nothing came for a while.

        Raises ConnectionEnded once the connection is over, CheckFailed for what is not of the protocol.
        """
        try:
            self._read()
        except TimeoutError:
            return []
        messages: list[ServerMessage] = []
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                self._fragments += event.data
                if event.fin:
                    messages += self._decode(self._fragments)
                    self._fragments = b""
        self._flush()
        if self._protocol.parser_exc is not None and not self._over:
            raise CheckFailed("a frame that is none", str(self._protocol.parser_exc))
        if self._over and not messages:
            raise self._ended()
        return messages

    def widen(self) -> None:
        """Takes more at a time from now on."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * _PIECE)

    def abort(self) -> None:
        """Cuts the connection off. Whoever receives on it hears that it has ended."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Says goodbye, where that is possible without waiting, and closes the socket."""
        with contextlib.suppress(OSError):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self.socket.settimeout(0)
                self.socket.send(b"".join(self._protocol.data_to_send()))
        self.abort()
        self.socket.close()

    @property
    def _over(self) -> bool:
        return self._protocol.close_rcvd is not None or self._protocol.state is State.CLOSED

    def _ended(self) -> ConnectionEnded:
        rcvd = self._protocol.close_rcvd
        return ConnectionEnded(CloseCode.ABNORMAL_CLOSURE) if rcvd is None else ConnectionEnded(rcvd.code, rcvd.reason)

    def _decode(self, payload: bytes) -> list[ServerMessage]:
        self.received += len(payload)
        try:
            return self.codec.decode_server(payload)
        except NotProtocol as error:
            raise CheckFailed("a message that is not of the protocol", str(error)) from error

    def _read(self) -> None:
        """Feeds the protocol with what the socket has. Raises TimeoutError."""
        if self._protocol.close_rcvd is not None:
            raise self._ended()
        try:
            data = self.socket.recv(_PIECE)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
            if self._protocol.state is State.CONNECTING:
                raise ConnectionEnded(CloseCode.ABNORMAL_CLOSURE)

    def _flush(self) -> None:
        out = b"".join(self._protocol.data_to_send())
        if out:
            with self._sending, contextlib.suppress(OSError):
                self.socket.sendall(out)


@cache
def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]:
    """Where a server is: asked once, because gevent asks in a thread, which a herd would queue for."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]


def _connect(host: str, port: int, receive_buffer: int | None) -> socket.socket:
    """A TCP connection. A receive buffer has to be chosen before it is made, to narrow the window."""
    family, kind, number, _, address = _resolve(host, port)
    connected = socket.socket(family, kind, number)
    try:
        connected.settimeout(TICK)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connected.connect(address)
    except BaseException:
        connected.close()
        raise
    return connected
