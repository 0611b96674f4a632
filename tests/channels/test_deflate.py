"""Compressed messages: which offers are taken, and that others' implementations read what is made, and the reverse."""

import contextlib
import zlib
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol
from websockets.utils import apply_mask

from channels.deflate import WINDOW_BITS, Inflation, agreed, compressed, inflated, stored
from channels.errors import FLOODING
from channels.frames import (
    BINARY,
    DEFLATED,
    INFLATION_COST,
    MAX_SIZE,
    MAX_WORK,
    READ_COST,
    TEXT,
    Event,
    FrameError,
    FrameParser,
    Message,
    frame,
)

MASK = b"\x81\x7e\x00\xff"
FORGETFUL = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TEXTS = st.binary(max_size=300) | st.integers(0, MAX_SIZE).map(lambda size: (b"all work and no play " * size)[:size])


def extension() -> PerMessageDeflate:
    """What the websockets library has on either side after it agreed."""
    return PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)


def masked(frame: Frame) -> bytes:
    plain = Frame(frame.opcode, frame.data, frame.fin).serialize(mask=False)
    head = len(plain) - len(frame.data)
    reserved = frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4
    return bytes((plain[0] | reserved, plain[1] | 0x80)) + plain[2:head] + MASK + apply_mask(plain[head:], MASK)


def squeezed(data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """A client's compressed message in one frame."""
    return masked(extension().encode(Frame(opcode, data)))


def fragments(data: bytes, cuts: list[int], opcode: Opcode) -> Iterator[bytes]:
    """The same in several."""
    whole = extension().encode(Frame(opcode, data))
    edges = [0, *sorted(cut % (len(whole.data) + 1) for cut in cuts), len(whole.data)]
    pairs = list(pairwise(edges))
    for n, (start, stop) in enumerate(pairs):
        part = Frame(opcode if n == 0 else Opcode.CONT, whole.data[start:stop], n == len(pairs) - 1, rsv1=n == 0)
        yield masked(part)


def raw(payload: bytes) -> bytes:
    return masked(Frame(Opcode.TEXT, payload, rsv1=True))


def read(events: list[Event]) -> list[tuple[int, bytes]]:
    """Opcodes and payloads of messages, of which there may be nothing else."""
    messages = [event for event in events if isinstance(event, Message)]
    assert len(messages) == len(events), events[-1]
    return [(message.opcode, message.payload) for message in messages]


def the_error(events: list[Event]) -> FrameError:
    *_, last = events
    assert isinstance(last, FrameError)
    return last


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", FORGETFUL),
        # Chromium's, the websockets library's, and what else is allowed.
        ("permessage-deflate; client_max_window_bits", FORGETFUL),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            FORGETFUL + "; server_max_window_bits=12",
        ),
        ('permessage-deflate; server_max_window_bits="15"', FORGETFUL + "; server_max_window_bits=12"),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", FORGETFUL),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", FORGETFUL),
        ("x-webkit-deflate-frame, permessage-deflate", FORGETFUL),
        # What would bind us to more than one frame for all, or is not the standard's.
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=012", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; level=9", None),
        ("permessage-bzip2", None),
        ("permessage-deflate; =", None),
        ("", None),
    ],
)
def test_offers(offer: str, answer: str | None) -> None:
    assert agreed([offer]) == answer
    assert agreed([";;", offer]) == answer


def test_nobody_offers() -> None:
    assert agreed([]) is None


@given(TEXTS, TEXTS)
def test_others_read_what_is_put_together(head: bytes, tail: bytes) -> None:
    head = head[:60_000]
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    client.extensions = [extension()]
    for _ in range(2):  # nothing is remembered
        client.receive_data(frame(DEFLATED | BINARY, stored(head) + compressed(tail)))
    messages = client.events_received()
    assert [message.data for message in messages if isinstance(message, Frame)] == [head + tail] * 2


def test_no_window_is_larger_than_agreed() -> None:
    far = bytes(range(256)) * (2**WINDOW_BITS // 256) + b"x" * 300
    inflater = zlib.decompressobj(-WINDOW_BITS)
    assert inflater.decompress(compressed(far * 3) + b"\0\0\xff\xff") == far * 3


@given(st.lists(TEXTS, max_size=4), st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.lists(st.integers(0, 2**16)))
def test_what_others_send_is_read(sent: list[bytes], opcode: Opcode, cuts: list[int]) -> None:
    data = b"".join(squeezed(text, opcode) + masked(Frame(opcode, text)) for text in sent)
    expected = [(int(opcode), text) for text in sent for _ in range(2)]
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    parser = FrameParser(deflate=True)
    assert read([event for start, stop in pairwise(edges) for event in parser.feed(data[start:stop])]) == expected


@given(TEXTS, st.lists(st.integers(0, 2**16), max_size=4))
def test_a_compressed_message_may_come_in_fragments(text: bytes, cuts: list[int]) -> None:
    data = b"".join(fragments(text, cuts, Opcode.TEXT))
    parser = FrameParser(deflate=True)
    assert read(parser.feed(data + masked(Frame(Opcode.TEXT, b"next")))) == [(TEXT, text), (TEXT, b"next")]


def test_a_block_that_says_to_be_the_last_is_read() -> None:
    deflater = zlib.compressobj(wbits=-15)
    assert inflated(deflater.compress(b"Hello") + deflater.flush() + b"\0", 100) == b"Hello"


def test_nothing_hides_behind_the_last_block() -> None:
    deflater = zlib.compressobj(wbits=-15)
    with pytest.raises(Inflation):
        inflated(deflater.compress(b"Hello") + deflater.flush() + compressed(b"you"), 100)


@given(st.binary(max_size=60))
def test_noise_is_no_more_than_an_error(noise: bytes) -> None:
    with contextlib.suppress(Inflation):
        assert len(inflated(noise, 1000)) <= 1000


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x01\x05\x00\x00\x00hello"])
def test_what_is_not_deflated_ends_the_stream(payload: bytes) -> None:
    parser = FrameParser(deflate=True)
    assert the_error(parser.feed(raw(payload))).code == 1007
    assert parser.feed(squeezed(b"more")) == []


def test_the_limit_is_for_what_a_message_holds() -> None:
    assert read(FrameParser(deflate=True).feed(squeezed(b"x" * MAX_SIZE))) == [(TEXT, b"x" * MAX_SIZE)]
    bomb = squeezed(b"x" * (MAX_SIZE + 1))
    assert len(bomb) < 1000
    assert the_error(FrameParser(deflate=True).feed(bomb)).code == 1009
    # Of a far larger one no more is made than shows that.
    assert the_error(FrameParser(deflate=True).feed(squeezed(b"x" * 50_000_000))).code == 1009


def bits(*fields: tuple[int, int]) -> str:
    """Numbers of so many bits each, as DEFLATE has them: the least significant bit first."""
    return "".join(f"{value:0{width}b}"[::-1] for value, width in fields)


def laborious() -> bytes:
    """64 KiB that say nothing, in blocks each of which brings a code of its own to be read (RFC 1951, 3.2.7)."""
    # No more codes than must be: 257 literals and lengths, of which the end alone has one, and one distance.
    lengths = {18: 1, 1: 2, 0: 2}
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    head = bits((0, 1), (2, 2), (0, 5), (0, 5), (len(order) - 4, 4), *((lengths.get(code, 0), 3) for code in order))
    zeros = "0" + bits((138 - 11, 7)) + "0" + bits((118 - 11, 7))
    block = head + zeros + "11" + "11" + "0"
    stream = block * (MAX_SIZE * 8 // len(block) - 8) + bits((0, 1), (1, 2)) + "0" * 7
    stream += "0" * (-(len(stream) + 3) % 8) + bits((0, 3))
    stream += "0" * (-len(stream) % 8)
    return bytes(int(stream[n : n + 8][::-1], 2) for n in range(0, len(stream), 8))


ODD = {
    "little": (compressed(b""), b""),
    "large": (compressed(b" " * MAX_SIZE), b" " * MAX_SIZE),
    "laborious": (laborious(), b""),
}


@pytest.mark.parametrize("kind", ODD)
def test_so_much_work_in_one_piece_is_a_flood(kind: str) -> None:
    payload, message = ODD[kind]
    fits = MAX_WORK // (INFLATION_COST + READ_COST * len(payload) + len(message))
    parser = FrameParser(deflate=True)
    for _ in range(2):
        assert read(parser.feed(raw(payload) * fits)) == [(TEXT, message)] * fits
    assert the_error(parser.feed(raw(payload) * (fits + 1))).code == FLOODING


@pytest.mark.parametrize(("kind", "least"), [("little", 0), ("large", 8), ("laborious", 250)])
def test_a_compressed_message_weighs_what_it_costs(kind: str, least: int) -> None:
    (message,) = FrameParser(deflate=True).feed(raw(ODD[kind][0]))
    assert isinstance(message, Message)
    assert least <= message.weight <= least * 1.2


def test_compressed_votes_weigh_no_more_than_they_are() -> None:
    vote = b'{"type":"vote","id":7,"board":"songs","item":"sonoa-glass-rivers","vote":"up"}'
    for count in (1, 10, 500):
        (message,) = FrameParser(deflate=True).feed(squeezed(b"[" + b",".join([vote] * count) + b"]"))
        assert isinstance(message, Message)
        assert message.weight <= count


@pytest.mark.parametrize(
    "frames",
    [
        masked(Frame(Opcode.TEXT, b"x", rsv2=True)),
        masked(Frame(Opcode.TEXT, b"x", rsv1=True, rsv3=True)),
        masked(Frame(Opcode.PING, b"", rsv1=True)),
        masked(Frame(Opcode.CLOSE, b"", rsv1=True)),
        masked(Frame(Opcode.TEXT, b"x", False)) + masked(Frame(Opcode.CONT, b"y", rsv1=True)),
    ],
)
def test_only_the_beginning_of_a_message_says_that_it_is_compressed(frames: bytes) -> None:
    assert the_error(FrameParser(deflate=True).feed(frames)).code == 1002


def test_who_agreed_to_nothing_compresses_nothing() -> None:
    assert the_error(FrameParser().feed(squeezed(b"x"))).code == 1002
