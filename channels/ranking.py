"""Rankings: order, competition ranks, scores as people read them, and the digest of a view. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, count, islice
from operator import is_not
from zlib import crc32

from msgspec import Struct

from storage.types import Row


class View(Struct, frozen=True, gc=False):
    """What a viewer of a board is shown, in state (epoch, version).

    `rows` are by item, in ranking order. `total` counts the board's items. `digest` is the contract's
    checksum of the rows, computed from `lines`, one for each. In a `top` view the rows are the first of the ranking,
    so that their ranks follow from their order. An `incomplete` view lacks the movement that it could have: it is
    worth reading again.
    """

    epoch: str
    version: int
    total: int
    rows: dict[str, Row]
    lines: list[str]
    digest: int
    top: bool
    incomplete: bool = False

    @classmethod
    def of(
        cls,
        epoch: str,
        version: int,
        total: int,
        rows: Sequence[Row],
        *,
        top: bool = True,
        incomplete: bool = False,
        like: "View | None" = None,
    ) -> "View":
        """A view of rows that stand in ranking order and carry their ranks.

        What is known of rows of an earlier view, `like`, is taken from there where they are the same objects.
        """
        by_item, lines = ({}, []) if like is None else (like.rows.copy(), like.lines.copy())
        before = list(by_item.values())
        changed = list(compress(count(), map(is_not, rows, before)))
        if len(before) == len(rows) and all(rows[place].item == before[place].item for place in changed):
            for place in changed:
                by_item[rows[place].item] = rows[place]
                lines[place] = _line(rows[place])
        else:
            by_item = {row.item: row for row in rows}
            lines = [line if row is was else _line(row) for row, was, line in zip(rows, before, lines, strict=False)]
            lines += map(_line, islice(rows, len(lines), None))
        return cls(epoch, version, total, by_item, lines, _checksum(lines), top, incomplete)


def renewed(before: Mapping[str, Row], rows: Mapping[str, Row]) -> list[Row]:
    """Those of the rows that are not, place by place, the very objects that were there before.

    Nothing has happened to all others, and most of the time that is nearly all of a view.
    """
    values = rows.values()
    return [*compress(values, map(is_not, values, before.values())), *islice(values, len(before), None)]


def order_key(row: Row) -> tuple[int, str]:
    """Sorts rows as every ranking is sorted: points descending, then item id ascending by code point."""
    return -row.points, row.item


def rank_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows of a whole ranking, or of its top, sorted and with standard competition ranks (1, 1, 3)."""
    ranked = []
    rank, points = 0, None
    for place, row in enumerate(sorted(rows, key=order_key), 1):
        if row.points != points:
            rank, points = place, row.points
        stands = row.rank == rank
        ranked.append(row if stands else Row(row.item, rank, row.points, row.up, row.down, row.before))
    return ranked


def score_of(points: int) -> int | float:
    """The score as it goes on the wire: an int where it is whole, else the float nearest to it.

    Exact to the hundredth up to 10**13 votes, whose digits a double can hold.
    """
    return points / 100 if points % 100 else points // 100


def points_of(score: float) -> int:
    """The hundredths that a score on the wire stands for."""
    return score * 100 if isinstance(score, int) else round(score * 100)


def score_text(points: int) -> str:
    """The score in shortest decimal form: 12, 12.5, -0.05."""
    if points % 100 == 0:
        return str(points // 100)
    if -(10**15) < points < 10**15:
        # Fifteen digits survive a double, and Python writes the shortest form that does.
        return repr(points / 100)
    whole, part = divmod(abs(points), 100)
    return f"{'-' if points < 0 else ''}{whole}.{part:02d}".rstrip("0")


def _line(row: Row) -> str:
    return f"{row.item}:{row.points // 100}" if row.points % 100 == 0 else f"{row.item}:{score_text(row.points)}"


def _checksum(lines: Iterable[str]) -> int:
    return crc32("\n".join(lines).encode())
