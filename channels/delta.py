"""What changed between two views of a board, and how a viewer applies it. Pure.

A change names the rows whose points, counts or movement changed and those new in view. In a top view the
ranks of all others follow from the sort; in any other view a row is named also where only its rank changed.
"""

from collections.abc import Sequence

from msgspec import Struct

from channels.ranking import View, order_key, rank_rows, renewed
from storage.types import Row


class Change(Struct, frozen=True, gc=False):
    """The step of a view from version `prev` to `version`, within one epoch.

    `rows` are in ranking order and stand as they are at `version`. `entered` names those that the viewer did
    not have.
    """

    prev: int
    version: int
    total: int
    rows: tuple[Row, ...]
    entered: frozenset[str]
    left: tuple[str, ...]
    digest: int


def diff(old: View, new: View) -> Change | None:
    """What takes a viewer from old to new: `apply(diff(old, new), old) == new`.

    None where a viewer would see nothing change, even though the version did; the viewer then stays at the
    old one. Raises ValueError for views of different epochs or kinds, between which only a snapshot leads.
    """
    if old.epoch != new.epoch or old.top is not new.top:
        raise ValueError("no delta leads from one epoch or kind of view to another")
    before = old.rows
    rows = tuple([row for row in renewed(before, new.rows) if before.get(row.item) != row])
    if new.top:
        rows = tuple([row for row in rows if not _only_moved(before.get(row.item), row)])
    entered = frozenset([row.item for row in rows if row.item not in before])
    same = not entered and len(before) == len(new.rows)
    left = () if same else tuple([item for item in before if item not in new.rows])
    if not rows and not left and old.total == new.total:
        return None
    return Change(old.version, new.version, new.total, rows, entered, left, new.digest)


def _only_moved(was: Row | None, row: Row) -> bool:
    """Whether only the rank changed, which follows from the sort; a movement, for its part, doesn't."""
    return (
        was is not None
        and row.before is None
        and was.points == row.points
        and was.up == row.up
        and was.down == row.down
        and was.before == row.before
    )


def apply(change: Change, view: View) -> View:
    """The view after the change; where its digest is not the change's, the caller must subscribe again.

    Raises ValueError where the change starts from another version than the view's.
    """
    if change.prev != view.version:
        raise ValueError(f"the change starts from version {change.prev}, the view is at {view.version}")
    rows = dict(view.rows)
    for item in change.left:
        rows.pop(item, None)
    for row in change.rows:
        rows[row.item] = row
    ordered = rank_rows(rows.values()) if view.top else sorted(rows.values(), key=order_key)
    return View.of(view.epoch, change.version, change.total, ordered, top=view.top)


def merge(changes: Sequence[Change], now: View) -> Change:
    """Changes, each of which starts where the one before ends, as one; `now` is the view that the last led to.

    For a viewer who fell behind. Rows are taken from the present view, since one that an earlier change named may
    have moved since without being named again. Raises ValueError for no changes, a gap, or another view.
    """
    ends = [change.version for change in changes]
    if not changes or [change.prev for change in changes[1:]] != ends[:-1] or ends[-1] != now.version:
        raise ValueError("changes to merge must follow each other and end at the present view")
    named: set[str] = set()
    entered: set[str] = set()
    left: set[str] = set()
    new: set[str] = set()
    for change in changes:
        named.update(row.item for row in change.rows)
        entered |= change.entered
        new |= change.entered - left
        # What came and went in between was never held.
        left.update(item for item in change.left if item not in new)
        new.difference_update(change.left)
    rows = tuple([row for item, row in now.rows.items() if item in named])
    gone = tuple(sorted(left - now.rows.keys()))
    return Change(changes[0].prev, now.version, now.total, rows, frozenset(entered & now.rows.keys()), gone, now.digest)
