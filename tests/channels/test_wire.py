import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.codec import JSON, MSGPACK, Codec
from channels.deflate import compressed
from channels.delta import diff
from channels.frames import DEFLATED, TEXT, frame
from channels.protocol import Delta, Snapshot
from channels.ranking import View, rank_rows
from channels.wire import (
    DeltaFrames,
    Label,
    SnapshotFrames,
    change_of,
    delta_of,
    entry_of,
    label_of,
    row_of,
    snapshot_of,
    view_of,
)
from storage.types import Row
from tests.channels.strategies import histories
from tests.channels.viewer import payload as payload_of

LABELS = {"a": Label("Glass Rivers", "Vela"), "b": Label("A tool")}
# The number that is spliced out stands in texts too: only the place that is meant may be replaced.
TRICKY = str(2**63 - 1)

LONG = "A title that is long enough for a message to be worth compressing " * 4

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.subprotocol)


def view(version: int, **points: int) -> View:
    rows = rank_rows([Row(item, 0, value, 1, 0, None) for item, value in points.items()])
    return View.of("e", version, len(rows), rows)


def small_delta() -> Delta:
    change = diff(view(1, a=5), view(2, a=7, b=3))
    assert change is not None
    return delta_of(change, LABELS)


def test_an_entry_is_the_contracts() -> None:
    entry = entry_of(Row("a", 2, 1250, 14, 1, 5), LABELS["a"])
    assert msgspec.to_builtins(entry) == {
        "item": "a",
        "rank": 2,
        "score": 12.5,
        "up_votes": 14,
        "down_votes": 1,
        "movement": 3,
        "title": "Glass Rivers",
        "artist": "Vela",
    }


def test_absent_labels_are_left_out() -> None:
    row = Row("b", 1, 100, 1, 0, None)
    assert b"title" not in JSON.encode(entry_of(row))
    assert b"artist" not in JSON.encode(entry_of(row, LABELS["b"]))
    assert label_of(entry_of(row)) is None
    assert label_of(entry_of(row, LABELS["b"])) == LABELS["b"]


def test_a_delta_labels_only_what_enters() -> None:
    labelled = {entry.item: label_of(entry) for entry in small_delta().entries}
    assert labelled == {"a": None, "b": LABELS["b"]}


@both
@given(views=histories(2))
def test_views_and_changes_survive_the_wire(codec: Codec, views: list[View]) -> None:
    old, new = views
    [snapshot] = codec.decode_server(codec.encode(snapshot_of(old, LABELS, "songs", "day")))
    assert isinstance(snapshot, Snapshot)
    assert view_of(snapshot, top=old.top) == old
    if change := diff(old, new):
        [delta] = codec.decode_server(codec.encode(delta_of(change, LABELS)))
        assert isinstance(delta, Delta)
        assert change_of(delta, old) == change


def test_a_row_keeps_its_rank_of_an_hour_ago() -> None:
    row = Row("a", 4, 100, 1, 0, 6)
    assert row_of(entry_of(row)) == row


@both
@given(sub=st.integers(0, 2**63 - 1))
def test_a_spliced_delta_is_the_encoded_one(codec: Codec, sub: int) -> None:
    message = small_delta()
    message.left.append(TRICKY)
    prepared = DeltaFrames(message).frame(codec, sub)
    assert payload_of(prepared) == codec.encode(msgspec.structs.replace(message, sub=sub))
    assert prepared == frame(codec.opcode, payload_of(prepared))


@both
@given(client_id=st.integers(-(2**63), 2**63 - 1) | st.text(max_size=255), sub=st.integers(0, 2**63 - 1))
def test_a_spliced_snapshot_is_the_encoded_one(codec: Codec, client_id: str | int, sub: int) -> None:
    message = snapshot_of(view(1, a=5), LABELS, TRICKY, "all")
    prepared = SnapshotFrames(message).frame(codec, client_id, sub)
    assert payload_of(prepared) == codec.encode(msgspec.structs.replace(message, id=client_id, sub=sub))


def test_a_delta_is_encoded_once_a_codec() -> None:
    frames = DeltaFrames(small_delta())
    first = frames.frame(JSON, 1)
    assert frames.frame(JSON, 1) == first
    assert frames.frame(JSON, 2) != first
    assert frames.encodings == 1
    assert frames.frame(MSGPACK, 1) == frames.frame(MSGPACK, 1)
    assert frames.encodings == 2
    assert first[0] == 0x80 | TEXT


@both
def test_for_who_takes_it_so_a_delta_is_compressed_once(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    tails: list[bytes] = []

    def kept(data: bytes) -> bytes:
        tails.append(data)
        return compressed(data)

    monkeypatch.setattr("channels.wire.compressed", kept)
    message = small_delta()
    message.left.append(LONG)
    frames = DeltaFrames(message)
    plain = [frames.frame(codec, sub) for sub in (1, 2**40)]
    small = [frames.frame(codec.deflating, sub) for sub in (1, 2**40)]
    assert [payload_of(one) for one in small] == [payload_of(one) for one in plain]
    assert [one[0] for one in plain] == [0x80 | codec.opcode] * 2
    assert [one[0] for one in small] == [0x80 | DEFLATED | codec.opcode] * 2
    assert all(len(less) < len(more) - 150 for less, more in zip(small, plain, strict=True))
    assert frames.frame(codec.deflating, 1) == small[0]
    assert (len(tails), frames.encodings) == (1, 1)


@both
@given(client_id=st.integers(-(2**63), 2**63 - 1) | st.text(max_size=255) | st.none(), sub=st.integers(0, 2**63 - 1))
def test_so_is_a_snapshot(codec: Codec, client_id: str | int | None, sub: int) -> None:
    message = snapshot_of(view(1, a=5), {"a": Label(LONG)}, "songs", "all")
    small = SnapshotFrames(message).frame(codec.deflating, client_id, sub)
    assert small[0] == 0x80 | DEFLATED | codec.opcode
    assert payload_of(small) == codec.encode(msgspec.structs.replace(message, id=client_id, sub=sub))


@both
def test_what_is_small_is_sent_as_it_is(codec: Codec) -> None:
    frames = DeltaFrames(msgspec.structs.replace(small_delta(), entries=[], left=["a"]))
    assert frames.frame(codec.deflating, 1) == frames.frame(codec, 1)
