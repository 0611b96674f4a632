"""A catalogue to try Plaudit with: songs and tools that someone made up, and an agent that may vote on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Final, TypeVar

import msgspec

from storage.boards import Boards
from storage.catalogue import Catalogue, Song, Tool
from storage.directory import Directory
from storage.errors import Exists
from storage.live import LiveStore
from storage.types import Board, BoardItem, Tenant

AGENT: Final = "demo-agent"

Item = TypeVar("Item", Song, Tool)


def demo_songs() -> list[Song]:
    """Forty songs."""
    return msgspec.json.decode(_read("songs.json"), type=list[Song])


def demo_tools() -> list[Tool]:
    """A dozen music tools."""
    return msgspec.json.decode(_read("tools.json"), type=list[Tool])


async def load_demo(
    directory: Directory, catalogue: Catalogue, boards: Boards, live: LiveStore, tenant: Tenant, now: int
) -> str:
    """Adds what the tenant does not have of the demo, and answers the agent that may vote on it.

    The tenant's live state must be in order. `now` is in milliseconds.
    """
    by_slug = {board.slug: board for board in await boards.of_tenant(tenant.number)}
    songs = await _add(catalogue, tenant, by_slug["songs"], demo_songs())
    tools = await _add(catalogue, tenant, by_slug["tools"], demo_tools())
    for slug, added in (("songs", songs), ("tools", tools)):
        if added:
            await live.add_items(by_slug[slug], added, now)
    with suppress(Exists):
        await directory.add_agents(tenant, [(AGENT, "pro")])
    return AGENT


async def _add(catalogue: Catalogue, tenant: Tenant, board: Board, items: Sequence[Item]) -> list[BoardItem]:
    missing: list[Item] = []
    for item in items:
        if await catalogue.find(tenant.number, board.item_type, item.id) is None:
            missing.append(item)  # noqa: PERF401  # one question at a time: this runs while a server starts
    return await catalogue.add(tenant, board, missing) if missing else []


def _read(name: str) -> bytes:
    return (files(__name__) / name).read_bytes()
