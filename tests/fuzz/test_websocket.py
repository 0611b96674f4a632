"""A short run of the fuzzer; `python -m tests.fuzz` makes long ones."""

from random import Random

from channels.codec import JSON, MSGPACK, NotProtocol
from tests.app.running import install
from tests.app.sockets import opened
from tests.fuzz.driver import Fuzzer, watched_log
from tests.fuzz.messages import broken, encode, pool

MESSAGES = 10_000


async def test_nonsense_harms_nobody(database_url: str, redis_url: str, prefix: str) -> None:
    where = await install(database_url, redis_url, prefix, messages_per_second=10**9)
    async with opened(where) as stage:
        key, bystander = await stage.key(), await stage.key("bystander")
        with watched_log() as found:
            fuzzer = Fuzzer(stage, 4, 600, bystander)
            await fuzzer.run(MESSAGES, key)
        assert fuzzer.wrong + found == []
        # The nonsense is not all of one kind: much was understood, and much was not.
        assert {"Ack", "Pong", "Welcome", "Snapshot", "invalid", "unknown_item", "unauthorized"} <= set(fuzzer.answers)
        assert {"answered", "closed 4400", "closed 1002", "closed 1009"} <= set(fuzzer.endings)
        await stage.until(lambda: stage.services.gateway.viewers + stage.services.gateway.agents == 0)


def test_broken_payloads_are_messages_or_no_protocol() -> None:
    random = Random(4)
    made = pool(200, 4)
    refused = 0
    for codec in (JSON, MSGPACK):
        for _ in range(10_000):
            payload = broken(encode(random.choice(made), codec, random)[:65_536], random)
            try:
                assert codec.decode(payload)
            except NotProtocol:
                refused += 1
    assert 1000 < refused < 19_000
