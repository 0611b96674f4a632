"""Websocket framing (RFC 6455) for a server after its handshake: bytes in, events out; no I/O.

Made for many connections that are mostly idle and for clients that send small whole frames, several to a
read. A parser that waits for nothing holds no buffer.
"""

import struct
from typing import Final

from msgspec import Struct

from channels.deflate import Inflation, inflated
from channels.errors import FLOODING, FRAME_TOO_LARGE

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform that websockets has no compiled wheel for
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_SIZE: Final = 65536
"""The contract's limit for a message, in bytes, over all its fragments."""
DEFLATED: Final = 0x40
"""Beside the opcode of a message that is compressed."""

MAX_WORK: Final = 3 * 2**20
"""What compressed messages in one piece of what is read may cost, in bytes that are made of them: some milliseconds.
Whatever is in it, a byte that is read may cost as much as `READ_COST` of these, and a message as `INFLATION_COST`."""

READ_COST: Final = 32
INFLATION_COST: Final = 3072
WEIGHED: Final = 8192
"""Such bytes that count as a message, where no more messages come of them: more than a vote costs by itself."""

NO_STATUS: Final = 1005

_FIN = 0x80
_MASKED = 0x80
_PROTOCOL_ERROR, _BAD_DATA = 1002, 1007
_DATA_FRAMES = (_FIN | TEXT, _FIN | BINARY)


class Message(Struct, gc=False):
    """A whole message; `opcode` is TEXT or BINARY. Its decoder finds out whether a text is UTF-8.

    One that was compressed counts as `weight` of them where it holds no more: see MAX_WORK.
    """

    opcode: int
    payload: bytes
    weight: int = 0


class Ping(Struct, gc=False):
    """To be answered by a pong with the same payload."""

    payload: bytes


class Pong(Struct, gc=False):
    """An answer to a ping, or a client's unasked sign of life."""

    payload: bytes


class Close(Struct, gc=False):
    """The client closes, `code` being NO_STATUS where it gave none. The last event."""

    code: int
    reason: str


class FrameError(Struct, gc=False):
    """The client broke the framing: close with this code. The last event."""

    code: int
    reason: str


Event = Message | Ping | Pong | Close | FrameError


class FrameParser:
    """Takes one client's bytes, in pieces of any size, and gives the events that they complete.

    With `deflate` messages may be compressed. `max_size` is for what they hold then as well.
    """

    __slots__ = (
        "_buffer",
        "_deflate",
        "_ended",
        "_fragments",
        "_max_size",
        "_needed",
        "_opcode",
        "_work",
        "deaf",
        "odd",
    )

    def __init__(self, max_size: int = MAX_SIZE, *, deflate: bool = False) -> None:
        self._max_size = max_size
        self._deflate = deflate
        self._buffer: bytearray | None = None  # an unfinished frame
        self._needed = 0  # length at which the buffer is worth looking at again
        self._fragments: bytearray | None = None  # an unfinished message
        self._opcode = 0  # of that message, and DEFLATED
        self._ended = False
        self._work = 0  # on compressed messages in the last piece
        self.deaf = False  # whether only a Close is waited for: no more work is put into messages
        self.odd = 0  # control frames and fragments in the last piece

    def feed(self, data: bytes) -> list[Event]:
        """The events that this piece completes, in order.

        A FrameError or a Close comes last; whatever arrives after it is ignored. `odd` counts the frames of the piece
        that were no whole message: they cost about as much as one, and no event tells of them all.
        """
        self.odd = self._work = 0
        if self._ended:
            return []
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer = None
        events: list[Event] = []
        position = self._whole_messages(data, events)
        while position < len(data) and not self._ended:
            header = self._header(data, position)
            if isinstance(header, FrameError):
                self._end(events, header)
                break
            start, stop = header
            if stop > len(data):
                self._buffer = bytearray(memoryview(data)[position:])
                self._needed = stop - position
                break
            self._frame(data, position, start, stop, events)
            position = stop
        return events

    def _whole_messages(self, data: bytes, events: list[Event]) -> int:
        """Reads the plain frames at the start of data: whole, unfragmented, under 126 bytes. Returns where they end."""
        if self._fragments is not None:
            return 0
        position, end = 0, len(data)
        limit = min(self._max_size, 125) + _MASKED
        while end - position >= 6:
            first, second = data[position], data[position + 1]
            stop = position + 6 - _MASKED + second
            if first not in _DATA_FRAMES or not _MASKED <= second <= limit or stop > end:
                break
            payload = apply_mask(data[position + 6 : stop], data[position + 2 : position + 6])
            events.append(Message(first & 0x0F, payload))
            position = stop
        return position

    def _header(self, data: bytes, position: int) -> tuple[int, int] | FrameError:
        """Where the payload of the frame at position starts and stops; its mask stands before it.

        While the header is not whole, both point to where the next part of it would be.
        """
        available = len(data) - position
        if available < 2:
            return position + 2, position + 2
        first, second = data[position], data[position + 1]
        opcode, size = first & 0x0F, second & 0x7F
        if error := self._refuse(first, second):
            return error
        start = position + 6
        if size >= 126:
            width = 2 if size == 126 else 8
            if available < 2 + width:
                return position + 2 + width, position + 2 + width
            size = int.from_bytes(data[position + 2 : position + 2 + width], "big")
            start += width
        held = len(self._fragments) if self._fragments is not None and opcode == CONTINUATION else 0
        if held + size > self._max_size and opcode < CLOSE:
            return FrameError(FRAME_TOO_LARGE, f"a message over {self._max_size} bytes")
        return start, start + size

    def _refuse(self, first: int, second: int) -> FrameError | None:
        """What is wrong with the first two bytes of a frame, or None."""
        opcode = first & 0x0F
        if first & 0x70 and not (self._deflate and first & 0x70 == DEFLATED and opcode in (TEXT, BINARY)):
            return FrameError(_PROTOCOL_ERROR, "reserved bits without an extension")
        if opcode > PONG or BINARY < opcode < CLOSE:
            return FrameError(_PROTOCOL_ERROR, "unknown opcode")
        if not second & _MASKED:
            return FrameError(_PROTOCOL_ERROR, "a client's frame must be masked")
        if opcode >= CLOSE:
            if not first & _FIN or second & 0x7F > 125:
                return FrameError(_PROTOCOL_ERROR, "a control frame is whole and at most 125 bytes")
        elif (opcode == CONTINUATION) is (self._fragments is None):
            return FrameError(_PROTOCOL_ERROR, "a continuation out of place")
        return None

    def _frame(self, data: bytes, position: int, start: int, stop: int, events: list[Event]) -> None:
        """Takes the whole, checked frame data[position:stop] whose payload starts at start."""
        first = data[position]
        opcode = first & 0x0F
        if opcode >= CLOSE or not first & _FIN or self._fragments is not None:
            self.odd += 1
        payload = apply_mask(data[start:stop], data[start - 4 : start])
        if opcode == PING:
            events.append(Ping(payload))
        elif opcode == PONG:
            events.append(Pong(payload))
        elif opcode == CLOSE:
            self._end(events, _read_close(payload))
        else:
            self._data(first & (DEFLATED | 0x0F), payload, bool(first & _FIN), events)

    def _data(self, opcode: int, payload: bytes, final: bool, events: list[Event]) -> None:
        if self._fragments is None:
            if final:
                self._message(opcode, payload, events)
                return
            self._fragments = bytearray()
            self._opcode = opcode
        self._fragments += payload
        if final:
            whole, self._fragments = bytes(self._fragments), None
            self._message(self._opcode, whole, events)

    def _message(self, opcode: int, payload: bytes, events: list[Event]) -> None:
        if not opcode & DEFLATED:
            events.append(Message(opcode, payload))
            return
        if self.deaf:
            return
        try:
            message = inflated(payload, self._max_size)
        except Inflation as error:
            self._end(events, FrameError(FRAME_TOO_LARGE if error.too_large else _BAD_DATA, str(error)))
            return
        work = INFLATION_COST + READ_COST * len(payload) + len(message)
        self._work += work
        if self._work > MAX_WORK:
            self._end(events, FrameError(FLOODING, "far more than a connection may send"))
            return
        events.append(Message(opcode & 0x0F, message, work // WEIGHED))

    def _end(self, events: list[Event], event: Event) -> None:
        events.append(event)
        self._ended = True
        self._buffer = self._fragments = None


def _read_close(payload: bytes) -> Close | FrameError:
    if not payload:
        return Close(NO_STATUS, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        return FrameError(_PROTOCOL_ERROR, "not a close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        return FrameError(_BAD_DATA, "a close reason that is not UTF-8")


_HEADER_16 = struct.Struct("!BBH").pack
_HEADER_64 = struct.Struct("!BBQ").pack


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame as a server sends it, unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 65536:
        return _HEADER_16(_FIN | opcode, 126, size) + payload
    return _HEADER_64(_FIN | opcode, 127, size) + payload


def payload_of(data: bytes) -> bytes:
    """The payload of a whole frame that `frame` made."""
    return data[{126: 4, 127: 10}.get(data[1], 2) :]


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what fits in a control frame (123 bytes of UTF-8)."""
    cut = reason.encode()[:123].decode(errors="ignore")
    return frame(CLOSE, code.to_bytes(2, "big") + cut.encode())


PING_FRAME: Final = frame(PING, b"")
"""The heartbeat."""
