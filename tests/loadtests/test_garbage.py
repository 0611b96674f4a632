"""Garbage is garbage: else the load test would blame a server for being right."""

from random import Random

import pytest

from app.settings import Settings
from channels.codec import CODECS, Codec, Invalid, NotProtocol
from channels.frames import FrameError, FrameParser, Ping
from channels.session import Expelled, Session
from loadtests.garbage import GARBAGE, Garbage, bad_messages

RANDOM = Random(1)

MALFORMED = ["noise", "half a message", "deep nesting", "no object", "an empty array", "an unknown type"]


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@pytest.mark.parametrize("name", MALFORMED)
def test_no_messages(codec: Codec, name: str) -> None:
    [garbage] = [garbage for garbage in GARBAGE if garbage.name == name]
    for _ in range(20):
        with pytest.raises(NotProtocol):
            codec.decode(garbage.payload(codec, RANDOM))


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@pytest.mark.parametrize("garbage", [garbage for garbage in GARBAGE if not garbage.framed], ids=lambda g: g.name)
def test_no_frames(codec: Codec, garbage: Garbage) -> None:
    parser = FrameParser()
    events = parser.feed(garbage.payload(codec, RANDOM))
    broken = [event for event in events if not isinstance(event, Ping)]
    if "flood" in garbage.name:
        assert not broken
        with pytest.raises(Expelled) as expelled:
            Session(Settings().messages_per_second, 0.0).weigh(parser.odd, 0.0)
        assert expelled.value.code == garbage.code
    else:
        [error] = broken
        assert isinstance(error, FrameError)
        assert error.code == garbage.code


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
def test_bad_messages_are_understood(codec: Codec) -> None:
    for bad in bad_messages("b", "i"):
        [message] = codec.decode(codec.encode(bad.message))
        assert message.id == 1, bad.name
        if isinstance(message, Invalid):
            assert bad.code == "invalid", bad.name
