"""permessage-deflate (RFC 7692) where nothing is remembered from message to message.

So what is compressed once serves everybody. A message that is almost the same for all, such as a delta with each
viewer's number in it, begins with a block as it is, of the part that differs; compressed blocks follow, for all.
"""

import zlib
from collections.abc import Iterable
from typing import Final

from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_extension

EXTENSION: Final = "permessage-deflate"
_FORGETFUL: Final = f"{EXTENSION}; server_no_context_takeover; client_no_context_takeover"

WINDOW_BITS: Final = 12
"""How far back, as a power of two, compressed data refers to what it repeats. A client that takes less is declined; the
websockets library takes this much. A larger window makes no delta or snapshot smaller."""

_MEMORY_LEVEL: Final = 5
_LEVEL: Final = 1
_FLUSHED: Final = b"\x00\x00\xff\xff"
_NO_VALUE: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = {str(bits) for bits in range(8, 16)}


class Inflation(Exception):
    """A message that can't be taken apart, or that is larger than allowed (`too_large`)."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


def agreed(headers: Iterable[str]) -> str | None:
    """What a handshake's answer says to its Sec-WebSocket-Extensions headers; None where nothing suits."""
    for header in headers:
        try:
            offers = parse_extension(header)
        except InvalidHeaderFormat:
            continue
        for name, parameters in offers:
            if name == EXTENSION and _suits(parameters):
                asked = any(parameter == "server_max_window_bits" for parameter, _ in parameters)
                return f"{_FORGETFUL}; server_max_window_bits={WINDOW_BITS}" if asked else _FORGETFUL
    return None


def _suits(parameters: Iterable[tuple[str, str | None]]) -> bool:
    seen = set()
    for name, value in parameters:
        if name in seen:
            return False
        seen.add(name)
        match name:
            case "server_max_window_bits":
                right = value in _BITS and int(value) >= WINDOW_BITS
            case "client_max_window_bits":
                right = value is None or value in _BITS
            case _:
                right = name in _NO_VALUE and value is None
        if not right:
            return False
    return True


def compressed(data: bytes) -> bytes:
    """Blocks that end a message; whatever is in front of them in it."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_FLUSHED)


def stored(data: bytes) -> bytes:
    """A block of data as they are, fewer than 65,536 bytes, in front of others."""
    size = len(data)
    return b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


def inflated(data: bytes, limit: int) -> bytes:
    """The message that a client compressed. Raises Inflation; makes no more than `limit` bytes of it in any case."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        message = inflater.decompress(data + _FLUSHED, limit + 1)
    except zlib.error as error:
        raise Inflation("a message that is not deflated") from error
    if len(message) > limit:
        raise Inflation(f"a message over {limit} bytes", too_large=True)
    # RFC 7692 allows more blocks behind one that says to be the last. No zlib sends such: only an empty one is taken.
    if inflater.unused_data.strip(b"\x00\xff"):
        raise Inflation("a message that goes on behind its last block")
    return message
