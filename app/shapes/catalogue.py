"""Songs and tools."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.shapes.common import NO_NUL, Name, PageQuery, Score, Text, Title, Url
from storage.catalogue import Song, Tool


class BoardCounts(Struct):
    """How an item stands on one board."""

    up_votes: int
    down_votes: int
    score: Score


class CataloguedSong(Song, frozen=True, kw_only=True):
    """A song, its counts on the board `songs`, and on every board that has it."""

    created_at: datetime
    up_votes: int
    down_votes: int
    score: Score
    boards: dict[str, BoardCounts]


class CataloguedTool(Tool, frozen=True, kw_only=True):
    """A tool, its counts on the board `tools`, and on every board that has it."""

    created_at: datetime
    up_votes: int
    down_votes: int
    score: Score
    boards: dict[str, BoardCounts]


class SongList(Struct):
    """Songs, newest first, or with `q` the most similar first; `total` counts all that were found."""

    total: int
    limit: int
    offset: int
    songs: list[CataloguedSong]


class ToolList(Struct):
    """Tools, newest first, or with `q` the most similar first; `total` counts all that were found."""

    total: int
    limit: int
    offset: int
    tools: list[CataloguedTool]


class SearchQuery(PageQuery):
    """What is looked for, forgiving typing errors; empty for everything."""

    q: Annotated[str, Meta(max_length=200, pattern=NO_NUL)] = ""


class NewSong(Song, frozen=True, forbid_unknown_fields=True):
    """A song; `tempo` in beats a minute."""

    id: Name
    title: Title
    artist: Title
    platform: Text
    platform_url: Url
    genre: Text | None = None
    mood: Text | None = None
    tempo: Annotated[float, Meta(gt=0, le=10_000)] | None = None


class NewTool(Tool, frozen=True, forbid_unknown_fields=True):
    """A music tool; `commission_rate` as a fraction (0.2 is 20 %)."""

    id: Name
    name: Title
    website: Url
    affiliate_link: Url | None = None
    commission_rate: Annotated[float, Meta(ge=0)] | None = None
    category: Text | None = None
    features: Annotated[list[Text], Meta(max_length=100)] | None = None
    pricing: Text | None = None
