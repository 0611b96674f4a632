"""Rooms: whatever happens, every member ends with the room's view, and each message starts from what it held."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from channels import room as room_module
from channels.codec import JSON, MSGPACK, Codec
from channels.delta import Change, merge
from channels.protocol import Delta, Resumed, Snapshot
from channels.ranking import View, rank_rows
from channels.room import MEMORY, MERGED, Room, Subscription
from channels.wire import Label
from storage.types import Board, ItemsView, Query, Row, TopView
from tests.channels.strategies import ITEMS, histories
from tests.channels.viewer import Viewer

BOARD = Board(1, 1, 0, "songs", "Songs", "song", "updown", -1, 1, False, ("all",))
LABELS = {item: Label(f"Song {item}", None if item == "a" else "Vela") for item in ITEMS}
CODECS = (JSON, MSGPACK, JSON.deflating, MSGPACK.deflating)


def view(version: int, epoch: str = "e", **points: int) -> View:
    rows = rank_rows([Row(item, 0, value, 1, 0, None) for item, value in points.items()])
    return View.of(epoch, version, len(rows), rows)


def moved_from(now: View, **before: int) -> View:
    """The same with the ranks that its items had."""
    return replace(now, rows={item: replace(row, before=before[item]) for item, row in now.rows.items()})


class Theatre:
    """A room, and those who watch, left or come back."""

    def __init__(self, first: View) -> None:
        spec = TopView(50) if first.top else ItemsView(("a",))
        self.room = Room(BOARD, Query(1, "all", spec), top=first.top)
        self.members: list[tuple[Viewer, Subscription]] = []
        self.gone: list[Viewer] = []
        self.show(first)

    def show(self, view: View) -> int:
        self.room.labels.update({item: LABELS[item] for item in view.rows})
        return self.room.advance(view)

    def join(self, viewer: Viewer, number: int = 1) -> Viewer:
        subscription = Subscription(self.room, viewer, number)
        self.room.add(subscription)
        held = viewer.view
        epoch, version = (None, None) if held is None else (held.epoch, held.version)
        for frame in self.room.resume(viewer.codec, "me", number, epoch, version):
            viewer.write(frame)
        self.members.append((viewer, subscription))
        return viewer

    def leave(self, place: int) -> None:
        viewer, subscription = self.members.pop(place)
        self.room.remove(subscription)
        viewer.blocked = False
        self.gone.append(viewer)

    def act(self, act: str, which: int) -> None:
        """Does one thing, to whichever member there is."""
        place = which % max(1, len(self.members))
        if act == "join":
            self.join(Viewer(CODECS[which % len(CODECS)], top=self.room.top), which % 3)
        elif act == "return" and self.gone:
            self.join(self.gone.pop(which % len(self.gone)), which % 3)
        elif self.members and act == "block":
            self.block(place)
        elif self.members and act == "unblock":
            self.unblock(place)
        elif self.members and act == "leave":
            self.leave(place)

    def block(self, place: int) -> None:
        viewer, subscription = self.members[place]
        viewer.blocked = True
        subscription.hold()

    def unblock(self, place: int) -> None:
        viewer, subscription = self.members[place]
        viewer.blocked = False
        subscription.catch_up()


ACTS = st.sampled_from(["show", "show", "show", "rebuild", "block", "unblock", "join", "return", "leave"])


@given(histories(24), st.lists(st.tuples(ACTS, st.integers(0, 7)), max_size=60))
def test_every_member_ends_with_the_rooms_view(views: list[View], acts: list[tuple[str, int]]) -> None:
    theatre = Theatre(views[0])
    epoch, coming = "epoch", iter(views[1:])
    for act, which in acts:
        if act not in {"show", "rebuild"}:
            theatre.act(act, which)
        elif (new := next(coming, None)) is not None:
            epoch += "+" * (act == "rebuild")
            theatre.show(replace(new, epoch=epoch))
    for place in range(len(theatre.members)):
        theatre.unblock(place)
    room = theatre.room
    assert room.view is not None
    assert room.members == len(theatre.members)
    for viewer, _ in theatre.members:
        # Viewer.take holds every single message to the contract; what is left to see is where they lead.
        assert viewer.view == room.view
        assert viewer.labels == {item: LABELS[item] for item in room.view.rows}


def watched(*, codec: Codec = JSON) -> tuple[Theatre, Viewer]:
    theatre = Theatre(view(1, a=500, b=300))
    return theatre, theatre.join(Viewer(codec))


def test_who_holds_nothing_gets_a_snapshot_under_its_own_name_and_number() -> None:
    theatre = Theatre(view(1, a=500, b=300))
    viewer = theatre.join(Viewer(), number=7)
    (snapshot,) = viewer.messages
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.id, snapshot.sub, snapshot.board, snapshot.window) == ("me", 7, "songs", "all")


def test_all_who_know_a_view_by_the_same_number_get_the_same_bytes() -> None:
    theatre, first = watched()
    second, other = theatre.join(Viewer()), theatre.join(Viewer(), number=2)
    packed = theatre.join(Viewer(MSGPACK))
    assert theatre.show(view(2, a=500, b=600)) == 4
    assert first.frames[-1] is second.frames[-1]
    assert first.frames[-1] != other.frames[-1]
    assert packed.view == first.view == other.view


def test_a_view_that_looks_the_same_is_not_shown() -> None:
    theatre, viewer = watched()
    assert theatre.show(view(2, a=500, b=300)) == 0
    assert theatre.show(view(3, a=500, b=400)) == 1
    delta = viewer.messages[-1]
    assert isinstance(delta, Delta)
    assert (delta.prev, delta.version) == (1, 3)


def test_whoever_was_passed_over_gets_one_delta_for_all_that_it_missed() -> None:
    theatre, viewer = watched()
    theatre.block(0)
    for version, points in enumerate((310, 320, 600), 2):
        assert theatre.show(view(version, a=500, b=points)) == 0
    assert len(viewer.messages) == 1
    theatre.unblock(0)
    _, delta = viewer.messages
    assert isinstance(delta, Delta)
    assert (delta.prev, delta.version, [entry.score for entry in delta.entries]) == (1, 4, [6])
    theatre.unblock(0)
    assert len(viewer.messages) == 2


def test_whoever_missed_too_much_gets_a_snapshot_that_nobody_asked_for() -> None:
    theatre, viewer = watched()
    theatre.block(0)
    for version in range(2, MEMORY + 3):
        theatre.show(view(version, a=500, b=300 + version))
    theatre.unblock(0)
    _, snapshot = viewer.messages
    assert isinstance(snapshot, Snapshot)
    assert snapshot.id is None
    assert viewer.view == theatre.room.view


def test_a_member_may_come_to_be_blocked_by_what_it_is_given() -> None:
    theatre, viewer = watched()
    others = [theatre.join(Viewer()) for _ in range(3)]
    taken = others[1].write

    def take_the_last(frame: bytes) -> None:
        taken(frame)
        theatre.block(2)

    theatre.room.remove(theatre.members[2][1])
    others[1].write = take_the_last  # type: ignore[method-assign]  # its buffer is full with the next frame
    theatre.room.add(theatre.members[2][1])
    assert theatre.show(view(2, a=500, b=310)) == 4
    assert theatre.show(view(3, a=500, b=320)) == 3
    theatre.unblock(2)
    assert len(others[1].messages) == 3
    assert others[1].view == viewer.view == theatre.room.view


def test_another_epoch_is_a_snapshot_for_everyone() -> None:
    theatre, viewer = watched()
    late = theatre.join(Viewer())
    theatre.block(1)
    assert theatre.show(view(1, epoch="f", a=500)) == 1
    assert isinstance(viewer.messages[-1], Snapshot)
    theatre.show(view(2, epoch="f", a=600))
    theatre.unblock(1)
    assert isinstance(late.messages[-1], Snapshot)
    assert late.view == viewer.view == theatre.room.view


def test_what_a_version_lacked_comes_whole() -> None:
    theatre = Theatre(view(1, a=2, b=1))
    there, away = theatre.join(Viewer()), theatre.join(Viewer(), 2)
    theatre.block(1)
    assert theatre.show(moved := moved_from(view(1, a=2, b=1), a=2, b=1)) == 1
    theatre.unblock(1)
    for viewer in (there, away):
        assert viewer.view == moved
        assert [type(message) for message in viewer.messages] == [Snapshot, Snapshot]
    theatre.show(moved_from(view(2, a=2, b=3), a=2, b=1))
    assert isinstance(there.messages[-1], Delta)


def test_who_comes_back_with_a_version_that_lacked_something_gets_it_whole() -> None:
    theatre = Theatre(view(1, a=2, b=1))
    first, second = theatre.join(Viewer()), theatre.join(Viewer())
    for _ in range(2):
        theatre.leave(0)
    theatre.show(moved_from(view(1, a=2, b=1), a=2, b=1))
    theatre.join(first)
    assert [type(message) for message in first.messages] == [Snapshot, Snapshot]
    theatre.show(moved_from(view(2, a=2, b=3), a=2, b=1))
    theatre.join(second)
    assert [type(message) for message in second.messages] == [Snapshot, Snapshot]
    assert first.view == second.view == theatre.room.view
    theatre.leave(0)
    theatre.join(first)
    assert isinstance(first.messages[-1], Resumed)


def test_a_crowd_that_missed_the_same_gets_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre, _ = watched()
    crowd = [theatre.join(Viewer()) for _ in range(5)]
    for place in range(1, 6):
        theatre.block(place)
    away = [theatre.join(Viewer()) for _ in range(5)]
    for _ in away:
        theatre.leave(6)
    theatre.show(view(2, a=500, b=310))
    theatre.show(view(3, a=500, b=320))
    merged: list[int] = []

    def counted(changes: Sequence[Change], now: View) -> Change:
        merged.append(now.version)
        return merge(changes, now)

    monkeypatch.setattr(room_module, "merge", counted)
    for place in range(1, 6):
        theatre.unblock(place)
    for viewer in away:
        theatre.join(viewer)
    assert len({viewer.frames[-1] for viewer in [*crowd, *away]}) == 1
    assert merged == [3]
    theatre.show(view(4, a=500, b=330))
    for number in range(1, 100):
        theatre.room.missed(JSON, number, 1)
    assert merged == [3, 4]


def test_of_many_versions_that_members_hold_few_deltas_are_kept() -> None:
    theatre, _ = watched()
    for version in range(2, 3 * MERGED):
        theatre.show(view(version, a=500, b=300 + version))
    for held in range(1, 3 * MERGED - 1):
        (delta,) = theatre.room.missed(JSON, 1, held)
        assert b"delta" in delta
        assert len(theatre.room._merged) <= MERGED


def test_who_comes_back_with_a_state_that_is_remembered_resumes() -> None:
    theatre, viewer = watched()
    theatre.leave(0)
    theatre.show(view(2, a=500, b=400))
    theatre.show(view(3, a=500, b=400, c=100))
    theatre.join(viewer, number=2)
    _, resumed, delta = viewer.messages
    assert resumed == Resumed("me", 2, "e", 1)
    assert isinstance(delta, Delta)
    assert (delta.prev, delta.version, len(delta.entries)) == (1, 3, 2)
    theatre.leave(0)
    theatre.join(viewer, number=3)
    assert viewer.messages[3:] == [Resumed("me", 3, "e", 3)]


def test_who_comes_back_with_a_state_that_is_not_gets_a_snapshot() -> None:
    theatre, viewer = watched()
    theatre.leave(0)
    theatre.show(view(2, epoch="f", a=500, b=400))
    theatre.join(viewer)
    assert isinstance(viewer.messages[-1], Snapshot)
    for epoch, version in (("f", 3), ("f", 0), ("e", 2), (None, 2)):
        (frame,) = theatre.room.resume(JSON, 1, 1, epoch, version)
        assert frame == theatre.room.snapshot(JSON, 1, 1)


def test_a_room_is_empty_when_the_last_one_left() -> None:
    theatre, _ = watched()
    theatre.join(Viewer(), number=2)
    assert theatre.room.members == 2
    theatre.leave(0)
    assert not theatre.room.empty
    theatre.leave(0)
    assert theatre.room.empty
    theatre.room.remove(Subscription(theatre.room, Viewer(), 9))  # who was never in does no harm


def test_a_room_is_as_much_of_a_burden_as_its_members_share() -> None:
    theatre = Theatre(view(1, a=100))
    greedy = Viewer()
    greedy.watched = 10_000
    theatre.join(greedy)
    assert theatre.room.burden == 10_000
    for _ in range(3):
        theatre.join(Viewer())
    assert theatre.room.burden == 2500
