"""The command line: `python -m loadtests.bench [case,case,...]`."""

from __future__ import annotations

import resource
import sys

import click
import uvloop
from rich.console import Console

from app.logs import configure
from app.settings import Settings
from loadtests.bench.cases import CASES
from loadtests.bench.figures import Case
from loadtests.bench.report import Row, show, write
from loadtests.bench.runner import run

_FILES = 12_000


@click.command
@click.argument("cases", required=False)
@click.option("--list", "only_list", is_flag=True, help="Only list the cases.")
def main(cases: str | None, only_list: bool) -> None:
    """Measure every case, or those that CASES names with commas, beside its floor."""
    if only_list:
        for case in CASES:
            click.echo(f"{case.name:12} {case.what}: {case.target}")
        return
    chosen = _chosen(cases)
    _allow_many_files()
    configure(Settings(log_level="error"))
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)

    def end(row: Row) -> None:
        console.print(f"  {row.measured.figure} ({row.seconds:.0f} s)")
        for note in row.measured.notes:
            console.print(f"    {note}", style="dim")

    report = uvloop.run(run(chosen, lambda case: console.print(f"{case.name}: {case.what}"), end))
    show(report, console)
    console.print(f"Written to {' and '.join(str(path) for path in write(report))}.")
    if any(row.measured.broke for row in report.rows):
        sys.exit(1)


def _chosen(names: str | None) -> list[Case]:
    known = {case.name: case for case in CASES}
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise click.BadParameter(f"no case is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def _allow_many_files() -> None:
    """Every connection is a file, here and in the server that we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < _FILES:
        click.echo(
            f"Only {most} files may be open here: cases with many connections need {_FILES} (ulimit -n).", err=True
        )


if __name__ == "__main__":
    main()
