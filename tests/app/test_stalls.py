"""A loop that stands still is noticed, with what it was doing."""

import asyncio
import time

from structlog.testing import capture_logs

from app.stalls import StallMonitor
from storage.tasks import end


def dawdle(seconds: float) -> None:
    """Keeps the loop busy."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_a_stall_is_measured_and_its_culprit_named() -> None:
    stalls: list[float] = []
    monitor = asyncio.create_task(StallMonitor(stalls.append, threshold=0.1).run())
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
            dawdle(0.4)
            while not stalls:
                await asyncio.sleep(0)
    await end(monitor)
    assert 0.2 < stalls[0] < 5
    (line,) = logs
    assert line["seconds"] == round(stalls[0], 3)
    assert "dawdle" in line["running"]


async def test_a_loop_that_is_busy_in_small_pieces_does_not_count_as_standing_still() -> None:
    stalls: list[float] = []
    monitor = asyncio.create_task(StallMonitor(stalls.append, threshold=1.0).run())
    for _ in range(50):
        dawdle(0.01)
        await asyncio.sleep(0)
    await end(monitor)
    assert stalls == []
