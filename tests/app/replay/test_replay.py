"""`plaudit replay` against a whole server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from app.cli import main
from app.replay.contest import read_contests
from channels.client import PlauditClient
from storage.verify import verify_shard
from tests.app.running import Installation, Running, install, running

EUROVISION = Path(__file__).parents[4] / "shared" / "data" / "eurovision"

ENTRIES = """item_id,title,artist,url,official_points
a,Glass Rivers,Vela,https://www.songs.example/a,22
b,[red]Second,Ötto,https://songs.example/b,13
c,Third,Kiln,https://songs.example/c,0
"""
VOTES = "agent_id,item_id,points\nch,a,12\nat/jury,a,10\nat/jury,b,12\nch,b,1\n"


@pytest_asyncio.fixture
async def installation(database_url: str, redis_url: str, prefix: str) -> Installation:
    """Stores of the test's own."""
    return await install(database_url, redis_url, prefix)


@pytest_asyncio.fixture
async def server(installation: Installation) -> AsyncIterator[Running]:
    """A server on them."""
    async with running(installation) as server:
        yield server


async def replay(server: Running, key: str, entries: Path, votes: Path, *more: str) -> Result:
    """The command as it is called; it has a loop of its own, and so a thread."""
    files = ["--entries", str(entries), "--votes", str(votes)]
    command = ["replay", "--board", "esc", *files, "--url", server.url, "--admin-key", key, *more]
    return await asyncio.to_thread(CliRunner().invoke, main, command)


def files(folder: Path, entries: str = ENTRIES, votes: str = VOTES) -> tuple[Path, Path]:
    (folder / "entries.csv").write_text(entries, encoding="utf-8")
    (folder / "votes.csv").write_text(votes, encoding="utf-8")
    return folder / "entries.csv", folder / "votes.csv"


async def test_a_contest_is_made_voted_on_and_compared(
    server: Running, installation: Installation, tmp_path: Path
) -> None:
    result = await replay(server, installation.admin_key, *files(tmp_path))
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["1", "Glass", "Rivers", "Vela", "22", "22", "✓"] in lines
    assert ["2", "[red]Second", "Ötto", "13", "13", "✓"] in lines
    assert ["3", "Third", "Kiln", "0", "0", "✓"] in lines
    assert "4 votes in " in result.stdout
    assert "(4 applied)" in result.stdout
    board = (await server.services.registry.boards(installation.tenant))["esc"]
    assert (board.ballot, board.minimum, board.maximum, board.ballots_change) == ("points", 1, 12, False)


async def test_a_replay_may_be_repeated(server: Running, installation: Installation, tmp_path: Path) -> None:
    await replay(server, installation.admin_key, *files(tmp_path))
    # Some of it is there already, some is not.
    more = files(
        tmp_path, ENTRIES.replace(",0\n", ",8\n") + "d,New,Kiln,https://songs.example/d,0\n", VOTES + "de,c,8\n"
    )
    result = await replay(server, installation.admin_key, *more)
    assert result.exit_code == 0, result.output
    assert "(4 unchanged, 1 applied)" in result.stdout


async def test_a_table_that_differs_is_told(server: Running, installation: Installation, tmp_path: Path) -> None:
    result = await replay(server, installation.admin_key, *files(tmp_path, ENTRIES.replace(",13\n", ",14\n")))
    assert result.exit_code == 1
    assert "14 ✗" in result.stdout


async def test_votes_that_fail_are_told(server: Running, installation: Installation, tmp_path: Path) -> None:
    await replay(server, installation.admin_key, *files(tmp_path))
    result = await replay(server, installation.admin_key, *files(tmp_path, votes=VOTES.replace("ch,a,12", "ch,a,11")))
    assert result.exit_code == 1
    assert "ch on a of esc: already_voted" in result.stderr
    assert "(3 unchanged, 1 failed)" in result.stdout


async def test_speed_is_kept_to(server: Running, installation: Installation, tmp_path: Path) -> None:
    result = await replay(server, installation.admin_key, *files(tmp_path), "--speed", "20")
    assert result.exit_code == 0, result.output
    # Four votes at twenty a second: the last one is sent three twentieths of a second after the first.
    assert float(result.stdout.split("4 votes in ")[1].split(" s")[0]) >= 0.15


async def test_mistakes_are_one_sentence(server: Running, installation: Installation, tmp_path: Path) -> None:
    entries, votes = files(tmp_path)
    refused = await replay(server, "no-such-admin-key", entries, votes)
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: The server refused POST /api/v1/boards with 401: ")
    votes.write_text(VOTES + "de,z,1\n", encoding="utf-8")
    wrong = await replay(server, installation.admin_key, entries, votes)
    assert wrong.stderr == f"Error: {votes}:6: z is not among the entries.\n"


@pytest.mark.skipif(not EUROVISION.is_dir(), reason="the Eurovision votes are not beside the project")
async def test_eurovision_ends_as_it_did(server: Running, installation: Installation) -> None:
    entries, votes = EUROVISION / "entries.csv", EUROVISION / "votes.csv"
    result = await replay(server, installation.admin_key, entries, votes)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("✓") == 104
    assert "3,360 votes in" in result.stdout

    contests = read_contests("esc", entries, votes)
    assert sum(len(contest.entries) for contest in contests) == 104
    services = server.services
    shard = installation.tenant.shard
    await services.caught_up(shard)
    reports = {report.board: report for report in await verify_shard(services.live, services.archive, shard)}
    async with PlauditClient(server.url) as viewer:
        for contest in contests:
            official = {entry.item_id: entry.official for entry in contest.entries}
            view = await anext(viewer.watch(contest.slug, top=50))
            assert {entry.item: entry.score for entry in view.entries} == official
            assert not reports[contest.slug].differences
            songs = await asyncio.gather(
                *(services.catalogue.find(installation.tenant.number, "song", item) for item in official)
            )
            archived = {song.item.id: song.standings[contest.slug][2] / 100 for song in songs if song is not None}
            assert archived == official
