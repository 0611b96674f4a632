"""The load test itself, in processes of its own: Locust makes the whole process it runs in another one."""

import asyncio
import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from loadtests.run import LOCUSTFILE
from tests.loadtests.liar import Lie, lost_delta, lying, truth, two_answers, wrong_digest

ROOT = LOCUSTFILE.parent.parent

# What only this user does, or all that do it are counted: viewers ping at once.
TRACES = {
    "WebsocketAgent": ("WS", "vote ack"),
    "HttpAgent": ("POST", "/api/v1/vote"),
    "TwinVoter": ("ATTACK", "same vote at once"),
    "Flooder": ("ATTACK", "flood"),
    "GarbageSender": ("ATTACK", "garbage: noise"),
    "StalledViewer": ("ATTACK", "stop reading, then catch up"),
}


class Outcome(NamedTuple):
    """What a run of Locust came to."""

    code: int
    output: str
    requests: dict[tuple[str, str], int]
    failures: set[tuple[str, str]]


async def run(*command: str, reports: Path) -> Outcome:
    """Runs a module that writes Locust's figures into a folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, cwd=ROOT, env=environ, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(120):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    requests = {(row["Type"], row["Name"]): int(row["Request Count"]) for row in _rows(reports / "load_stats.csv")}
    failures = {(row["Name"], row["Error"]) for row in _rows(reports / "load_failures.csv")}
    return Outcome(process.returncode or 0, output.decode(), requests, failures)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


async def test_everything_for_some_seconds(tmp_path: Path) -> None:
    """`make load`, only shorter: every kind of user does something, and nothing fails."""
    outcome = await run("loadtests.run", f"--reports={tmp_path}", "--run-time=8s", "--herd-every=4", reports=tmp_path)
    assert outcome.failures == set(), outcome.output
    assert outcome.code == 0, outcome.output
    spawned = json.loads(outcome.output.rpartition("All users spawned: ")[2].partition(" (")[0])
    assert set(spawned) == {*TRACES, "BoardViewer", "ManyBoardsViewer"}
    assert all(spawned.values())
    for user, trace in TRACES.items():
        assert outcome.requests.get(trace), (user, outcome.output)
    viewers = spawned["BoardViewer"] + spawned["ManyBoardsViewer"]
    connected = viewers + spawned["WebsocketAgent"]
    assert outcome.requests["WS", "ping"] >= viewers
    assert outcome.requests["WS", "connect"] >= 2 * connected
    assert outcome.requests["WS", "catch-up after reconnect"] >= connected
    assert outcome.requests["WS", "delta age"] > 100
    assert ("GET", "/api/v1/boards/{board}") in outcome.requests
    assert (tmp_path / "load.html").stat().st_size > 10_000


async def watch(url: str, users: int, reports: Path) -> Outcome:
    """Viewers for some seconds."""
    options = ("--headless", f"--users={users}", f"--spawn-rate={users}", "--run-time=3s", f"--csv={reports / 'load'}")
    chosen = ("--host", url, "--board=songs", "--codec=json", "BoardViewer")
    return await run("locust", "-f", str(LOCUSTFILE), *options, *chosen, reports=reports)


LIES = {
    wrong_digest: ("delta", "a digest that does not hold"),
    lost_delta: ("delta", "a delta that does not start where the last one ended"),
    two_answers: ("answer", "a second answer to one message"),
}


async def test_a_lie_is_a_failure_and_the_truth_is_none(tmp_path: Path) -> None:
    async def told(lie: Lie, users: int) -> Outcome:
        reports = tmp_path / lie.__name__
        reports.mkdir()
        async with lying(lie) as url:
            return await watch(url, users, reports)

    # All at once: what takes time is to watch.
    honest, *outcomes = await asyncio.gather(told(truth, 3), *(told(lie, 1) for lie in LIES))
    assert (honest.code, honest.failures) == (0, set()), honest.output
    assert honest.requests["WS", "delta"] == 3
    for outcome, (name, what) in zip(outcomes, LIES.values(), strict=True):
        assert outcome.code == 1, outcome.output
        assert outcome.failures == {(name, f"CheckFailed('{what}')")}


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    outcome = await watch("http://127.0.0.1:9", 1, tmp_path)
    assert outcome.code == 2
    assert "can't be reached" in outcome.output
