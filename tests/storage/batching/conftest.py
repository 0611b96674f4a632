"""A shard with two boards, and a way to it that breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from storage import live as live_module
from storage.live import LiveStore
from tests.proxy import Proxy, unix_socket
from tests.storage.batching.voter import CHANGING, FINAL, ITEMS, SHARD
from tests.storage.shard import NOON, Shard, board_items, open_shard


@pytest_asyncio.fixture
async def shard(redis_url: str) -> AsyncIterator[Shard]:
    async with open_shard(redis_url, number=SHARD) as opened:
        for rules in (FINAL, CHANGING):
            await opened.live.add_items(rules, board_items(ITEMS), NOON)
        yield opened


@pytest_asyncio.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(unix_socket(redis_url)) as running:
        yield running


@pytest_asyncio.fixture
async def far(shard: Shard, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveStore]:
    """The shard's store by way of the proxy. It counts as away after a fifth of a second."""
    monkeypatch.setattr(live_module, "READ_TIMEOUT", 0.2)
    async with LiveStore(f"redis://127.0.0.1:{proxy.port}", shard.live._prefix) as store:
        yield store
