"""`plaudit migrate`, `verify` and `rebuild`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.commands.common import load_settings, opened, run
from app.services import wall_clock
from app.stores import open_stores
from storage.directory import Directory
from storage.migrations import migrate as apply_migrations
from storage.recovery import Recovery
from storage.types import Board
from storage.verify import BoardReport, verify_shard

_SHOWN = 20


@click.command
def migrate() -> None:
    """Bring the database's schema up to date."""
    settings = load_settings()

    async def work() -> None:
        async with open_stores(settings, attach=True) as stores:
            await apply_migrations(stores.database_url)

    run(work)
    click.echo("The schema is up to date.")


@click.command
def verify() -> None:
    """Recompute every board from its events and compare the archive and the live store.

    Exits with 1 where anything differs. May run beside a server.
    """
    settings = load_settings()
    status = Console(stderr=True).status("Recomputing every board from its events")

    def begun(board: Board) -> None:
        status.update(f"Recomputing every board from its events: {board.slug}")

    async def work() -> list[tuple[str, BoardReport]]:
        async with opened(settings) as (live, archive):
            tenants = {tenant.number: tenant for tenant in await Directory(archive).tenants()}
            return [
                (tenants[report.tenant].slug, report)
                for shard in sorted({tenant.shard for tenant in tenants.values()})
                for report in await verify_shard(live, archive, shard, begun)
            ]

    with status:
        reports = run(work)
    _print_reports(reports)
    if any(report.differences for _, report in reports):
        raise SystemExit(1)


def _print_reports(reports: list[tuple[str, BoardReport]]) -> None:
    grid = Table("tenant", "board", "items", "events", "archive", "live", "verdict", box=None)
    for tenant, report in reports:
        digests = (report.events_digest, report.archive_digest, report.live_digest)
        verdict = f"{len(report.differences)} differences" if report.differences else "same"
        grid.add_row(tenant, report.board, str(report.items), *(f"{digest:08x}" for digest in digests), verdict)
    Console().print(grid)
    for _, report in reports:
        for line in report.differences[:_SHOWN]:
            click.echo(f"{report.board}: {line}", err=True)


@click.command
@click.option(
    "--from-archive", is_flag=True,
    help="Empty the live store first, whatever it has. Votes that PostgreSQL does not have are given up.",
)  # fmt: skip
def rebuild(*, from_archive: bool) -> None:
    """Refill an empty live store from the archive.

    A live store that is whole is left as it is; a server does the same by itself when it starts.
    """
    settings = load_settings()
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip

    async def work() -> list[int]:
        async with opened(settings) as (live, archive):
            recovery = Recovery(live, archive, wall_clock)
            shards = sorted({tenant.shard for tenant in await Directory(archive).tenants()})
            return [shard for shard in shards if await _rebuild(recovery, shard, bar, from_archive=from_archive)]

    with bar:
        rebuilt = run(work)
    click.echo(
        f"Rebuilt shards: {', '.join(map(str, rebuilt))}." if rebuilt else "The live store is whole; nothing to do."
    )


async def _rebuild(recovery: Recovery, shard: int, bar: Progress, *, from_archive: bool) -> bool:
    """Whether there was anything to do."""
    tasks: dict[str, TaskID] = {}

    def show(what: str, count: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(f"shard {shard}: {what}", total=None)
        bar.update(tasks[what], completed=count)

    await recovery.ensure(shard, None, show, from_archive=from_archive)
    return bool(tasks)
