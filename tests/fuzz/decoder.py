"""`python -m tests.fuzz.decoder --runs 1000000 --seed 7`: bytes for the frame parser and both decoders, no server.

Atheris looks for bytes that lead where none have led before. Its wheels are for Linux on x86-64; elsewhere, and in
`make test`, the same target is fed by chance alone. The last line is JSON; it exits 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import FunctionType
from typing import Any, Final, NoReturn

from channels import frames
from channels.codec import JSON, MAX_MESSAGES, MSGPACK, Codec, Invalid, NotProtocol
from channels.protocol import CLIENT_MESSAGES
from tests.fuzz.messages import broken, encode, pool
from tests.fuzz.wire import deflated, frame, in_pieces

POOL: Final = 500
_KINDS: Final[tuple[Any, ...]] = (*CLIENT_MESSAGES, Invalid)


def take(data: bytes) -> None:
    """The target: the first byte says what takes the rest. Raises AssertionError where a promise is broken."""
    if not data:
        return
    match data[0] % 3:
        case 0:
            _decode(JSON, data[1:])
        case 1:
            _decode(MSGPACK, data[1:])
        case _:
            _parse(data[1:], deflate=data[0] >= 128)


def _decode(codec: Codec, payload: bytes) -> None:
    """Messages, or no protocol: there is no third."""
    try:
        found = codec.decode(payload)
    except NotProtocol:
        return
    assert found
    assert all(isinstance(message, _KINDS) for message in found)
    assert len(found) <= MAX_MESSAGES or all(isinstance(message, Invalid) for message in found)
    # What is answered names the message, and has to be something that a frame can hold.
    codec.encode([message.id for message in found])


def _parse(data: bytes, *, deflate: bool) -> None:
    """However bytes are cut, they say the same; and nothing comes after an end."""
    whole = frames.FrameParser(deflate=deflate).feed(data)
    parser = frames.FrameParser(deflate=deflate)
    cut = len(data) // 3
    pieces = [data[:1], data[1:cut], data[cut:]] if cut > 1 else [data]
    assert [event for piece in pieces for event in parser.feed(piece)] == whole
    assert not any(isinstance(event, (frames.Close, frames.FrameError)) for event in whole[:-1])
    for event in whole:
        if isinstance(event, frames.Message):
            assert len(event.payload) <= frames.MAX_SIZE
            _decode(JSON if event.opcode == JSON.opcode else MSGPACK, event.payload)


def seeds(number: int) -> Iterator[bytes]:
    """What to begin with: messages, broken messages and frames of them, endless."""
    random = Random(number)
    made = pool(POOL, number)
    while True:
        codec = random.choice((JSON, MSGPACK))
        several = random.choices(made, k=random.randrange(1, 5))
        payload = encode(random.choice((several, several[0])), codec, random)[: frames.MAX_SIZE]
        payload = broken(payload, random) if random.random() < 0.7 else payload
        match random.randrange(5):
            case 0:
                yield bytes((random.choice((0, 1)),)) + random.randbytes(random.randrange(200))
            case 1:
                data = in_pieces(codec.opcode, payload[: frames.MAX_SIZE], random) + frame(9, b"", random)
                yield b"\x02" + (broken(data, random) if random.random() < 0.5 else data)
            case 2:
                data = deflated(payload, random)
                data = broken(data, random) if random.random() < 0.3 else data
                yield b"\x80" + in_pieces(frames.DEFLATED | codec.opcode, data[: frames.MAX_SIZE], random)
            case _:
                yield bytes((0 if codec is JSON else 1,)) + payload


def main() -> NoReturn:
    """Reads the options and exits."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz.decoder", description=__doc__)
    options.add_argument("--runs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    guided = find_spec("atheris") is not None
    counted = _Counted(chosen.runs, chosen.seed, guided=guided)
    if guided:
        with tempfile.TemporaryDirectory(prefix="plaudit-") as folder:
            _search(counted.take, chosen.seed, Path(folder))
    for data in seeds(chosen.seed):
        counted.take(data)
    raise AssertionError("the target ends the process")


class _Counted:
    """The target, until it has had so many runs or a promise was broken: then it says so and ends the process.

    Atheris never returns, and ends a process in its own way.
    """

    def __init__(self, runs: int, number: int, *, guided: bool) -> None:
        self._left = runs
        self._summary: dict[str, Any] = {"seed": number, "payloads": 0, "guided": guided, "wrong": []}

    def take(self, data: bytes) -> None:
        try:
            take(data)
        except Exception:  # noqa: BLE001 - whatever it is, it should not have been
            self._summary["wrong"].append(f"{data[:2000]!r}: {traceback.format_exc()}")
        self._summary["payloads"] += 1
        self._left -= 1
        if self._left <= 0 or self._summary["wrong"]:
            print(json.dumps(self._summary), flush=True)  # noqa: T201  # the result is what this is for
            os._exit(1 if self._summary["wrong"] else 0)


def _search(target: Callable[[bytes], None], number: int, folder: Path) -> NoReturn:
    """Lets Atheris choose the bytes, from a corpus of seeds that it extends."""
    # Not imported above: it is nowhere but on Linux.
    atheris: Any = importlib.import_module("atheris")
    for place, data in zip(range(POOL), seeds(number), strict=False):
        (folder / str(place)).write_bytes(data)
    for kind in (Codec, frames.FrameParser):
        for found in vars(kind).values():
            if isinstance(found, FunctionType):
                atheris.instrument_func(found)
    limits = "-runs=-1", f"-seed={number % 2**31}", f"-max_len={2 * frames.MAX_SIZE}", "-verbosity=0"
    atheris.Setup([sys.argv[0], *limits, str(folder)], target)
    atheris.Fuzz()
    raise AssertionError("the target ends the process")


if __name__ == "__main__":
    main()
