"""The laboratory's network does to bytes what TCP may do to them, and nothing else."""

import asyncio

from tests.proxy import Proxy

SENT = bytes(range(256)) * 200


async def test_what_trickles_arrives_whole_and_the_rest_at_once_when_it_is_healed() -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SENT)
        await writer.drain()
        writer.close()

    async with (
        await asyncio.start_server(say, "127.0.0.1", 0) as server,
        Proxy(server.sockets[0].getsockname()) as proxy,
    ):
        proxy.slow(0.001, portion=7)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        first = await reader.readexactly(100)
        proxy.slow()
        async with asyncio.timeout(5):
            rest = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
    assert first + rest == SENT
