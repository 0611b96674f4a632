"""Frames as a client sends them, whole and in pieces, right and wrong."""

from __future__ import annotations

import zlib
from random import Random

MAX_FRAME = 65_536


def frame(opcode: int, payload: bytes, random: Random, *, final: bool = True) -> bytes:
    """A masked frame."""
    size = len(payload)
    head = bytes((final << 7 | opcode,))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 65_536:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    mask = random.randbytes(4)
    pattern = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
    return head + mask + masked.to_bytes(size, "big")


def in_pieces(opcode: int, payload: bytes, random: Random) -> bytes:
    """A message in one frame, or in several with pings and pongs between them."""
    if random.random() < 0.8:
        return frame(opcode, payload, random)
    cuts = sorted(random.randrange(len(payload) + 1) for _ in range(random.randrange(1, 5)))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    out = b""
    for place, part in enumerate(parts):
        out += frame(0 if place else opcode, part, random, final=place == len(parts) - 1)
        if random.random() < 0.3 and place < len(parts) - 1:
            out += frame(random.choice([0x9, 0xA]), random.randbytes(random.randrange(126)), random)
    return out


def deflated(payload: bytes, random: Random) -> bytes:
    """The same, compressed in some way, as a message that is marked so holds it."""
    deflater = zlib.compressobj(random.randrange(10), zlib.DEFLATED, -random.randrange(9, 16), random.randrange(1, 10))
    out = b""
    if random.random() < 0.3:
        cut = random.randrange(len(payload) + 1)
        out, payload = deflater.compress(payload[:cut]) + deflater.flush(zlib.Z_FULL_FLUSH), payload[cut:]
    out += deflater.compress(payload)
    if random.random() < 0.1:
        return out + deflater.flush(zlib.Z_FINISH) + b"\0"
    return (out + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def ending(opcode: int, payload: bytes, random: Random) -> bytes:
    """Something after which a connection can't go on."""
    return random.choice(
        [
            random.randbytes(random.randrange(1, 3000)),
            frame(random.choice([3, 7, 11, 15]), payload, random),
            bytes((0x80 | opcode, 5)) + b"bare!",
            frame(opcode, b"x" * (MAX_FRAME + 1), random),
            frame(0x9, b"x" * 126, random),
            frame(0, payload, random),
            frame(0x8, random.randbytes(random.randrange(126)), random),
            b"\x82\xff" + random.randbytes(8) + payload,
        ]
    )
