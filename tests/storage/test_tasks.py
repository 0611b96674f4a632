"""Tasks end when they are told to, even those that do not hear it at once."""

import asyncio
import contextlib

from storage.tasks import end


async def test_a_task_that_takes_no_notice_is_told_again() -> None:
    cancelled = 0

    async def deaf() -> None:
        nonlocal cancelled
        while cancelled < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end(task)
    assert task.done()
    assert cancelled == 2


async def test_whatever_tasks_end_with_is_taken() -> None:
    async def fails() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise ValueError("at the end")

    tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.Event().wait())]
    await asyncio.sleep(0)
    await end(*tasks)
    assert [task.cancelled() for task in tasks] == [False, True]
