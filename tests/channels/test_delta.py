from itertools import pairwise

import pytest
from hypothesis import given

from channels.delta import Change, apply, diff, merge
from channels.ranking import View, rank_rows
from storage.types import Row
from tests.channels.strategies import histories


def top(version: int, points: dict[str, int], befores: dict[str, int] | None = None, epoch: str = "e") -> View:
    rows = rank_rows([Row(item, 0, value, 0, 0, (befores or {}).get(item)) for item, value in points.items()])
    return View.of(epoch, version, len(rows), rows)


def changed(old: View, new: View) -> Change:
    change = diff(old, new)
    assert change is not None
    return change


@given(histories(2))
def test_applying_the_difference_gives_the_new_view(views: list[View]) -> None:
    old, new = views
    change = diff(old, new)
    if change is None:
        assert (old.rows, old.total, old.digest) == (new.rows, new.total, new.digest)
        return
    after = apply(change, old)
    assert after == new
    assert list(after.rows) == list(new.rows)
    assert after.digest == change.digest


@given(histories(4))
def test_merged_changes_are_the_changes_one_after_another(views: list[View]) -> None:
    shown, changes = views[0], []
    for view in views[1:]:
        if change := diff(shown, view):
            changes.append(change)
            shown = view
    if not changes:
        return
    merged = merge(changes, shown)
    assert apply(merged, views[0]) == shown
    assert all(shown.rows[row.item] == row for row in merged.rows)
    assert not merged.entered & set(merged.left)
    assert merged.entered >= shown.rows.keys() - views[0].rows.keys()


def test_only_what_changed_is_named() -> None:
    change = changed(top(1, {"a": 500, "b": 300, "c": 100}), top(2, {"a": 500, "b": 300, "c": 400}))
    assert [row.item for row in change.rows] == ["c"]
    assert (change.entered, change.left) == (frozenset(), ())


def test_a_new_rank_an_hour_ago_is_named() -> None:
    change = changed(top(1, {"a": 5, "b": 3}), top(2, {"a": 5, "b": 3}, {"b": 1}))
    assert [row.item for row in change.rows] == ["b"]


def test_outside_a_top_view_a_new_rank_is_named() -> None:
    old = View.of("e", 1, 9, [Row("a", 3, 500, 1, 0, None)], top=False)
    new = View.of("e", 2, 9, [Row("a", 4, 500, 1, 0, None)], top=False)
    assert [row.rank for row in changed(old, new).rows] == [4]


def test_what_enters_and_leaves() -> None:
    change = changed(top(1, {"a": 5, "b": 3}), top(2, {"a": 5, "c": 4}))
    assert (change.entered, change.left) == (frozenset("c"), ("b",))


def test_a_new_version_alone_is_no_change_but_a_new_total_is() -> None:
    old = top(1, {"a": 5})
    assert diff(old, top(2, {"a": 5})) is None
    assert changed(old, View.of("e", 2, 8, list(old.rows.values()))).total == 8


def test_merging_brings_earlier_rows_up_to_date() -> None:
    views = [top(1, {"a": 5, "b": 3}), top(2, {"a": 5, "b": 4}), top(3, {"a": 5, "b": 4, "c": 9})]
    merged = merge([changed(views[0], views[1]), changed(views[1], views[2])], views[2])
    # The second change moved b to rank 3 without naming it.
    assert {row.item: row.rank for row in merged.rows} == {"b": 3, "c": 1}


def test_what_came_and_went_is_left_out_of_the_view() -> None:
    views = [top(1, {"a": 5}), top(2, {"a": 5, "b": 3}), top(3, {"a": 5})]
    merged = merge([changed(views[0], views[1]), changed(views[1], views[2])], views[2])
    assert apply(merged, views[0]) == views[2]
    assert (merged.rows, merged.entered) == ((), frozenset())


def test_no_delta_crosses_an_epoch_or_kind() -> None:
    old = top(1, {"a": 5})
    with pytest.raises(ValueError, match="epoch"):
        diff(old, top(2, {"a": 6}, epoch="f"))
    with pytest.raises(ValueError, match="kind"):
        diff(old, View.of("e", 2, 1, list(old.rows.values()), top=False))


def test_a_change_fits_only_the_version_that_it_starts_from() -> None:
    change = changed(top(1, {"a": 5}), top(2, {"a": 6}))
    with pytest.raises(ValueError, match="version"):
        apply(change, top(2, {"a": 5}))


def test_only_a_chain_can_be_merged() -> None:
    views = [top(n, {"a": n}) for n in range(4)]
    steps = [changed(a, b) for a, b in pairwise(views)]
    for chain, now in [([], views[0]), ([steps[0], steps[2]], views[3]), (steps[:2], views[3])]:
        with pytest.raises(ValueError, match="follow"):
            merge(chain, now)


def test_a_row_whose_movement_changed_is_named() -> None:
    held = View.of("e", 1, 2, [Row("a", 1, 200, 2, 0, 1), Row("b", 2, 100, 1, 0, None)])
    overtaken = View.of("e", 2, 2, [Row("b", 1, 300, 3, 0, None), Row("a", 2, 200, 2, 0, 1)])
    change = diff(held, overtaken)
    assert change is not None
    assert [row.item for row in change.rows] == ["b", "a"]


def test_what_came_and_went_in_between_was_never_held() -> None:
    views = [
        View.of("e", version, 9, [Row(item, 1, 100 * version, version, 0, None)])
        for version, item in enumerate(("a", "b", "c", "a"), 1)
    ]
    steps = [diff(old, new) for old, new in pairwise(views)]
    changes = [change for change in steps if change is not None]
    assert merge(changes[:2], views[2]).left == ("a",)
    assert merge(changes, views[3]).left == ()
