from hypothesis import given
from msgspec import UNSET

from channels.delta import diff
from channels.protocol import Delta, Snapshot, Subscribe
from channels.ranking import View, rank_rows
from channels.watching import Watched
from channels.wire import Label, delta_of, snapshot_of
from storage.types import Row
from tests.channels.strategies import histories

LABELS = {item: Label(f"Song {item}", "Vela") for item in "abc"}


def view(version: int, **points: int) -> View:
    rows = rank_rows([Row(item, 0, value, 1, 0, None) for item, value in points.items()])
    return View.of("e", version, len(rows), rows)


def snapshot(of: View) -> Snapshot:
    return snapshot_of(of, LABELS, "songs", "all")


def delta(old: View, new: View) -> Delta:
    change = diff(old, new)
    assert change is not None
    return delta_of(change, LABELS)


@given(histories(4))
def test_a_watcher_holds_what_the_server_holds(views: list[View]) -> None:
    watched = Watched("songs") if views[0].top else Watched("songs", items=["a"])
    held = views[0]
    assert watched.snapshot(snapshot(held))
    for new in views[1:]:
        if diff(held, new) is not None:
            assert watched.delta(delta(held, new))
            held = new
        assert watched.view == held


def test_it_shows_labels_and_the_rank_that_follows_from_the_sort() -> None:
    old, new = view(1, a=500, b=300), view(2, a=500, b=300, c=400)
    watched = Watched("songs")
    assert watched.snapshot(snapshot(old))
    assert watched.delta(delta(old, new))
    board = watched.board()
    assert board is not None
    assert [(entry.rank, entry.title, entry.score) for entry in board.entries] == [
        (1, "Song a", 5),
        (2, "Song c", 4),
        (3, "Song b", 3),
    ]
    assert (board.version, board.total, board.epoch) == (2, 3, "e")


def test_movement_of_an_unnamed_row_follows_its_rank() -> None:
    old = View.of("e", 1, 2, rank_rows([Row("a", 0, 300, 1, 0, 1), Row("b", 0, 200, 1, 0, 2)]))
    new = View.of("e", 2, 2, rank_rows([Row("a", 0, 300, 1, 0, 1), Row("b", 0, 400, 1, 0, 2)]))
    watched = Watched("songs")
    assert watched.snapshot(snapshot(old))
    assert watched.delta(delta(old, new))
    board = watched.board()
    assert board is not None
    assert {entry.item: entry.movement for entry in board.entries} == {"b": 1, "a": -1}


def test_a_gap_drops_the_view() -> None:
    watched = Watched("songs")
    assert watched.snapshot(snapshot(view(1, a=1)))
    assert not watched.delta(delta(view(2, a=2), view(3, a=3)))
    assert watched.board() is None


def test_a_delta_before_any_snapshot_is_not_taken() -> None:
    assert not Watched("songs").delta(delta(view(1, a=1), view(2, a=2)))


def test_a_wrong_digest_drops_the_view() -> None:
    watched = Watched("songs")
    tampered = snapshot(view(1, a=1))
    tampered.entries[0].score = 99
    assert not watched.snapshot(tampered)
    assert watched.snapshot(snapshot(view(1, a=1)))
    step = delta(view(1, a=1), view(2, a=2))
    step.digest += 1
    assert not watched.delta(step)
    assert watched.view is None


def test_it_resumes_from_what_it_holds() -> None:
    watched = Watched("songs", "day", top=7)
    assert watched.subscribe(1) == Subscribe(1, "songs", "day", 7)
    watched.snapshot(snapshot(view(4, a=1)))
    assert watched.subscribe(2) == Subscribe(2, "songs", "day", 7, epoch="e", version=4)


def test_labels_last_as_long_as_the_item_is_in_view() -> None:
    with_a, without_a = view(1, a=5, b=3), view(2, b=3)
    watched = Watched("songs")
    assert watched.snapshot(snapshot(with_a))
    assert watched.delta(delta(with_a, without_a))
    again = delta(without_a, view(3, a=5, b=3))
    again.entries[0].title = again.entries[0].artist = UNSET
    assert watched.delta(again)
    assert titles(watched) == {"a": UNSET, "b": "Song b"}
    assert watched.snapshot(snapshot_of(with_a, {}, "songs", "all"))
    assert titles(watched) == {"a": UNSET, "b": UNSET}


def titles(watched: Watched) -> dict[str, object]:
    board = watched.board()
    assert board is not None
    return {entry.item: entry.title for entry in board.entries}
