"""The table, on the screen and in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.bench.child import ROOT
from loadtests.bench.figures import Case, Measurement
from loadtests.bench.machine import Machine

FOLDER: Final = ROOT / "loadtests" / "reports"
_COLUMNS: Final = ("case", "figure", "floor", "ratio", "target", "met")


class Row(msgspec.Struct, frozen=True):
    """A case and what came out. `others` are the cores that others used meanwhile, `seconds` what the case took."""

    name: str
    what: str
    target: str
    measured: Measurement
    others: float
    seconds: float

    @classmethod
    def of(cls, case: Case, measured: Measurement, others: float, seconds: float) -> Row:
        """The row of a case."""
        return cls(case.name, case.what, case.target, measured, round(others, 2), round(seconds, 1))

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        one = self.measured
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        met = {True: "yes", False: "NO", None: ""}[one.met]
        return f"{self.name}: {self.what}", one.figure, one.floor, ratio, self.target, met


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    machine: Machine
    rows: Sequence[Row]


def show(report: Report, console: Console) -> None:
    """Prints the table."""
    table = Table(*_COLUMNS, title=_headline(report.machine), show_lines=True)
    for row in report.rows:
        table.add_row(*row.cells, style="red" if row.measured.met is False else None)
    console.print(table)


def write(report: Report, folder: Path = FOLDER) -> list[Path]:
    """Leaves the run as `bench.json` and `bench.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    for_machines, for_people = folder / "bench.json", folder / "bench.md"
    for_machines.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    for_people.write_text(markdown(report), encoding="utf-8")
    return [for_machines, for_people]


def markdown(report: Report) -> str:
    """The run for people."""
    machine = report.machine
    lines = [
        "# make bench",
        "",
        f"{_headline(machine)}.",
        f"fsync of 20 KB: {machine.fsync_ms} ms. "
        + ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        + ".",
        "",
        _line(_COLUMNS),
        _line(["---"] * len(_COLUMNS)),
        *(_line(row.cells) for row in report.rows),
        "",
        "| case | notes | cores used by others | seconds |",
        "| --- | --- | --- | --- |",
        *(_line((row.name, "; ".join(row.measured.notes), f"{row.others}", f"{row.seconds}")) for row in report.rows),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _headline(machine: Machine) -> str:
    return (
        f"{machine.date}, revision {machine.revision}: {machine.processor}, {machine.cores} cores, "
        f"{machine.memory_gb} GB, {machine.system}"
    )
