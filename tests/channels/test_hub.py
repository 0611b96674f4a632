"""The hub, in virtual time: what is shown, and when."""

import asyncio
from itertools import pairwise

import pytest

from channels import hub as hub_module
from channels.codec import JSON, MSGPACK
from channels.hub import COMPLETE_AFTER
from channels.protocol import Delta, Resumed, Snapshot
from channels.wire import DeltaFrames, Label
from storage.types import Query, TopView
from tests.channels.theatre import RATE, READ, TICK, AwayError, Theatre, in_virtual_time
from tests.channels.viewer import Viewer
from tests.channels.virtual import run


@in_virtual_time
async def test_what_a_view_lacks_is_shown_later_though_nothing_changes() -> None:
    theatre = Theatre()
    theatre.complete = False
    theatre.vote(100)
    first, second = Viewer(), Viewer()
    left = await theatre.join(first)
    await asyncio.sleep(2 * COMPLETE_AFTER)
    assert len(theatre.reads) == 2
    theatre.hub.leave(left)
    await asyncio.sleep(2 * COMPLETE_AFTER)
    # Nobody was there for whom it was worth reading; the room was kept, and is not complete.
    await theatre.join(second)
    theatre.complete = True
    await theatre.until(lambda: second.view is not None and second.view.rows["a"].movement == 2)
    assert [type(message) for message in second.messages] == [Snapshot, Snapshot]
    theatre.reads.clear()
    await asyncio.sleep(3 * COMPLETE_AFTER)
    assert theatre.reads == []


@in_virtual_time
async def test_the_first_change_is_shown_at_once_and_later_ones_at_ticks() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    began = theatre.clock()
    shown = len(viewer.messages)
    for n in range(1000):
        theatre.vote(200 + n)
        if n == 0:
            await theatre.until(lambda: len(viewer.messages) > shown)
            assert theatre.clock() - began < 2 * READ
        await asyncio.sleep(0.002)
    seconds = theatre.clock() - began
    assert RATE * seconds * 0.8 < len(viewer.messages) - shown <= RATE * seconds + 1
    reads = [at for at, _, _ in theatre.reads if at > began]
    assert all(second - first >= TICK / 2 for first, second in pairwise(reads))
    await theatre.quiet()
    assert theatre.score(viewer) == 1199
    assert viewer.view == theatre._view(1, Query(1, "all", TopView(50)))


@in_virtual_time
async def test_a_quiet_board_is_not_read() -> None:
    theatre = Theatre()
    theatre.vote(100)
    await theatre.join(Viewer())
    await theatre.quiet()
    reads = len(theatre.reads)
    theatre.tell()
    await theatre.quiet()
    assert len(theatre.reads) == reads


@in_virtual_time
async def test_a_room_whose_last_member_leaves_as_it_changes_does_no_harm() -> None:
    theatre = Theatre()
    theatre.vote(100)
    subscription = await theatre.join(Viewer())
    await theatre.quiet()
    theatre.vote(200)
    theatre.hub.leave(subscription)
    await theatre.quiet()
    viewer = Viewer()
    await theatre.join(viewer)
    assert theatre.score(viewer) == 200
    theatre.vote(300)
    await theatre.quiet()
    assert theatre.score(viewer) == 300


@in_virtual_time
async def test_who_joins_after_a_change_was_told_sees_it() -> None:
    theatre = Theatre()
    theatre.vote(100)
    await theatre.join(Viewer())
    for n in range(50):
        theatre.vote(200 + n)
        late = Viewer()
        await theatre.join(late)
        assert theatre.score(late) == 200 + n


@in_virtual_time
async def test_a_change_while_the_first_one_joins_is_not_lost() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    joining = asyncio.create_task(theatre.join(viewer))
    await theatre.until(lambda: bool(theatre.reads))
    theatre.vote(200)
    await joining
    assert theatre.score(viewer) == 100
    await theatre.quiet()
    assert theatre.score(viewer) == 200


@pytest.mark.parametrize("told_first", [True, False])
@in_virtual_time
async def test_a_state_that_somebody_read_before_it_was_announced_is_still_shown(told_first: bool) -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer, other = Viewer(), Viewer()
    await theatre.join(viewer)
    await theatre.join(other, top=10)
    await theatre.quiet()
    theatre.vote(200, told=told_first)
    theatre.hub.learned(1, "e", 2)
    theatre.tell()
    await theatre.quiet()
    assert (theatre.score(viewer), theatre.score(other)) == (200, 200)
    assert theatre.hub.state(1) == ("e", 2)


@in_virtual_time
async def test_a_store_that_was_away_is_shown_when_it_is_back() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    theatre.away = True
    theatre.vote(200)
    with pytest.raises(AwayError):
        await theatre.join(Viewer(), top=3)
    await theatre.quiet()
    assert theatre.score(viewer) == 100
    theatre.away = False
    await theatre.quiet()
    assert theatre.score(viewer) == 200
    assert theatre.sent[-1][2] > 1  # seconds from the change to the screens


@pytest.mark.parametrize("linger", [0, 200])
def test_a_board_that_the_store_does_not_have_cannot_be_joined(linger: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without any, the room is forgotten while it is read.
    monkeypatch.setattr(hub_module, "LINGER", linger)

    async def play() -> None:
        theatre = Theatre()
        with pytest.raises(AwayError):
            await theatre.join(Viewer())
        assert theatre.hub.rooms == 0
        theatre.vote(100)
        await theatre.join(Viewer())
        assert theatre.hub.rooms == 1

    run(play())


@in_virtual_time
async def test_a_board_that_the_store_lost_for_a_while_is_shown_again_without_a_word() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    await theatre.quiet()
    lost, theatre.points = theatre.points, {}
    theatre.hub.doubt()
    await theatre.quiet()
    assert theatre.score(viewer) == 100
    theatre.points, theatre.epoch = lost, "f"
    theatre.vote(200, told=False)
    await theatre.quiet()
    assert theatre.score(viewer) == 200
    assert isinstance(viewer.messages[-1], Snapshot)


@in_virtual_time
async def test_another_epoch_is_shown_as_a_snapshot_and_then_the_room_rests() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer, other = Viewer(), Viewer()
    await theatre.join(viewer)
    await theatre.join(other, top=10)
    await theatre.quiet()
    theatre.epoch = "f"
    theatre.vote(200, told=False)
    # Somebody reads the new state while the old one is what was announced last.
    theatre.hub.learned(1, "f", 2)
    await theatre.quiet()
    assert [type(member.messages[-1]) for member in (viewer, other)] == [Snapshot, Snapshot]
    assert theatre.hub.state(1) == ("f", 2)
    reads = len(theatre.reads)
    await theatre.quiet()
    assert len(theatre.reads) == reads
    theatre.vote(300)
    await theatre.quiet()
    assert isinstance(viewer.messages[-1], Delta)
    assert theatre.score(viewer) == 300


@in_virtual_time
async def test_nothing_is_known_while_announcements_are_not_heard() -> None:
    theatre = Theatre()
    theatre.vote(100)
    viewer = Viewer()
    await theatre.join(viewer)
    assert theatre.hub.state(1) == ("e", 1)
    theatre.hub.deafened()
    assert theatre.hub.state(1) is None
    theatre.vote(200, told=False)
    await theatre.quiet()
    assert theatre.score(viewer) == 100
    theatre.hub.listening()
    await theatre.quiet()
    assert theatre.score(viewer) == 200
    assert theatre.hub.state(1) == ("e", 2)


@in_virtual_time
async def test_a_change_is_encoded_once_per_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[DeltaFrames] = []

    class Kept(DeltaFrames):
        def __init__(self, message: Delta) -> None:
            super().__init__(message)
            prepared.append(self)

    monkeypatch.setattr("channels.room.DeltaFrames", Kept)
    theatre = Theatre()
    theatre.vote(100)
    viewers = [Viewer([JSON, MSGPACK][n % 2]) for n in range(60)]
    for n, viewer in enumerate(viewers):
        await theatre.join(viewer, n % 3)
    await theatre.quiet()
    theatre.vote(200)
    await theatre.quiet()
    assert {theatre.score(viewer) for viewer in viewers} == {200}
    assert [delta.encodings for delta in prepared] == [2]
    assert len({id(viewer.frames[-1]) for viewer in viewers}) == 6


@in_virtual_time
async def test_labels_are_read_when_an_item_enters() -> None:
    theatre = Theatre()
    theatre.vote(100)
    theatre.vote(90, item="b")
    viewer = Viewer()
    await theatre.join(viewer)
    theatre.vote(300)
    await theatre.quiet()
    theatre.vote(200, item="c")
    await theatre.quiet()
    assert theatre.labelled == ["a", "b", "c"]
    assert viewer.labels == {item: Label(f"Song {item}") for item in "abc"}


@in_virtual_time
async def test_an_empty_room_is_kept_for_those_who_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER", 3)
    theatre = Theatre()
    theatre.vote(100)
    viewer, other = Viewer(), Viewer()
    theatre.hub.leave(await theatre.join(viewer, top=1))
    assert theatre.hub.rooms == 0
    theatre.vote(200)
    await theatre.join(viewer, top=1)
    assert [type(message) for message in viewer.messages] == [Snapshot, Resumed, Delta]
    assert theatre.hub.rooms == 1
    # One that is forgotten is made again, and who left it gets a snapshot.
    for top in (2, 3, 4, 5):
        theatre.hub.leave(await theatre.join(viewer if top == 2 else other, top=top))
        other.view = None
    theatre.vote(300)
    await theatre.join(viewer, top=2)
    assert isinstance(viewer.messages[-1], Snapshot)


@in_virtual_time
async def test_rooms_that_nobody_could_join_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER", 3)
    theatre = Theatre()
    theatre.away = True
    for top in range(1, 20):
        with pytest.raises(AwayError):
            await theatre.join(Viewer(), top=top)
    assert len(theatre.hub._rooms) <= 3


@in_virtual_time
async def test_a_room_that_was_dropped_while_somebody_joined_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LINGER", 1)
    theatre = Theatre()
    theatre.vote(100)
    viewers = [Viewer() for _ in range(4)]
    await asyncio.gather(*(theatre.join(viewer, top=top) for top, viewer in enumerate(viewers, 1)))
    theatre.vote(200)
    await theatre.quiet()
    assert [theatre.score(viewer) for viewer in viewers] == [200] * 4
