"""Views made from rankings, each from the one before it: of rows that stand as they stood nothing is made again."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from app.movement import Ranks
from channels.ranking import View
from storage.types import Query, Ranking, Row, TopView


class _Made(NamedTuple):
    rows: list[Row]
    before: Ranks | None
    view: View


class Views:
    """Makes views. The last one is kept for as long as somebody keeps the very query that it answers."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Query, _Made] = WeakKeyDictionary()

    def of(self, query: Query, ranking: Ranking, before: Ranks | None) -> View:
        """The view that a query asks for, in a ranking that has its rows or, of a `top` view, more of them.

        `before` are the ranks that movement is counted from, None where they can't be had now.
        """
        rows = ranking.rows
        if isinstance(query.view, TopView) and len(rows) > query.view.limit:
            rows = rows[: query.view.limit]
        incomplete = before is None and ranking.reference != 0
        made = self._made.get(query)
        if made is not None and rows is made.rows and before is made.before:
            epoch, version, total = ranking.epoch, ranking.version, ranking.total
            view = replace(made.view, epoch=epoch, version=version, total=total, incomplete=incomplete)
        else:
            view = View.of(
                ranking.epoch,
                ranking.version,
                ranking.total,
                _moved(rows, before, made),
                top=isinstance(query.view, TopView),
                incomplete=incomplete,
                like=None if made is None else made.view,
            )
        self._made[query] = _Made(rows, before, view)
        return view


def _moved(rows: list[Row], before: Ranks | None, made: _Made | None) -> list[Row]:
    """The rows with the ranks before; those that are as when the last view was made, as they are there."""
    if not before:
        return rows
    kept: list[Row] = []
    if made is not None and made.before is before:
        both = zip(rows, made.rows, made.view.rows.values(), strict=False)
        kept = [moved if row is was else _with_rank(row, before) for row, was, moved in both]
    return kept + [_with_rank(row, before) for row in rows[len(kept) :]]


def _with_rank(row: Row, before: Ranks) -> Row:
    return Row(row.item, row.rank, row.points, row.up, row.down, before.get(row.item))
