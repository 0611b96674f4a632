"""The websocket's handshake, after which a connection leaves uvicorn and the application.

From then on its transport belongs to a `Connection`: no task, no queue and no ASGI scope stay behind.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from app.answers import as_bytes
from app.connection import Connection
from app.gateway import Gateway
from channels import deflate
from channels.codec import CODECS, JSON, Codec

PATH: Final = "/ws"
_MALFORMED: Final = as_bytes(400, {"connection": "close", "content-length": "0"}, b"")
_ONCE: Final = ("Host", "Origin", "Authorization")


def protocol_class(gateway: Gateway) -> type[asyncio.Protocol]:
    """The class that uvicorn hands websocket handshakes to; it handles them itself."""
    return type("Handshake", (_Handshake,), {"gateway": gateway})


class _Handshake(WebSocketsSansIOProtocol):
    gateway: Gateway
    successor: Connection | None = None

    def handle_connect(self, event: Request) -> None:
        """Answers a handshake."""
        response, codec = _answer(self.conn, event, self.gateway)
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._hand_over(codec, event)
        else:
            self.handshake_complete = self.close_sent = True
            self.transport.close()

    def _hand_over(self, codec: Codec, event: Request) -> None:
        token = _bearer(event.headers.get("Authorization"))
        peer = self.client[0] if self.client else ""
        address = self.gateway.proxies.client(peer, event.headers.get_all("X-Forwarded-For"))
        self.connections.discard(self)
        self.successor = self.gateway.accept(self.transport, codec, token, address, self.connections)
        self.connections.add(self.successor)  # type: ignore[arg-type]  # it has the `shutdown` that uvicorn calls
        # uvicorn sets this handshake as the transport's protocol when it returns; ours comes after that.
        self.loop.call_soon(self.transport.set_protocol, self.successor)

    def data_received(self, data: bytes) -> None:
        """Reads the handshake, and whatever comes before the transport knows its new protocol."""
        if self.successor is None:
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.close_sent:
                # What uvicorn's parser took for a request, websockets' does not, and would ignore for ever.
                self.handshake_complete = self.close_sent = True
                self.transport.write(_MALFORMED)
                self.transport.close()
        else:
            self.successor.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Likewise for a connection that is gone by then."""
        if self.successor is None:
            super().connection_lost(exc)
        else:
            self.successor.connection_lost(exc)


def _answer(protocol: ServerProtocol, event: Request, gateway: Gateway) -> tuple[Response, Codec]:
    """The response to a handshake, and the codec to go on with."""
    response = protocol.accept(event)
    offered = [name.strip() for line in event.headers.get_all("Sec-WebSocket-Protocol") for name in line.split(",")]
    known = next((CODECS[name] for name in offered if name in CODECS), None)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return response, JSON
    if event.path.partition("?")[0] != PATH:
        return protocol.reject(HTTPStatus.NOT_FOUND, f"The websocket is at {PATH}.\n"), JSON
    if any(len(event.headers.get_all(name)) > 1 for name in _ONCE):
        return protocol.reject(HTTPStatus.BAD_REQUEST, f"At most one each of {', '.join(_ONCE)}.\n"), JSON
    if not gateway.allows(event.headers.get("Origin"), event.headers.get("Host")):
        return protocol.reject(HTTPStatus.FORBIDDEN, "This origin may not connect.\n"), JSON
    if offered and known is None:
        return protocol.reject(HTTPStatus.BAD_REQUEST, f"Known subprotocols: {', '.join(CODECS)}.\n"), JSON
    if known is not None:
        response.headers["Sec-WebSocket-Protocol"] = known.subprotocol
    codec = known or JSON
    if gateway.deflates(event.headers.get("Origin")):
        extension = deflate.agreed(event.headers.get_all("Sec-WebSocket-Extensions"))
        if extension is not None:
            response.headers["Sec-WebSocket-Extensions"] = extension
            codec = codec.deflating
    return response, codec


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
