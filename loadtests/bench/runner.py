"""Runs cases one after another."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence

from loadtests.bench.figures import Case, Measurement
from loadtests.bench.lab import Lab
from loadtests.bench.machine import Crowd, describe
from loadtests.bench.report import Report, Row


async def run(cases: Sequence[Case], begin: Callable[[Case], None], end: Callable[[Row], None]) -> Report:
    """Each case in turn, on one pair of stores. One that breaks is a row that says so, and the others go on."""
    rows = []
    async with Lab.open() as lab:
        machine = await describe(lab)
        for case in cases:
            begin(case)
            crowd, began = Crowd(lab), time.monotonic()
            measured = await _measured(case, lab)
            rows.append(Row.of(case, measured, crowd.cores(), time.monotonic() - began))
            end(rows[-1])
    return Report(machine, rows)


async def _measured(case: Case, lab: Lab) -> Measurement:
    try:
        return await case.run(lab)
    except Exception as error:  # noqa: BLE001  # whatever went wrong with one case, the others are still of use
        traceback.print_exc()
        return Measurement(figure=f"broke: {type(error).__name__}: {error}", met=False, broke=True)
