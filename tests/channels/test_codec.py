import contextlib
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.codec import CODECS, JSON, MSGPACK, Codec, Invalid, NotProtocol
from channels.protocol import (
    Ack,
    CastVote,
    Error,
    Hello,
    Ping,
    Retract,
    Slug,
    Snapshot,
    Subscribe,
    Unsubscribe,
)

VOTE = {"type": "vote", "id": 7, "board": "songs", "item": "suno_123", "vote": "up"}
PING = {"type": "ping", "id": "p"}

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.subprotocol)


def vote(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in {**VOTE, **fields}.items() if value is not ...}


@both
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (VOTE, CastVote(7, "songs", "suno_123", "up")),
        (
            vote(vote=..., value=-3, comment="é" * 2000),
            CastVote(7, "songs", "suno_123", None, -3, "é" * 2000),
        ),
        (vote(item="é" * 255, id="x" * 255), CastVote("x" * 255, "songs", "é" * 255, "up")),
        (vote(item="zero\u200bwidth"), CastVote(7, "songs", "zero\u200bwidth", "up")),
        ({"type": "hello", "id": 1, "token": "k", "later": [1]}, Hello(1, "k")),
        ({"type": "hello", "id": 1, "tenant": "t"}, Hello(1, None, "t")),
        ({"type": "retract", "id": -(2**63), "board": "b", "item": "i"}, Retract(-(2**63), "b", "i")),
        ({"type": "subscribe", "id": 2**63 - 1, "board": "b"}, Subscribe(2**63 - 1, "b")),
        (
            {
                "type": "subscribe",
                "id": 1,
                "board": "b",
                "window": "day",
                "top": 1000,
                "epoch": "e",
                "version": 3,
            },
            Subscribe(1, "b", "day", 1000, epoch="e", version=3),
        ),
        (
            {"type": "subscribe", "id": 1, "board": "b", "around": "i", "span": 2},
            Subscribe(1, "b", around="i", span=2),
        ),
        ({"type": "subscribe", "id": 1, "board": "b", "items": ["i"]}, Subscribe(1, "b", items=["i"])),
        ({"type": "unsubscribe", "id": 1, "sub": 4}, Unsubscribe(1, 4)),
        (PING, Ping("p")),
    ],
)
def test_messages_are_read(codec: Codec, sent: dict[str, Any], read: object) -> None:
    payload = codec.encode(sent)
    assert list(codec.decode(payload)) == [read]
    assert list(codec.decode(memoryview(payload))) == [read]


@both
@pytest.mark.parametrize(
    "sent",
    [
        vote(item=""),
        vote(item="x" * 256),
        vote(item="a\u0007"),
        vote(item="a\n"),
        vote(item="a\x7f"),
        vote(item="a\x85"),
        vote(item=5),
        vote(item=...),
        vote(board=None),
        vote(comment="x" * 2001),
        vote(comment="a\0b"),
        vote(vote=...),
        vote(vote="sideways"),
        vote(vote=1),
        vote(value=1),
        vote(vote=..., value=True),
        vote(vote=..., value="1"),
        vote(vote=..., value=1.5),
        vote(agent="me"),
        {"type": "retract", "id": 7, "board": "b", "item": "i", "comment": "why"},
        {"type": "retract", "id": 7, "board": "b", "item": "\t"},
        {"type": "hello", "id": 7, "token": 5},
        {"type": "subscribe", "id": 7, "board": "b", "top": 0},
        {"type": "subscribe", "id": 7, "board": "b", "top": 1001},
        {"type": "subscribe", "id": 7, "board": "b", "items": []},
        {"type": "subscribe", "id": 7, "board": "b", "items": ["i"] * 101},
        {"type": "subscribe", "id": 7, "board": "b", "items": ["i\0"]},
        {"type": "subscribe", "id": 7, "board": "b", "items": ["i"], "top": 5},
        {"type": "subscribe", "id": 7, "board": "b", "around": "\0"},
        {"type": "subscribe", "id": 7, "board": "b", "window": "hour"},
        {"type": "subscribe", "id": 7, "board": "b", "epoch": "e", "version": -1},
        {"type": "unsubscribe", "id": 7},
    ],
    ids=repr,
)
def test_what_is_wrong_in_a_message_is_said_under_its_id(codec: Codec, sent: dict[str, Any]) -> None:
    [read] = codec.decode(codec.encode(sent))
    assert isinstance(read, Invalid)
    assert read.id == 7
    assert read.message


@both
@pytest.mark.parametrize("unusable", [..., None, True, 1.5, "x" * 256, [1], {"a": 1}], ids=repr)
def test_an_unusable_id_is_not_echoed(codec: Codec, unusable: object) -> None:
    [read] = codec.decode(codec.encode(vote(id=unusable)))
    assert isinstance(read, Invalid)
    assert read.id is None


@both
def test_one_bad_message_leaves_its_neighbours(codec: Codec) -> None:
    read = codec.decode(codec.encode([VOTE, vote(id="bad", item=5), PING]))
    assert read[0] == CastVote(7, "songs", "suno_123", "up")
    assert isinstance(read[1], Invalid)
    assert read[1].id == "bad"
    assert "`item`" in read[1].message
    assert read[2] == Ping("p")


@both
@pytest.mark.parametrize(
    "sent",
    [
        [],
        [[]],
        [[VOTE]],
        [VOTE, 5],
        [VOTE, []],
        [VOTE, {}],
        [VOTE, {"type": "x"}],
        5,
        None,
        "vote",
        1.5,
        {},
        {"id": 1},
        {"type": "nope", "id": 1},
        {"type": "ack", "id": 1},
        {"type": 5},
        {"type": None},
    ],
    ids=repr,
)
def test_what_is_no_message_is_not_the_protocol(codec: Codec, sent: object) -> None:
    with pytest.raises(NotProtocol):
        codec.decode(codec.encode(sent))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"{'type': 'ping'}",
        b'{"type":"ping","id":1} {}',
        b'{"type":"vote","id":1,"item":5',
        b'{"type":"vote","id":1,"value":NaN}',
        b'{"type":"vote","id":1,"value":Infinity}',
        b'{"type":"vote","id":1,"board":"b","item":"\xff","vote":"up"}',
        b'{"type":"vote","id":1,"board":5,"x":"\xff"}',
        b'{"type":"vote","id":1,"board":"b","item":"\\ud800","vote":"up"}',
        b'\xef\xbb\xbf{"type":"ping","id":1}',
        b"[" * 60_000,
        b'{"type":"ping","id":1,"x":' + b"[" * 60_000,
        b'{"type":"vote","id":1,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
    ids=lambda payload: repr(payload[:60]),
)
def test_malformed_json_is_not_the_protocol(payload: bytes) -> None:
    with pytest.raises(NotProtocol):
        JSON.decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x82\xa4type",
        b"\x82\xa4type\xa4ping\xa2id\x01\x00",
        b"\x82\xa4type\xa4ping\xa2id\xa1\xff",
        # A message that is wrong is looked at once more: bytes that are no text may come up only then.
        b"\x82\xa2id\xa1\xff\xa4type\xa4none",
        b"\x92\x81\xa4type\xa4vote\x82\xa4type\xa4ping\xa2id\xa1\xff",
        b"\x92\x81\xa4type\xa4vote\x81\xa4type\xa1\xff",
        b"\x82\x01\x02\x03\x04",
        b"\x82\xa4type\xa4ping\x90\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 60_000,
        b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * 60_000,
    ],
    ids=lambda payload: repr(payload[:60]),
)
def test_malformed_msgpack_is_not_the_protocol(payload: bytes) -> None:
    with pytest.raises(NotProtocol):
        MSGPACK.decode(payload)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 25, "9" * 5000, "1.5", "-0.1", "1e-400"])
def test_a_bad_number_is_a_bad_vote(number: str) -> None:
    [read] = JSON.decode(b'{"type":"vote","id":7,"board":"b","item":"i","value":%b}' % number.encode())
    assert isinstance(read, Invalid)
    assert read.id == 7
    [read] = JSON.decode(b'{"type":"ping","id":%b}' % number.encode())
    assert isinstance(read, Invalid)
    assert read.id is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**64 - 1, 1.5])
def test_a_bad_number_is_a_bad_vote_in_msgpack(number: float) -> None:
    [read] = MSGPACK.decode(msgspec.msgpack.encode(vote(vote=..., value=number)))
    assert isinstance(read, Invalid)
    assert read.id == 7


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "id", "board", "item", "vote", "value", "sub", "x"]), inner)
    ),
    max_leaves=12,
)
MESSAGES = st.dictionaries(
    st.sampled_from(["id", "board", "item", "vote", "value", "comment", "top", "items", "x"]), TREES
).flatmap(
    lambda fields: st.sampled_from(["vote", "hello", "subscribe", "ping"]).map(lambda kind: {**fields, "type": kind})
)


@both
@given(frame=TREES | MESSAGES | st.lists(MESSAGES, max_size=3))
def test_anything_well_formed_gives_messages_or_is_refused(codec: Codec, frame: object) -> None:
    try:
        read = codec.decode(codec.encode(frame))
    except NotProtocol:
        return
    assert len(read) == (len(frame) if isinstance(frame, list) else 1)


@both
@given(start=st.sampled_from([b"", b'{"type":"vote","id":1,', b"\x85\xa4type\xa4vote\xa2id"]), rest=st.binary())
def test_any_bytes_give_messages_or_are_refused(codec: Codec, start: bytes, rest: bytes) -> None:
    with contextlib.suppress(NotProtocol):
        assert codec.decode(start + rest)


@both
def test_a_server_message_keeps_the_contracts_nulls(codec: Codec) -> None:
    ack = Ack("a", "unchanged", None, 12.5, 3, 1, None)
    assert codec.decode_server(codec.encode(ack)) == [ack]
    assert json.loads(JSON.encode(ack)) == {
        "type": "ack",
        "id": "a",
        "status": "unchanged",
        "seq": None,
        "score": 12.5,
        "up_votes": 3,
        "down_votes": 1,
        "quota_remaining": None,
    }


def test_an_absent_retry_is_left_out() -> None:
    assert b"retry_after_ms" not in JSON.encode(Error(None, "invalid", "no", False))
    assert b'"retry_after_ms":5' in JSON.encode(Error(None, "overloaded", "no", True, 5))


@both
@pytest.mark.parametrize("count", [1, 15, 16, 1000])
def test_joined_messages_read_as_an_array(codec: Codec, count: int) -> None:
    parts = [codec.encode(Ping(n)) for n in range(count)]
    assert codec.join(parts) == codec.encode([Ping(n) for n in range(count)])
    assert list(codec.decode(codec.join(parts))) == [Ping(n) for n in range(count)]


@both
def test_what_a_server_cannot_have_sent_is_refused(codec: Codec) -> None:
    with pytest.raises(NotProtocol):
        codec.decode_server(codec.encode({"type": "snapshot", "id": 1}))
    with pytest.raises(NotProtocol):
        codec.decode_server(b"\xc1")


@both
def test_a_client_ignores_fields_that_it_does_not_know(codec: Codec) -> None:
    snapshot = Snapshot(1, 1, "b", "all", "e", 1, 0, [], 0)
    later = {**msgspec.to_builtins(snapshot), "new": {"in": "version 2"}}
    assert codec.decode_server(codec.encode(later)) == [snapshot]


def test_the_subprotocols_are_the_contracts() -> None:
    assert {name: codec.opcode for name, codec in CODECS.items()} == {
        "plaudit.v1.json": 1,
        "plaudit.v1.msgpack": 2,
    }


@pytest.mark.parametrize("slug", ["songs", "esc-2024", "A.b_c", "x" * 100, "7"])
def test_slugs(slug: str) -> None:
    assert msgspec.convert(slug, Slug) == slug


@pytest.mark.parametrize("slug", ["", "-a", "a b", "a/b", "a\n", "é", "x" * 101])
def test_no_slugs(slug: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(slug, Slug)


@both
def test_a_frame_of_too_many_messages_holds_none_that_is_valid(codec: Codec) -> None:
    messages = [{"type": "ping", "id": n} for n in range(1000)]
    assert len(codec.decode(codec.encode(messages))) == 1000
    for last in ({"type": "ping", "id": 1000}, {"type": "vote", "id": 1000}):
        refused = codec.decode(codec.encode([*messages, last]))
        assert [message.id for message in refused] == list(range(1001))
        assert {message.code for message in refused if isinstance(message, Invalid)} == {"too_large"}
        assert all(isinstance(message, Invalid) for message in refused)
        assert [message.type for message in refused if isinstance(message, Invalid)][-2:] == ["ping", last["type"]]
