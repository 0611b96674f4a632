"""A short run of the fuzzer; `python -m tests.fuzz` makes long ones."""

import asyncio
from itertools import islice

import pytest
import uvloop

from channels.codec import Codec
from channels.frames import FrameParser
from tests.app.running import install
from tests.app.sockets import opened
from tests.fuzz.decoder import seeds, take
from tests.fuzz.driver import Fuzzer, watched_log

MESSAGES = 10_000


async def test_nonsense_harms_nobody(database_url: str, redis_url: str, prefix: str) -> None:
    async def play() -> None:
        where = await install(database_url, redis_url, prefix, messages_per_second=10**9)
        async with opened(where) as stage:
            key, bystander = await stage.key(), await stage.key("bystander")
            with watched_log() as found:
                fuzzer = Fuzzer(stage, 4, 600, bystander)
                await fuzzer.run(MESSAGES, key)
            assert fuzzer.wrong + found == []
            assert fuzzer.mutated > MESSAGES // 100
            # The nonsense is not all of one kind: much was understood, and much was not.
            assert {"Ack", "Pong", "Welcome", "Snapshot", "invalid", "unknown_item", "unauthorized"} <= set(
                fuzzer.answers
            )
            assert {"answered", "closed 4400", "closed 1002", "closed 1009"} <= set(fuzzer.endings)
            await stage.until(lambda: stage.services.gateway.viewers + stage.services.gateway.agents == 0)

    # On the loop that the server runs on: asyncio's own warns of writes to clients that have just gone.
    await asyncio.to_thread(lambda: uvloop.run(play()))


def test_bytes_are_messages_or_no_protocol() -> None:
    for data in islice(seeds(4), 20_000):
        take(data)


@pytest.mark.parametrize("data", [b"\x00[]", b"\x01\x90", b"\x02\x81\x05bare!"])
def test_the_target_would_tell(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    take(data)
    monkeypatch.setattr(Codec, "decode", lambda codec, payload: [])
    monkeypatch.setattr(FrameParser, "feed", lambda parser, data: [data])
    with pytest.raises(AssertionError):
        take(data)
