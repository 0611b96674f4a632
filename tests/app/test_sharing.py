"""Reads that are shared: how many there are, and that nobody gets what is older than the question."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from app.sharing import Sharing


class Slow:
    """A read that ends when it is told to, and finds its own number."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Future[None]] = []

    async def __call__(self) -> int:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        number = len(self.gates)
        await gate
        return number

    async def begun(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.gates) < number:
                await asyncio.sleep(0)

    def end(self, error: Exception | None = None) -> None:
        gate = self.gates[-1]
        if error is None:
            gate.set_result(None)
        else:
            gate.set_exception(error)


def asking(sharing: Sharing[str, int], key: str, read: Callable[[], Awaitable[int]]) -> asyncio.Task[int]:
    return asyncio.create_task(sharing.get(key, read))


async def test_who_comes_meanwhile_shares_the_next_one() -> None:
    sharing: Sharing[str, int] = Sharing()
    slow = Slow()
    together = [asking(sharing, "a", slow) for _ in range(3)]
    await slow.begun(1)
    later = [asking(sharing, "a", slow) for _ in range(3)]
    other = asking(sharing, "b", slow)
    await slow.begun(2)
    assert len(slow.gates) == 2, "one of each key"
    slow.end()
    assert await other == 2
    slow.gates[0].set_result(None)
    assert await asyncio.gather(*together) == [1, 1, 1]
    await slow.begun(3)
    last = asking(sharing, "a", slow)
    slow.end()
    assert await asyncio.gather(*later) == [3, 3, 3]
    await slow.begun(4)
    slow.end()
    assert await last == 4
    assert (sharing._under_way, sharing._next) == ({}, {})


async def test_an_error_is_for_all_who_asked_and_for_nobody_else() -> None:
    sharing: Sharing[str, int] = Sharing()
    slow = Slow()
    first = [asking(sharing, "a", slow) for _ in range(2)]
    await slow.begun(1)
    second = asking(sharing, "a", slow)
    slow.end(ValueError("no"))
    for task in first:
        with pytest.raises(ValueError, match="no"):
            await task
    await slow.begun(2)
    slow.end()
    assert await second == 2


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    sharing: Sharing[str, int] = Sharing()
    slow = Slow()
    first, second = asking(sharing, "a", slow), asking(sharing, "a", slow)
    await slow.begun(1)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    slow.end()
    assert await second == 1


async def test_an_error_that_nobody_waits_for_is_no_complaint() -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    sharing: Sharing[str, int] = Sharing()
    slow = Slow()
    asked = asking(sharing, "a", slow)
    await slow.begun(1)
    asked.cancel()
    slow.end(ValueError("no"))
    async with asyncio.timeout(10):
        while sharing._under_way:
            await asyncio.sleep(0)
    del asked, slow
    assert complaints == []
