"""The proof: every board recomputed from its events, beside what the archive keeps and what the live store shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zlib import crc32

import msgspec

from storage import ballots
from storage.archive import Archive
from storage.boards import Boards
from storage.errors import StoreUnavailable
from storage.ledger import Ledger
from storage.live import BoardTimes, LiveStore
from storage.refill import recount
from storage.types import Board, Query, Row, TopView, Window

SAMPLE: Final = 500
"""Items that a spot check compares at most."""

_PAGE: Final = 2000
_TRIES: Final = 20
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRENDING_TOLERANCE: Final = 1  # hundredths: shown scores are rounded, and faded votes are dropped


class BoardReport(msgspec.Struct, frozen=True):
    """One board: digests of its ranking over all time, and what differs from the events, in words."""

    tenant: int
    board: str
    items: int
    events_digest: int
    archive_digest: int
    live_digest: int
    differences: tuple[str, ...]


class SpotCheck(msgspec.Struct, frozen=True):
    """Items of a board that were compared as of event `seq`, and what differs, in words."""

    seq: int
    items: int
    differences: tuple[str, ...]


class _Live(msgspec.Struct):
    """A board as the live store has it right after event `seq`."""

    seq: int
    times: BoardTimes
    rows: dict[Window, dict[str, Row]]


async def verify_shard(
    live: LiveStore, archive: Archive, shard: int, begun: Callable[[Board], None] = lambda board: None
) -> list[BoardReport]:
    """Checks every board of a shard. Votes may come in meanwhile: each board is compared as of one seq.

    `begun` hears of each board before its events are read. Raises StorageError where a store is away, or a board never
    holds still for long enough.
    """
    reports = []
    for board in await Boards(archive).of_shard(shard):
        begun(board)
        reports.append(await _verify(live, archive, board))
    return reports


async def spot_check(live: LiveStore, archive: Archive, board: Board, offset: int = 0) -> SpotCheck:
    """Compares some items of a board, from a place of its ranking on: the live store against the counts that are kept.

    Cheap, whatever the number of events: only those are looked at that came after the moment of the comparison. Raises
    StorageError where a store is away, or was replaced meanwhile.
    """
    (ranking,) = await live.read(board.shard, [Query(board.number, "all", TopView(SAMPLE, offset))])
    if ranking is None:
        raise StoreUnavailable(f"The live store does not have the board {board.slug!r}.")
    await Ledger(archive).reached(board.shard, ranking.seq)
    async with archive.transaction(snapshot=True) as connection:
        flushed = await archive.queries.flush_position(connection, shard=board.shard)
        if flushed is None or flushed["epoch"] != ranking.epoch:
            raise StoreUnavailable(f"The live state {ranking.epoch!r} is not the one that the archive goes on with.")
        items = [row.item for row in ranking.rows]
        kept = {
            row["item_id"]: (row["up"], row["down"], row["points"])
            async for row in archive.queries.kept_at(
                connection, shard=board.shard, board=board.number, seq=ranking.seq, items=items
            )
        }
    differences = [
        f"{row.item} is {row.up}/{row.down}/{row.points} live, {kept.get(row.item)} in the archive"
        for row in ranking.rows
        if kept.get(row.item) != (row.up, row.down, row.points)
    ]
    return SpotCheck(ranking.seq, len(items), tuple(differences))


async def _verify(live: LiveStore, archive: Archive, board: Board) -> BoardReport:
    shown = await _read(live, board)
    await Ledger(archive).reached(board.shard, shown.seq)
    async with archive.transaction(snapshot=True, patient=True) as connection:
        flushed = await archive.queries.flush_position(connection, shard=board.shard)
        position = flushed["seq"] if flushed else 0
        counted = await _recount(archive, connection, board, shown, shown.seq)
        kept = counted if position == shown.seq else await _recount(archive, connection, board, shown, position)
        stray = await ballots.against_events(archive, connection, board)
    differences = [*_archive_differences(kept), *_live_differences(counted, shown), *stray]
    differences += await ballots.against_archive(live, archive, board)
    everything = shown.rows["all"]
    return BoardReport(
        board.tenant,
        board.slug,
        len(counted),
        _digest({row["item_id"]: row["moved"] for row in kept}),
        _digest({row["item_id"]: row["points"] for row in kept}),
        _digest({item: row.points for item, row in everything.items()}),
        tuple(differences),
    )


async def _recount(archive: Archive, connection: Any, board: Board, shown: _Live, seq: int) -> list[Any]:
    return await recount(archive, connection, board.shard, [(board.number, *shown.times)], seq=seq, since=_EVER)


async def _read(live: LiveStore, board: Board) -> _Live:
    """All windows of a board at one version of it."""
    for _ in range(_TRIES):
        times = await live.board_state(board.shard, board.number)
        if times is None:
            raise StoreUnavailable(f"The live store does not have the board {board.slug!r}: run `plaudit rebuild`.")
        seen: set[tuple[str, int]] = set()
        rows: dict[Window, dict[str, Row]] = {window: {} for window in board.windows}
        seq = 0
        offset, total = 0, 1
        while offset < total and len(seen) < 2:
            views = [Query(board.number, window, TopView(_PAGE, offset)) for window in board.windows]
            for window, ranking in zip(board.windows, await live.read(board.shard, views), strict=True):
                if ranking is not None:
                    rows[window].update({row.item: row for row in ranking.rows})
                    seen.add((ranking.epoch, ranking.version))
                    seq, total = ranking.seq, ranking.total
            offset += _PAGE
        if len(seen) == 1 and times == await live.board_state(board.shard, board.number):
            return _Live(seq, times, rows)
    raise StoreUnavailable(f"the board {board.slug!r} changes too fast to be compared")


def _archive_differences(rows: Sequence[Any]) -> list[str]:
    return [
        f"archive: {row['item_id']} is kept as {row['up_votes']}/{row['down_votes']}/{row['points']}, "
        f"its events give {row['up']}/{row['down']}/{row['moved']}"
        for row in rows
        if (row["up_votes"], row["down_votes"], row["points"]) != (row["up"], row["down"], row["moved"])
    ]


_COLUMNS: Final[dict[Window, str]] = {"all": "moved", "day": "day", "week": "week", "month": "month"}


def _live_differences(counted: Sequence[Any], shown: _Live) -> list[str]:
    found: list[str] = []
    for window, rows in shown.rows.items():
        if rows.keys() != {row["item_id"] for row in counted}:
            found.append(f"live: {window} ranks other items than the board has")
        for row in counted:
            live = rows.get(row["item_id"])
            if live is None:
                continue
            if window == "trending":
                agrees = abs(live.points - row["trending"]) <= _TRENDING_TOLERANCE + row["dropped"]
                expected = (row["up"], row["down"], round(row["trending"]))
            else:
                expected = (row["up"], row["down"], row[_COLUMNS[window]])
                agrees = expected == (live.up, live.down, live.points)
            if not agrees:
                found.append(
                    f"live: {window} shows {row['item_id']} as {live.up}/{live.down}/{live.points}, "
                    f"its events give {'/'.join(map(str, expected))}"
                )
    return found


def _digest(points: dict[str, int]) -> int:
    """CRC-32 of the ranking's lines `item:points`, in ranking order."""
    ranked = sorted(points.items(), key=lambda pair: (-pair[1], pair[0]))
    return crc32("\n".join(f"{item}:{value}" for item, value in ranked).encode())
