"""The bench's floors stand on parts of the server: they have to move with it."""

import json

import pytest

from loadtests.bench.cases import CASES
from loadtests.bench.child import child
from loadtests.bench.clients.requests import RequestRun
from loadtests.bench.clients.voters import VoteRun
from loadtests.bench.figures import Measurement
from loadtests.bench.machine import Machine
from loadtests.bench.report import Report, Row, markdown


async def test_the_echo_answers() -> None:
    async with child("floors.echo") as echo:
        port = await echo.call("port", int)
        async with child("clients.voters", port=port, keys=[None] * 4, board="bench", items=10**9) as voters:
            run = await voters.call("run", VoteRun, seconds=0.1, in_flight=2)
    assert run.acked > 0
    assert (run.errors, run.lost) == ({}, 0)


@pytest.mark.parametrize(("plan", "status"), [("vote", "201"), ("get", "200")])
async def test_the_handlers_answer(plan: str, status: str) -> None:
    more = {"keys": ["key"] * 4, "board": "bench", "items": 100} if plan == "vote" else {"path": "/api/v1/boards/bench"}
    async with child("floors.handlers", body=json.dumps({"answer": 42}), headers={}) as floor:
        port = await floor.call("port", int)
        async with child("clients.requests", port=port, plan=plan, connections=4, **more) as callers:
            run = await callers.call("run", RequestRun, seconds=0.1)
    assert run.answered > 0
    assert list(run.statuses) == [status]


def test_a_report_shows_every_case() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    measured = Measurement(figure="1 | 2 votes/s", floor="3", ratio=0.333, met=False, notes=["because"])
    rows = [Row.of(case, measured, 0.25, 1.0) for case in CASES]
    machine = Machine("2026-01-01", "abc", "a processor", 2, 24.0, "Linux", 0.2, {"plaudit": "0.1.0"})
    table = markdown(Report(machine, rows))
    for case in CASES:
        assert f"| {case.name}: {case.what} | 1 \\| 2 votes/s | 3 | 0.33 | {case.target} | NO |" in table
        assert f"| {case.name} | because | 0.25 | 1.0 |" in table
