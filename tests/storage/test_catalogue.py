"""Songs and tools: kept whole, listed newest first, found in spite of typing errors."""

from __future__ import annotations

import msgspec
import pytest
import pytest_asyncio

from storage.archive import Archive
from storage.catalogue import Catalogue, Song, Tool
from storage.directory import Directory
from storage.errors import Exists
from storage.types import Board, BoardItem, ItemType, Tenant
from tests.storage.house import House, song

TITLES = {
    "midnight": "Midnight Synthesis",
    "neon": "Neon Cathedral",
    "percent": "100% Silicon",
    "under": "snake_case lullaby",
    "back": "C:\\loops\\take",
    "lodz": "Łódź nocą",
    "road": "ΟΔΟΣ Ονείρων",
    "tokyo": "東京の夜",
}


class Shop:
    def __init__(self, archive: Archive, tenant: Tenant, songs: Board, tools: Board) -> None:
        self.catalogue = Catalogue(archive)
        self.tenant = tenant
        self.songs = songs
        self.tools = tools

    async def found(self, q: str | None, kind: ItemType = "song", limit: int = 100, offset: int = 0) -> list[str]:
        page = await self.catalogue.search(self.tenant.number, kind, q, limit, offset)
        return [kept.item.id for kept in page.found]


@pytest_asyncio.fixture
async def shop(archive: Archive) -> Shop:
    tenant, (songs, tools) = await Directory(archive).add_tenant("default", 4)
    opened = Shop(archive, tenant, songs, tools)
    await opened.catalogue.add(
        tenant, songs, [song(name, title=title, artist=f"Artist {n}") for n, (name, title) in enumerate(TITLES.items())]
    )
    return opened


async def test_everything_that_is_told_of_an_item_is_kept(shop: Shop) -> None:
    full = Song("s", "Title", "Ärtist", "suno", "https://x/1", "folk", "calm", 92.5)
    bare = Song("s2", "Title", "Artist", "udio", "https://x/2")
    tool = Tool("t", "Name", "https://t", "https://t?ref=1", 0.15, "mastering", ["stems", "é, \"'{}\\"], "free tier")
    plain = Tool("t2", "Other", "https://t2", features=[])
    added = await shop.catalogue.add(shop.tenant, shop.songs, [full, bare])
    assert {item[1:] for item in added} == {("song", "s", "Title", "Ärtist"), ("song", "s2", "Title", "Artist")}
    added = await shop.catalogue.add(shop.tenant, shop.tools, [tool])
    assert added == [BoardItem(added[0].number, "tool", "t", "Name", None)]
    await shop.catalogue.add(shop.tenant, shop.tools, [plain])
    kinds: list[tuple[ItemType, Song | Tool]] = [("song", full), ("song", bare), ("tool", tool), ("tool", plain)]
    for kind, item in kinds:
        kept = await shop.catalogue.find(shop.tenant.number, kind, item.id)
        assert kept is not None
        assert kept.item == item
        assert kept.standings == {"songs" if kind == "song" else "tools": (0, 0, 0)}
        assert kept.created_at.tzinfo is not None
    assert await shop.catalogue.find(shop.tenant.number, "tool", "s") is None
    assert await shop.catalogue.find(shop.tenant.number + 1, "song", "s") is None
    assert (await shop.catalogue.search(shop.tenant.number, "tool", None, 10, 0)).found[0].item == plain


async def test_items_are_added_all_or_none(shop: Shop, archive: Archive) -> None:
    for batch in ([song("new"), song("neon")], [song("new"), song("new")]):
        with pytest.raises(Exists):
            await shop.catalogue.add(shop.tenant, shop.songs, batch)
    assert await shop.catalogue.find(shop.tenant.number, "song", "new") is None
    other, (songs, _) = await Directory(archive).add_tenant("other", 4)
    assert len(await shop.catalogue.add(other, songs, [song("neon")])) == 1


async def test_listing_is_newest_first_and_paged(shop: Shop) -> None:
    newest_first = list(reversed(TITLES))
    assert await shop.found(None) == newest_first
    for offset in range(0, 9, 3):
        assert await shop.found(None, limit=3, offset=offset) == newest_first[offset : offset + 3]
    assert (await shop.catalogue.search(shop.tenant.number, "song", None, 3, 3)).total == len(TITLES)


async def test_a_search_forgives_typing_errors(shop: Shop) -> None:
    wanted = {
        "Midnight Synthesis": "midnight",
        "midnigth synthsis": "midnight",
        "sinthesys": "midnight",
        "NEON CATHEDRAL": "neon",
        "catedral neon": "neon",
        "Artist 6": "road",
        "łódź": "lodz",
        "ŁÓDŹ NOC": "lodz",
        "οδος": "road",
        "ΟΔΟΣ": "road",
        "ΟΝΕΊΡΩΝ": "road",
        "東京": "tokyo",
    }
    assert {q: (await shop.found(q))[:1] for q in wanted} == {q: [name] for q, name in wanted.items()}


async def test_characters_of_patterns_mean_themselves(shop: Shop) -> None:
    only = {"%": "percent", "_": "under", "\\": "back"}
    assert {q: await shop.found(q) for q in only} == {q: [name] for q, name in only.items()}
    first = {"0%": "percent", "e_c": "under", "100% sil": "percent", "C:\\loops": "back", ":\\l": "back"}
    assert {q: (await shop.found(q))[:1] for q in first} == {q: [name] for q, name in first.items()}


async def test_a_search_without_a_match_and_one_without_a_text(shop: Shop) -> None:
    assert await shop.found("qqqqqq") == []
    assert (await shop.catalogue.search(shop.tenant.number, "song", "qqqqqq", 10, 0)).total == 0
    assert await shop.found("'; drop table items; --") == []
    assert sorted(await shop.found("")) == sorted(TITLES)
    assert await shop.found("neon", "tool") == []


async def test_standings_are_those_that_the_archive_has(house: House) -> None:
    await house.cast(
        house.vote("ann", "aria", 1),
        house.vote("bob", "aria", -1),
        house.vote("cyd", "aria", 1),
        house.vote("ann", "aria", 7, house.contest),
    )
    await house.flush()
    kept = await Catalogue(house.archive).find(house.tenant.number, "song", "aria")
    assert kept is not None
    assert kept.standings == {"songs": (2, 1, 100), "contest": (1, 0, 350)}
    assert msgspec.structs.asdict(kept.item)["id"] == "aria"


async def test_a_page_beyond_the_last_one_tells_how_many_there_are(shop: Shop) -> None:
    for q, total in ((None, len(TITLES)), ("neon cathedral", 1)):
        page = await shop.catalogue.search(shop.tenant.number, "song", q, 10, 100)
        assert (page.found, page.total) == ([], total)


async def test_a_search_uses_the_index_however_often_it_was_asked(shop: Shop, archive: Archive) -> None:
    """A plan that PostgreSQL keeps is made without knowledge of the text."""
    async with archive.session() as connection:
        await connection.execute(
            "insert into items (tenant_id, item_type, item_id, title) "
            "select $1, 'song', n, repeat(md5(n::text), 6) from generate_series(1, 5000) as n",
            shop.tenant.number,
        )
        await connection.execute("vacuum analyze items")
        await connection.execute("set plan_cache_mode = force_generic_plan")
        query = "explain " + archive.queries.search_items.sql
        plan = await connection.fetch(query, shop.tenant.number, "song", "neon", "%neon%", 10, 0)
    assert "items_searchable" in "\n".join(line[0] for line in plan)
