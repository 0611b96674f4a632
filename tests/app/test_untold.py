"""What is made while the live store is out of reach, and by whom the wrong time is."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.creation import new_board, tell_live
from app.services import Services, wall_clock
from app.shapes.boards import BallotRules, BoardRules
from app.standings import AT_ONCE
from app.untold import Untold
from storage.types import TopView
from tests.app.running import install
from tests.app.sockets import Stage, opened
from tests.proxy import Proxy, unix_socket

DAY = 86_400_000
SONG = {"title": "Late", "artist": "Vela", "platform": "suno", "platform_url": "https://suno.example/song"}
BOARD = {"title": "Late", "item_type": "song", "ballot": {"kind": "updown"}}


async def test_what_was_made_while_the_live_store_was_away_is_in_it_when_it_is_back(
    database_url: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy(unix_socket(redis_url)) as proxy:
        where = await install(database_url, f"redis://127.0.0.1:{proxy.port}", prefix)
        async with opened(where) as stage, stage.agent() as agent:
            services, told = stage.services, asyncio.Event()
            complete = services.untold._complete

            async def noted(shard: int) -> None:
                await complete(shard)
                told.set()

            monkeypatch.setattr(services.untold, "_complete", noted)
            proxy.refuse()
            await stage.admin("/songs", {"id": "late"} | SONG)
            await stage.admin("/boards", {"slug": "late"} | BOARD)
            proxy.accept()
            async with asyncio.timeout(20):
                await told.wait()
            await stage.until(lambda: services.batchers[where.tenant.shard].available)
            assert (await agent.vote("late"))["status"] == "applied"
            assert (await agent.ask("subscribe", board="late"))["type"] == "snapshot"


async def test_nothing_is_forgotten_over_an_error_that_nobody_expected() -> None:
    tries: list[int] = []

    async def complete(shard: int) -> None:
        tries.append(shard)
        if len(tries) == 1:
            raise RuntimeError

    untold = Untold(complete)
    untold.add(3)
    with pytest.raises(RuntimeError):
        await untold.run()
    running = asyncio.create_task(untold.run())
    async with asyncio.timeout(10):
        while len(tries) < 2:
            await asyncio.sleep(0)
    running.cancel()
    assert tries == [3, 3]


async def test_of_many_boards_all_are_told_of_though_none_can_be_looked_at(stage: Stage) -> None:
    services = stage.services
    slugs = [f"b{n}" for n in range(5)]
    async with AsyncExitStack() as stack:
        for _ in range(AT_ONCE):
            await stack.enter_async_context(services.standings._turns.turn())
        await stage.admin("/boards", [{"slug": slug} | BOARD for slug in slugs])
    boards = await services.boards.of_tenant(stage.where.tenant.number)
    made = [board for board in boards if board.slug in slugs]
    assert len(made) == 5
    for board in made:
        assert (await services.standings.view(board, "all", TopView(1))).total == 0


async def test_a_board_made_through_a_server_that_is_ahead_moves_no_clock(
    database_url: str, redis_url: str, prefix: str
) -> None:
    where = await install(database_url, redis_url, prefix)
    late = Services.open(where.settings, redis_url, database_url, now=lambda: wall_clock() + 3 * DAY)
    async with late as ahead:
        rules = BoardRules("contest", "Contest", "song", BallotRules("like"))
        (board,) = await ahead.boards.add(where.tenant, [new_board(rules)])
        await tell_live(ahead, [board])
        state = await ahead.live.board_state(board.shard, board.number)
        clock = await ahead.live._redis.hget(f"{ahead.live.tag(board.shard)}:meta", "clock")
    assert state is not None
    assert state.shown_at <= wall_clock()
    assert int(clock) <= wall_clock() + DAY / 2
