"""One answer for Prometheus from several server processes: whichever is asked asks the others.

Each process listens on a socket of its own in a folder that they share, and writes its numbers to whoever
connects. Nothing is counted in a shared place, so that counting costs what it costs a single process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Scrape = Callable[[], Awaitable[bytes]]
"""Gives numbers in Prometheus's text format."""

_ANSWERS_WITHIN: Final = 3.0
"""Seconds after which a process is left out: it has just died, or its loop stands still."""


@asynccontextmanager
async def colleagues(own: Path, scrape: Scrape, *, within: float = _ANSWERS_WITHIN) -> AsyncIterator[Scrape]:
    """Tells those who connect to the socket `own` this process' numbers; yields what tells everyone's.

    The sockets of all are the files of that folder. Each sample gets the name of its process' socket as `worker`.
    Those that do not answer `within` so many seconds are left out.
    """

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await scrape())
            await writer.drain()
        except ConnectionError:
            pass  # whoever asked was tired of waiting
        finally:
            writer.close()

    async def everyones() -> bytes:
        sockets = sorted(own.parent.iterdir(), key=lambda path: (len(path.name), path.name))
        texts = await asyncio.gather(*(scrape() if socket == own else _asked(socket, within) for socket in sockets))
        told = zip(sockets, texts, strict=True)
        return merged({socket.name: text.decode() for socket, text in told if text is not None})

    # A socket that is left by a process which was killed is replaced.
    server = await asyncio.start_unix_server(tell, own)
    try:
        yield everyones
    finally:
        server.close()


async def _asked(socket: Path, within: float) -> bytes | None:
    """What another process says, None where it does not answer."""
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None


def merged(texts: Mapping[str, str]) -> bytes:
    """The numbers of several processes, by the name of each, as one text: samples get that name as `worker`."""
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for found in text_string_to_metric_families(text):
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            for sample in found.samples:
                family.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(families.values()))
    return generate_latest(registry)


class _Found(Collector):
    """Numbers that somebody else collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
