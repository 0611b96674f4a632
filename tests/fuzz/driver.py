"""Sends nonsense to a server that runs in this process, while somebody else goes on as if nothing was."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from structlog.testing import capture_logs

from channels.codec import JSON, MSGPACK, Codec, NotProtocol
from channels.errors import CLOSE_CODES
from channels.frames import DEFLATED, MAX_SIZE
from channels.protocol import Error, Pong
from tests.app.sockets import Client, ClosedError, Stage
from tests.fuzz.messages import broken, encode, pool
from tests.fuzz.wire import deflated, ending, frame, in_pieces

AT_A_TIME: Final = 4
PER_CONNECTION: Final = 250
_MUTATED: Final = 0.5
_DEFLATED: Final = 0.7
_OFFER: Final = b"Origin: http://x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
_TRIES: Final = 4
_WITHIN: Final = 60.0
_LAST: Final = "the last one"
_FRAME_CODES: Final = range(1000, 5000)
"""Of frames that are none, and of the client's own goodbye, which the server repeats."""


class Fuzzer:
    """Counts what was sent (`messages`, some of them `mutated`) and how connections ended.

    `wrong` is what should not have been.
    """

    def __init__(self, stage: Stage, number: int, pool_size: int, bystander: str) -> None:
        self.messages = 0
        self.mutated = 0
        self.endings: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._stage = stage
        self._bystander = bystander
        self._random = Random(number)
        self._pool = pool(pool_size, number)
        self._understood = {codec.subprotocol: self._kept(codec) for codec in (JSON, MSGPACK)}

    def _kept(self, codec: Codec) -> list[bytes]:
        """The pool's messages that end no connection: with the others nothing that comes after them is read."""
        kept = []
        for message in self._pool:
            payload = encode(message, codec, self._random)
            with contextlib.suppress(NotProtocol):
                codec.decode(payload)
                if len(payload) <= MAX_SIZE:
                    kept.append(payload)
        return kept

    async def run(self, messages: int, key: str) -> None:
        """Sends so many messages over connections with the agent's key and without."""
        async with self._stage.agent(self._bystander) as bystander:
            wanted = self.messages + messages
            while self.messages < wanted and not self.wrong:
                connections = [self._converse(key) for _ in range(AT_A_TIME)]
                await asyncio.gather(*connections, self._go_on(bystander))

    async def _go_on(self, bystander: Client) -> None:
        """What happens to others does not concern this one."""
        try:
            async with asyncio.timeout(_WITHIN):
                answer = await bystander.ask("ping")
                vote = await bystander.vote(item="s1")
        except (TimeoutError, ClosedError) as error:
            self.wrong.append(f"a bystander was not answered: {error!r}")
            return
        if answer["type"] != "pong" or vote["type"] != "ack":
            self.wrong.append(f"a bystander was answered {answer} and {vote}")

    async def _converse(self, key: str) -> None:
        random = self._random
        codec = random.choice([JSON, MSGPACK, JSON.deflating, MSGPACK.deflating])
        reader, writer = await asyncio.open_connection("127.0.0.1", self._stage.port)
        try:
            async with asyncio.timeout(_WITHIN):
                await self._shake_hands(reader, writer, codec)
                greeting = {"type": "hello", "id": 0} | ({"token": key} if random.random() < 0.7 else {})
                data = [frame(codec.opcode, encode(greeting, codec, random), random)] if random.random() < 0.95 else []
                data += [self._frame(codec) for _ in range(random.randrange(1, PER_CONNECTION // 3))]
                farewell, hopeless = self._farewell(codec)
                data += farewell
                writing = asyncio.create_task(self._write(writer, b"".join(data), eof=hopeless))
                end = await self._read(reader, codec)
                writing.cancel()
            self.endings[end] += 1
            if end == "cut" and not hopeless:
                self.wrong.append("a connection was cut without a word")
        except TimeoutError:
            self.wrong.append(f"a connection was neither answered nor closed in {_WITHIN:.0f} s")
        finally:
            writer.transport.abort()

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: Codec) -> None:
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n%s\r\n"
            % (codec.subprotocol.encode(), _OFFER if codec.deflates else b"")
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101") or (b"permessage-deflate" in answer) is not codec.deflates:
            self.wrong.append(f"a handshake was answered {answer[:100]!r}")

    def _frame(self, codec: Codec) -> bytes:
        """A frame of one message or several, all of which can be understood as such."""
        random = self._random
        count = random.choice([1, 1, 1, 2, 10])
        self.messages += count
        chosen = random.choices(self._understood[codec.subprotocol], k=count)
        chosen = [self._mutated(one, codec) if random.random() < _MUTATED else one for one in chosen]
        payload = codec.join(chosen) if count > 1 else chosen[0]
        if len(payload) > MAX_SIZE:
            payload = chosen[0]
        if codec.deflates and random.random() < _DEFLATED:
            return in_pieces(DEFLATED | codec.opcode, deflated(payload, random), random)
        return in_pieces(codec.opcode, payload, random)

    def _mutated(self, payload: bytes, codec: Codec) -> bytes:
        """A message with bytes broken that can still be understood as one, where a few tries give such a one."""
        for _ in range(_TRIES):
            candidate = broken(payload, self._random)
            with contextlib.suppress(NotProtocol):
                # Beside another, as an array in an array is none.
                codec.decode(codec.join([candidate, payload]))
                self.mutated += 1
                return candidate
        return payload

    def _farewell(self, codec: Codec) -> tuple[list[bytes], bool]:
        """A last message, and before it in half of all cases something that few connections survive.

        Answers also whether the client has to half-close: what it sent may be the beginning of endless frames.
        """
        random = self._random
        last = frame(codec.opcode, encode({"type": "ping", "id": _LAST}, codec, random), random)
        payload = encode(random.choice(self._pool), codec, random)
        self.messages += 1
        if random.random() < 0.5:
            return [last], False
        if codec.deflates and random.random() < _DEFLATED:
            data = deflated(bytes(10 * MAX_SIZE) if random.random() < 0.2 else payload, random)
            return [in_pieces(DEFLATED | codec.opcode, broken(data, random), random), last], False
        if random.random() < 0.6:
            raw = random.randbytes(random.randrange(2000)) if random.random() < 0.3 else broken(payload, random)
            return [in_pieces(codec.opcode, raw[:MAX_SIZE], random), last], False
        return [ending(codec.opcode, payload[:1000], random)], True

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, *, eof: bool) -> None:
        """In pieces of any size; whoever is cut off meanwhile is told so by what is read."""
        with contextlib.suppress(OSError):
            while data:
                size = self._random.choice([7, 100, 5000, 70_000])
                writer.write(data[:size])
                data = data[size:]
                await writer.drain()
            if eof:
                writer.write_eof()

    async def _read(self, reader: asyncio.StreamReader, codec: Codec) -> str:
        """How the connection ended; everything that the server said on the way was looked at."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                opcode, size = await reader.readexactly(2)
                if size > 125:
                    size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
                payload = await reader.readexactly(size)
                if opcode & DEFLATED:
                    opcode ^= DEFLATED
                    payload = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + b"\0\0\xff\xff")
                if opcode == 0x88:
                    code = int.from_bytes(payload[:2], "big")
                    if code not in CLOSE_CODES and code not in _FRAME_CODES and payload:
                        self.wrong.append(f"closed with {code}")
                    return f"closed {code}"
                if opcode == 0x80 | codec.opcode and self._is_last(payload, codec):
                    return "answered"
        return "cut"

    def _is_last(self, payload: bytes, codec: Codec) -> bool:
        last = False
        for message in codec.decode_server(payload):
            kind = message.code if isinstance(message, Error) else type(message).__name__
            self.answers[str(kind)] += 1
            if kind == "internal":
                self.wrong.append(f"answered {message}")
            last = last or (isinstance(message, Pong) and message.id == _LAST)
        return last


@contextmanager
def watched_log() -> Iterator[list[str]]:
    """Whatever is logged as worse than a warning, or with a traceback, by anybody; or raised where nobody hears it."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]  # the whole handler
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(str(context)))
    logging.getLogger().addHandler(handler)
    try:
        with capture_logs() as entries:
            yield found
        bad = [entry for entry in entries if entry["log_level"] in {"error", "critical"} or "exc_info" in entry]
        found += [str(entry) for entry in bad]
    finally:
        logging.getLogger().removeHandler(handler)
        loop.set_exception_handler(None)
