import struct
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol
from websockets.utils import apply_mask

from channels.frames import (
    BINARY,
    CONTINUATION,
    PING,
    PING_FRAME,
    PONG,
    TEXT,
    Close,
    Event,
    FrameError,
    FrameParser,
    Message,
    Ping,
    Pong,
    close_frame,
    frame,
)

MASK = b"\x81\x7e\x00\xff"


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame under a mask that is the same each time, so that a failing example stays one."""
    plain = Frame(Opcode(opcode), payload, fin).serialize(mask=False)
    head = len(plain) - len(payload)
    return bytes((plain[0], plain[1] | 0x80)) + plain[2:head] + MASK + apply_mask(payload, MASK)


def feed_split(data: bytes, cuts: list[int], max_size: int = 65536) -> list[Event]:
    parser = FrameParser(max_size)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [event for start, stop in pairwise(edges) for event in parser.feed(data[start:stop])]


PAYLOADS = st.binary(max_size=140) | st.sampled_from([125, 126, 65535, 65536]).map(lambda size: b"x" * size)
WHOLE = st.builds(masked, st.sampled_from([TEXT, BINARY]), PAYLOADS)
CONTROL = st.builds(masked, st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in several frames, with control frames between them."""
    parts = draw(st.lists(st.binary(max_size=140), min_size=2, max_size=4))
    data = masked(draw(st.sampled_from([TEXT, BINARY])), parts[0], fin=False)
    for number, part in enumerate(parts[1:], 1):
        data += draw(st.just(b"") | CONTROL) + masked(0, part, fin=number == len(parts) - 1)
    return data


NOISE = st.binary(max_size=30)
STREAMS = st.builds(
    lambda parts, end: b"".join(parts) + end,
    st.lists(WHOLE | CONTROL | fragmented(), max_size=5),
    st.just(b"") | NOISE | st.just(masked(8, b"\x03\xe8bye")) | st.just(masked(TEXT, b"cut")[:-1]),
)


@given(STREAMS, st.lists(st.integers(0, 200_000), max_size=12))
def test_any_split_of_the_stream_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    assert feed_split(data, cuts) == FrameParser().feed(data)


@given(st.lists(WHOLE | CONTROL | fragmented(), max_size=3).map(b"".join).filter(lambda data: len(data) < 2000))
def test_byte_by_byte_gives_the_same_events(data: bytes) -> None:
    assert feed_split(data, list(range(len(data)))) == FrameParser().feed(data)


@given(st.lists(st.tuples(st.sampled_from("tbpo"), PAYLOADS), max_size=6))
def test_it_reads_what_websockets_sends(sent: list[tuple[str, bytes]]) -> None:
    client = Protocol(CLIENT, state=OPEN)
    expected: list[Event] = []
    for kind, payload in sent:
        match kind:
            case "t":
                client.send_text(payload)
                expected.append(Message(TEXT, payload))
            case "b":
                client.send_binary(payload)
                expected.append(Message(BINARY, payload))
            case "p":
                client.send_ping(payload[:125])
                expected.append(Ping(payload[:125]))
            case _:
                client.send_pong(payload[:125])
                expected.append(Pong(payload[:125]))
    client.send_close(4000, "done")
    expected.append(Close(4000, "done"))
    assert FrameParser().feed(b"".join(client.data_to_send())) == expected


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_websockets_reads_what_it_builds(size: int) -> None:
    client = Protocol(CLIENT, state=OPEN)
    client.receive_data(frame(BINARY, b"x" * size) + PING_FRAME + close_frame(4409, "é" * 100))
    [message, ping, close] = client.events_received()
    assert isinstance(message, Frame)
    assert (message.opcode, message.data) == (Opcode.BINARY, b"x" * size)
    assert isinstance(ping, Frame)
    assert ping.opcode is Opcode.PING
    assert isinstance(close, Frame)
    assert close.opcode is Opcode.CLOSE
    # 123 bytes hold 61 characters of two bytes; the one that is cut through is left out.
    assert client.close_rcvd == CloseFrame(4409, "é" * 61)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"unmasked"), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x8b\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (masked(0, b"x"), 1002),
        (masked(TEXT, b"x", fin=False) + masked(TEXT, b"y"), 1002),
        (masked(TEXT, b"x" * 65537), 1009),
        (b"\x81\xff" + struct.pack("!Q", 2**63), 1009),
        (masked(TEXT, b"x" * 40_000, fin=False) + masked(0, b"x" * 30_000), 1009),
        (masked(8, b"\x03"), 1002),
        (masked(8, struct.pack("!H", 1005)), 1002),
        (masked(8, struct.pack("!H", 999)), 1002),
        (masked(8, struct.pack("!H", 1000) + b"\xff"), 1007),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else str(value),
)
def test_broken_framing_ends_the_stream_after_what_came_before(data: bytes, code: int) -> None:
    parser = FrameParser()
    before, *broken = parser.feed(masked(TEXT, b"good") + data)
    assert before == Message(TEXT, b"good")
    [error] = broken
    assert isinstance(error, FrameError)
    assert error.code == code
    assert parser.feed(masked(TEXT, b"more")) == []


def test_a_new_message_inside_a_fragmented_one_is_refused_in_a_later_piece_too() -> None:
    parser = FrameParser()
    assert parser.feed(masked(TEXT, b"x", fin=False)) == []
    [error] = parser.feed(masked(TEXT, b"y"))
    assert isinstance(error, FrameError)
    assert error.code == 1002


def test_too_large_is_said_at_the_header() -> None:
    [error] = FrameParser(100).feed(masked(TEXT, b"x" * 101)[:2])
    assert isinstance(error, FrameError)
    assert error.code == 1009


def test_the_limit_itself_is_allowed() -> None:
    data = masked(TEXT, b"x" * 60_000, fin=False) + masked(PING) + masked(0, b"x" * 5536)
    assert FrameParser().feed(data) == [Ping(b""), Message(TEXT, b"x" * 65536)]


def test_after_a_close_nothing_is_read() -> None:
    parser = FrameParser()
    assert parser.feed(masked(8) + masked(TEXT, b"late")) == [Close(1005, "")]
    assert parser.feed(masked(TEXT, b"later")) == []


def test_an_idle_parser_is_small_and_holds_nothing() -> None:
    parser = FrameParser()
    for n in range(0, 3000, 7):
        parser.feed(masked(TEXT, b"x" * n))
    held = [getattr(parser, name) for name in FrameParser.__slots__]
    assert sys.getsizeof(parser) < 200
    assert not any(isinstance(value, bytes | bytearray) for value in held)


ODD = (masked(PING), masked(PONG, b"x"), masked(CONTINUATION, b"x", fin=False))


@pytest.mark.parametrize("odd", ODD)
def test_frames_that_are_no_messages_are_counted(odd: bytes) -> None:
    parser = FrameParser()
    assert not any(isinstance(event, FrameError) for event in parser.feed(masked(TEXT, b"x", fin=False) + odd * 99))
    assert parser.odd == 100
    parser.feed(odd * 7)
    assert parser.odd == 7


def test_whole_messages_are_not_among_them() -> None:
    parser = FrameParser()
    assert len(parser.feed(masked(TEXT, b"x") * 99 + masked(TEXT, b"x" * 200))) == 100
    assert parser.odd == 0
