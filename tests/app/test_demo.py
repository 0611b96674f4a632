"""The demo catalogue, in real stores."""

from app.demo import AGENT, demo_songs, demo_tools, load_demo
from storage.archive import Archive
from storage.boards import Boards
from storage.catalogue import Catalogue
from storage.directory import Directory
from storage.live import LiveStore
from storage.recovery import Recovery

NOW = 1_790_000_000_000


def test_the_demo_is_of_the_size_that_is_told() -> None:
    songs, tools = demo_songs(), demo_tools()
    assert (len(songs), len(tools)) == (40, 12)
    assert len({song.id for song in songs}) == 40
    assert len({tool.id for tool in tools}) == 12
    assert all(song.genre and song.mood and song.tempo for song in songs)


async def test_the_demo_adds_what_is_missing_and_no_more(database_url: str, redis_url: str, prefix: str) -> None:
    async with Archive(database_url) as archive, LiveStore(redis_url, prefix) as live:
        directory, catalogue, boards = Directory(archive), Catalogue(archive), Boards(archive)
        tenant, made = await directory.add_tenant("default", 1)
        songs = next(board for board in made if board.slug == "songs")
        await Recovery(live, archive, lambda: NOW).ensure(tenant.shard)
        # One song of the demo is there already.
        first = demo_songs()[0]
        await live.add_items(songs, await catalogue.add(tenant, songs, [first]), NOW)

        for _ in range(2):
            assert await load_demo(directory, catalogue, boards, live, tenant, NOW) == AGENT
        issued = await directory.add_agent_key(tenant, AGENT)
        assert (issued.agent.agent_id, issued.agent.tier) == (AGENT, "pro")

        assert (await catalogue.search(tenant.number, "song", None, 100, 0)).total == 40
        assert (await catalogue.search(tenant.number, "tool", None, 100, 0)).total == 12
        assert [await live.item_count(tenant.shard, board.number) for board in made] == [40, 12]
