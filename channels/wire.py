"""Views and changes to messages and prepared frames, and back.

A delta is the same for all who watch a view, except for the number that each of them knows the view by. It is
encoded once per codec with a mark in that place, and a frame per number is spliced from the parts. What follows on the
number is compressed once, for all who take it so.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from channels.codec import Codec
from channels.deflate import compressed, stored
from channels.delta import Change
from channels.frames import DEFLATED, frame
from channels.protocol import Delta, Entry, Snapshot
from channels.ranking import View, points_of, score_of
from storage.types import Row, Window


class Label(NamedTuple):
    """What people call an item. None where it has no such thing."""

    title: str | None
    artist: str | None = None


def entry_of(row: Row, label: Label | None = None) -> Entry:
    """A row as the contract has it, with the label where one is given."""
    title, artist = label or (None, None)
    return Entry(
        row.item,
        row.rank,
        score_of(row.points),
        row.up,
        row.down,
        row.movement,
        UNSET if title is None else title,
        UNSET if artist is None else artist,
    )


def row_of(entry: Entry) -> Row:
    """A row as a client holds it. The rank an hour ago is kept, so that its movement follows from any later rank."""
    before = None if entry.movement is None else entry.rank + entry.movement
    return Row(entry.item, entry.rank, points_of(entry.score), entry.up_votes, entry.down_votes, before)


def snapshot_of(view: View, labels: Mapping[str, Label], board: str, window: Window) -> Snapshot:
    """The whole view as a message, for nobody yet: `id` and `sub` are filled in per viewer."""
    entries = [entry_of(row, labels.get(item)) for item, row in view.rows.items()]
    return Snapshot(0, 0, board, window, view.epoch, view.version, view.total, entries, view.digest)


def delta_of(change: Change, labels: Mapping[str, Label]) -> Delta:
    """The change as a message, for nobody yet: `sub` is filled in per viewer. Only rows that enter carry labels."""
    entries = [entry_of(row, labels.get(row.item) if row.item in change.entered else None) for row in change.rows]
    return Delta(0, change.prev, change.version, entries, list(change.left), change.total, change.digest)


def view_of(message: Snapshot, *, top: bool) -> View:
    """The view that a snapshot holds. Its digest is computed, to be compared with the message's."""
    rows = list(map(row_of, message.entries))
    return View.of(message.epoch, message.version, message.total, rows, top=top)


def change_of(message: Delta, view: View) -> Change:
    """The change that a delta to this view stands for."""
    rows = tuple([row_of(entry) for entry in message.entries])
    entered = frozenset([row.item for row in rows if row.item not in view.rows])
    return Change(message.prev, message.version, message.total, rows, entered, tuple(message.left), message.digest)


def label_of(entry: Entry) -> Label | None:
    """The label that an entry carries, None where it carries none."""
    if entry.title is UNSET and entry.artist is UNSET:
        return None
    return Label(entry.title or None, entry.artist or None)


# A number that takes its longest form in either codec and stands nowhere else before the fields that it
# marks.
_MARK: Final = 2**63 - 1


_WORTHWHILE: Final = 200
"""Bytes below which compressing saves next to nothing."""


class _Tail:
    """The end of a message, the same for everybody who gets it; compressed once somebody takes it so."""

    __slots__ = ("_compressed", "_plain")

    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._compressed: bytes | None = None

    def frame(self, codec: Codec, head: bytes) -> bytes:
        """The frame of the message that begins with `head`."""
        if not codec.deflates or len(self._plain) < _WORTHWHILE:
            return frame(codec.opcode, head + self._plain)
        if self._compressed is None:
            self._compressed = compressed(self._plain)
        return frame(DEFLATED | codec.opcode, stored(head) + self._compressed)


class DeltaFrames:
    """One delta, ready to be written to every viewer of its view."""

    def __init__(self, message: Delta) -> None:
        self._message = message
        self._parts: dict[str, tuple[bytes, _Tail]] = {}

    @property
    def encodings(self) -> int:
        """How often the message was encoded so far: once per subprotocol in use."""
        return len(self._parts)

    def frame(self, codec: Codec, sub: int) -> bytes:
        """The websocket frame for viewers who know the view as number `sub`."""
        head, tail = self._split(codec)
        return tail.frame(codec, head + codec.encode(sub))

    def _split(self, codec: Codec) -> tuple[bytes, _Tail]:
        if codec.subprotocol not in self._parts:
            marked = replace(self._message, sub=_MARK)
            head, tail = codec.encode(marked).split(codec.encode(_MARK), 1)
            self._parts[codec.subprotocol] = head, _Tail(tail)
        return self._parts[codec.subprotocol]


class SnapshotFrames:
    """One snapshot, ready for whoever joins while the view stays as it is."""

    def __init__(self, message: Snapshot) -> None:
        self._message = message
        self._parts: dict[str, tuple[bytes, bytes, _Tail]] = {}

    def frame(self, codec: Codec, client_id: str | int | None, sub: int) -> bytes:
        """The websocket frame that answers this `subscribe`."""
        head, middle, tail = self._split(codec)
        return tail.frame(codec, b"".join((head, codec.encode(client_id), middle, codec.encode(sub))))

    def _split(self, codec: Codec) -> tuple[bytes, bytes, _Tail]:
        if codec.subprotocol not in self._parts:
            marked = replace(self._message, id=_MARK, sub=_MARK)
            head, middle, tail = codec.encode(marked).split(codec.encode(_MARK), 2)
            self._parts[codec.subprotocol] = head, middle, _Tail(tail)
        return self._parts[codec.subprotocol]
