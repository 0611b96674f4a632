"""Programs that are run to their end, on both event loops."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from storage.process import run

Loop = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    chosen: Loop = request.param
    return chosen


def test_it_takes_a_text_and_tells_both_streams_and_the_status(loop: Loop) -> None:
    script = "import sys; print(sys.stdin.read().upper(), flush=True); print('no', file=sys.stderr); sys.exit(3)"
    assert loop(run([sys.executable, "-c", script], text="maße")) == (3, "MASSE\nno\n")


@pytest.mark.parametrize("text", ["", "x", "x" * 1_000_000])
def test_it_may_end_before_it_is_given_anything(loop: Loop, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = asyncio.create_subprocess_exec

    async def begin_and_end(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await begin(*command, **options)
        await process.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", begin_and_end)
    assert loop(run(["echo", "done"], text=text)) == (0, "done\n")


def test_what_is_cancelled_is_killed_with_all_that_it_started(loop: Loop, tmp_path: Path) -> None:
    """A shell and its child, which both have a pipe open for as long as they live."""

    async def play(steps: int) -> None:
        pipe = tmp_path / f"pipe{steps}"
        os.mkfifo(pipe)
        task = asyncio.create_task(run(["sh", "-c", f"exec 3>{pipe}; sleep 20 & wait"]))
        for _ in range(steps):
            await asyncio.sleep(0)
        with await asyncio.to_thread(pipe.open, "rb") as reader:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(10):
                assert await asyncio.to_thread(reader.read) == b""

    # From before it has begun, as far as its own task knows, to when it is waited for.
    for steps in (0, 1, 5, 50):
        loop(play(steps))


def test_a_program_that_is_not_there_is_an_error(loop: Loop) -> None:
    with pytest.raises(FileNotFoundError):
        loop(run(["/nowhere/at/all"]))
