"""Tenants as a server knows them: whatever names are guessed, PostgreSQL is asked once for all of them."""

import asyncio
from typing import Any, cast

import pytest

from app.questions import PATIENCE
from app.registry import Registry
from channels.errors import PlauditError
from storage.errors import ArchiveUnavailable
from storage.types import Board, Tenant
from tests.channels.theatre import board
from tests.channels.virtual import run


class Directory:
    """Knows tenants, and how often it was asked for them."""

    def __init__(self) -> None:
        self.slugs = ["default"]
        self.asked = 0
        self.takes = 0.01

    async def tenants(self) -> list[Tenant]:
        self.asked += 1
        known = [Tenant(number, slug, 0) for number, slug in enumerate(self.slugs, 1)]
        await asyncio.sleep(self.takes)
        return known


async def opened(directory: Directory) -> Registry:
    """A registry that hears notices."""
    registry = Registry(cast("Any", directory), cast("Any", None), "default")
    registry.heard()
    assert (await registry.tenant()).slug == "default"
    return registry


async def guess(registry: Registry, slugs: list[str]) -> list[str]:
    """What each guess is answered."""

    async def one(slug: str) -> str:
        try:
            return (await registry.tenant(slug)).slug
        except PlauditError as error:
            return error.code
        except ArchiveUnavailable:
            return "unavailable"

    return list(await asyncio.gather(*map(one, slugs)))


NOBODY = [f"guest-{number}" for number in range(100)]


def test_who_guesses_at_tenants_asks_nobody() -> None:
    async def main() -> None:
        directory = Directory()
        registry = await opened(directory)
        assert await guess(registry, [*NOBODY, "default", "\0", "x" * 10_000]) == [
            *["unknown_board"] * 100,
            "default",
            "unknown_board",
            "unknown_board",
        ]
        assert directory.asked == 1

    run(main())


def test_a_new_tenant_is_known_once_it_was_told_of() -> None:
    async def main() -> None:
        directory = Directory()
        registry = await opened(directory)
        registry.forget_boards(1)
        early = asyncio.create_task(registry.tenant("guest-7"))
        await asyncio.sleep(directory.takes / 2)
        directory.slugs.append("guest-7")
        registry.forget_boards(2)
        # Not by the answer that is under way.
        assert (await registry.tenant("guest-7")).slug == "guest-7"
        with pytest.raises(PlauditError):
            await early
        assert await guess(registry, NOBODY) == [slug if slug == "guest-7" else "unknown_board" for slug in NOBODY]

    run(main())


@pytest.mark.parametrize("back", [False, True])
def test_a_tenant_that_was_made_unheard_is_found(back: bool) -> None:
    async def main() -> None:
        directory = Directory()
        registry = await opened(directory)
        assert await guess(registry, NOBODY[:1]) == ["unknown_board"]
        registry.lost()
        directory.slugs.append("guest-0")
        if back:
            registry.heard()
        assert await guess(registry, NOBODY[:1]) == ["guest-0"]

    run(main())


def test_while_postgres_is_silent_guessing_takes_none_of_its_connections() -> None:
    async def main() -> None:
        directory = Directory()
        registry = await opened(directory)
        registry.lost()
        directory.takes = 3600
        for _ in range(10):
            assert await guess(registry, [*NOBODY, "default"]) == ["unavailable"] * 100 + ["default"]
        assert asyncio.get_running_loop().time() < 2 * PATIENCE
        assert directory.asked == 2

    run(main())


class BoardsKept:
    """Knows a board of every tenant, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def of_tenant(self, tenant: int) -> list[Board]:
        self.asked += 1
        await asyncio.sleep(0.01)
        return [board(tenant)]


def test_when_boards_changed_one_asks_for_all() -> None:
    async def main() -> None:
        boards, tenant = BoardsKept(), Tenant(1, "default", 0)
        registry = Registry(cast("Any", Directory()), cast("Any", boards), "default")
        registry.heard()
        for asked in (1, 2):
            found = await asyncio.gather(*(registry.boards(tenant) for _ in range(300)))
            assert all(known.keys() == {"board-1"} for known in found)
            assert boards.asked == asked
            registry.forget_boards(tenant.number)

    run(main())


def test_whoever_asks_after_a_notice_gets_no_answer_from_before_it() -> None:
    async def main() -> None:
        boards, tenant = BoardsKept(), Tenant(1, "default", 0)
        registry = Registry(cast("Any", Directory()), cast("Any", boards), "default")
        registry.heard()
        early = asyncio.create_task(registry.boards(tenant))
        await asyncio.sleep(0)
        registry.forget_boards(tenant.number)
        await asyncio.gather(early, *(registry.boards(tenant) for _ in range(3)))
        assert boards.asked == 2

    run(main())
