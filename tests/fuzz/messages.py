"""Messages as no client should send them: of the schema, of nearly the schema, and bytes that were messages once.

Hypothesis makes a pool of structures from the schema of the messages; a seeded generator mixes, breaks and repeats
them, a thousand times faster than Hypothesis could make as many.
"""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any, Final

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from channels.codec import JSON, Codec

INJECTIONS: Final = (
    "'; drop table votes; --", '" or 1=1 --', "$1", "%s%n{0}{settings}", "\r\n\r\nHTTP/1.1 200 OK", "a\nlevel=error",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "return redis.call('flushall')", "]] os.exit() --",
    "{shard}", "../../etc/passwd", "\x1b[2J", "\u202e", "\u0000", "${jndi:ldap://x}", "\ud800", "\U0001d54a" * 64,
)  # fmt: skip

_DEEP: Final = "@deep"
_NO_TEXT: Final = "@bytes"
_NO_UTF8: Final = b"\xff\xfe\xed\xa0\x80\xc1"  # as many bytes, so that what holds it stays well formed
_numbers = st.sampled_from(
    [0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**40, 0.5, 1e308,
     math.nan, math.inf, -math.inf]
)  # fmt: skip
_texts = st.one_of(
    st.sampled_from([*INJECTIONS, _NO_TEXT]),
    st.text(max_size=40),
    st.sampled_from([0, 254, 255, 256, 2000, 2001, 20_000]).map(lambda size: "x" * size),
)
_anything = st.one_of(
    st.none(), st.booleans(), _numbers, _texts, st.just(_DEEP),
    st.lists(st.one_of(_numbers, _texts), max_size=5), st.dictionaries(st.text(max_size=5), _numbers, max_size=3),
)  # fmt: skip
_ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.just(_NO_TEXT))
_boards = st.sampled_from(["songs", "tools", "songs", "none", _NO_TEXT])
_items = st.sampled_from(["s1", "s2", "s3", "none", _NO_TEXT])

_FIELDS: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "hello": {"id": _ids, "token": st.none(), "tenant": st.sampled_from(["default", "none"])},
    "vote": {"id": _ids, "board": _boards, "item": _items, "vote": st.sampled_from(["up", "down"]),
             "value": st.sampled_from([1, -1, 7]), "comment": _texts},
    "retract": {"id": _ids, "board": _boards, "item": _items},
    "subscribe": {"id": _ids, "board": _boards, "window": st.sampled_from(["all", "day", "trending"]),
                  "top": st.integers(1, 1000), "items": st.lists(_items, min_size=1, max_size=100), "around": _items,
                  "span": st.integers(0, 500), "epoch": st.text(max_size=20), "version": st.integers(0, 2**40)},
    "unsubscribe": {"id": _ids, "sub": st.integers(0, 5)},
    "ping": {"id": _ids},
}  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message of a known type whose fields are right, wrong, missing or too many."""
    kind = draw(st.sampled_from(sorted(_FIELDS)))
    fields = _FIELDS[kind]
    chosen = draw(st.sets(st.sampled_from(sorted(fields)))) | {"id", "board", "item"} & set(fields)
    message = {"type": kind} | {name: draw(fields[name]) for name in sorted(chosen)}
    for name in draw(st.lists(st.sampled_from([*sorted(fields), "more"]), max_size=2)):
        if draw(st.booleans()):
            message[name] = draw(_anything)
        else:
            message.pop(name, None)
    return message


def pool(size: int, number: int) -> list[dict[str, Any]]:
    """So many messages, the same for the same number."""
    made: list[dict[str, Any]] = []

    @seed(number)
    @settings(max_examples=size, database=None, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(messages())
    def collect(message: dict[str, Any]) -> None:
        made.append(message)

    collect()
    return made


def encode(value: object, codec: Codec, random: Random) -> bytes:
    """A structure in the bytes of a codec, with what encoders refuse put in by hand."""
    deep = random.choice([10, 500, 20_000])
    if codec is JSON:
        text = json.dumps(value).encode().replace(b'"@deep"', b"[" * deep + b"]" * deep)
    else:
        text = msgspec.msgpack.encode(_packable(value)).replace(b"\xa5@deep", b"\x91" * deep + b"\xc0")
    return text.replace(_NO_TEXT.encode(), _NO_UTF8)


def _packable(value: Any) -> Any:
    match value:
        case dict():
            return {_packable(key): _packable(one) for key, one in value.items()}
        case list():
            return [_packable(one) for one in value]
        case str():
            return value.encode(errors="replace").decode()
        case int() if not -(2**63) <= value < 2**64:
            return float(value)
        case _:
            return value


def broken(payload: bytes, random: Random) -> bytes:
    """A payload with some bytes flipped, cut, doubled or put in."""
    data = bytearray(payload)
    for _ in range(random.choice([1, 1, 2, 8])):
        at = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1:
                del data[at : at + random.randrange(1, 9)]
            case 2:
                data[at:at] = random.randbytes(random.randrange(1, 9))
            case 3:
                data[at:at] = data[at : at + random.randrange(1, 40)]
            case _:
                data[at:at] = random.choice(
                    [b"\xff", b"\xed\xa0\x80", b"\xc1", b"\xdf\xff\xff\xff\xff", b"1e999", b"\0"]
                )
    return bytes(data)
