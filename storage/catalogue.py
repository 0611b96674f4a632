"""Songs and tools, in the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from storage.archive import Archive, Connection, Record
from storage.types import Board, BoardItem, ItemType, Tenant


class Song(msgspec.Struct, frozen=True):
    """A song as its tenant describes it; `tempo` in beats a minute."""

    id: str
    title: str
    artist: str
    platform: str
    platform_url: str
    genre: str | None = None
    mood: str | None = None
    tempo: float | None = None


class Tool(msgspec.Struct, frozen=True):
    """A music tool as its tenant describes it; `commission_rate` as a fraction."""

    id: str
    name: str
    website: str
    affiliate_link: str | None = None
    commission_rate: float | None = None
    category: str | None = None
    features: list[str] | None = None
    pricing: str | None = None


class Kept(NamedTuple):
    """A song or tool with what the archive adds to it: when it came, and counts by board."""

    item: Song | Tool
    created_at: datetime
    standings: dict[str, tuple[int, int, int]]
    """Board -> up votes, down votes, points, as far as the archive has them."""


class Page(NamedTuple):
    """Some of the things that were found, and how many there are."""

    found: list[Kept]
    total: int


class Catalogue:
    """What there is to vote on."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def add(self, tenant: Tenant, board: Board, items: Sequence[Song] | Sequence[Tool]) -> list[BoardItem]:
        """New songs or tools, all or none, which join `board` at once. Raises Exists."""
        kind = board.item_type
        async with self._archive.transaction() as connection:
            rows = [
                row
                async for row in self._queries.add_items(
                    connection,
                    tenant=tenant.number,
                    item_type=kind,
                    item_ids=[item.id for item in items],
                    titles=[item.title if isinstance(item, Song) else item.name for item in items],
                    artists=[item.artist if isinstance(item, Song) else None for item in items],
                )
            ]
            numbers = {row["item_id"]: row["id"] for row in rows}
            await self._add_details(connection, items, numbers)
            added = [
                row
                async for row in self._queries.add_board_items(
                    connection, board=board.number, tenant=tenant.number, item_type=kind, item_ids=list(numbers)
                )
            ]
        return [BoardItem(row["id"], kind, row["item_id"], row["title"], row["artist"]) for row in added]

    async def _add_details(
        self, connection: Connection, items: Sequence[Song] | Sequence[Tool], numbers: Mapping[str, int]
    ) -> None:
        songs = [item for item in items if isinstance(item, Song)]
        if songs:
            await self._queries.add_songs(
                connection,
                ids=[numbers[song.id] for song in songs],
                platforms=[song.platform for song in songs],
                urls=[song.platform_url for song in songs],
                genres=[song.genre for song in songs],
                moods=[song.mood for song in songs],
                tempos=[song.tempo for song in songs],
            )
        for tool in items:
            if isinstance(tool, Tool):
                details = {name: getattr(tool, name) for name in _TOOL_DETAILS}
                await self._queries.add_tool(connection, id=numbers[tool.id], **details)

    async def search(self, tenant: int, kind: ItemType, q: str | None, limit: int, offset: int) -> Page:
        """Songs or tools, newest first; with a text those that resemble it, forgiving typing errors."""
        pattern = None if q is None else f"%{_literal(q)}%"
        details = self._queries.songs_of if kind == "song" else self._queries.tools_of
        async with self._archive.connection() as connection:
            page = await self._queries.search_items(
                connection, tenant=tenant, item_type=kind, q=q, pattern=pattern, limit=limit, offset=offset
            )
            rows = [row async for row in details(connection, ids=page["ids"])]
            return Page(await self._kept(connection, tenant, kind, rows), page["total"])

    async def find(self, tenant: int, kind: ItemType, item_id: str) -> Kept | None:
        """One song or tool."""
        query = self._queries.find_song if kind == "song" else self._queries.find_tool
        async with self._archive.connection() as connection:
            row = await query(connection, tenant=tenant, item_id=item_id)
            if row is None:
                return None
            return (await self._kept(connection, tenant, kind, [row]))[0]

    async def _kept(self, connection: Connection, tenant: int, kind: ItemType, rows: Sequence[Record]) -> list[Kept]:
        standings: dict[str, dict[str, tuple[int, int, int]]] = {row["item_id"]: {} for row in rows}
        async for row in self._queries.standings_of(
            connection, tenant=tenant, item_type=kind, item_ids=list(standings)
        ):
            standings[row["item_id"]][row["slug"]] = row["up_votes"], row["down_votes"], row["points"]
        make = _song if kind == "song" else _tool
        return [Kept(make(row), row["created_at"], standings[row["item_id"]]) for row in rows]


_TOOL_DETAILS = ("website", "affiliate_link", "commission_rate", "category", "features", "pricing")
_SONG_DETAILS = ("title", "artist", "platform", "platform_url", "genre", "mood", "tempo")


def _song(row: Record) -> Song:
    return Song(id=row["item_id"], **_picked(row, _SONG_DETAILS))


def _tool(row: Record) -> Tool:
    return Tool(id=row["item_id"], name=row["title"], **_picked(row, _TOOL_DETAILS))


def _picked(row: Record, names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _literal(text: str) -> str:
    """A text as it stands in a LIKE pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
