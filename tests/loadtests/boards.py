"""Boards as a server would send them."""

from channels.delta import diff
from channels.protocol import Delta, Snapshot
from channels.ranking import View, rank_rows
from channels.wire import delta_of, snapshot_of
from storage.types import Row, Window


def view(version: int, epoch: str = "e1", **ups: int) -> View:
    """A whole board of which each item has so many up votes and nothing else."""
    rows = rank_rows([Row(item, 0, up * 100, up, 0, None) for item, up in ups.items()])
    return View.of(epoch, version, len(rows), rows)


def snapshot(of: View, message_id: int | None = 1, sub: int = 1, board: str = "b", window: Window = "all") -> Snapshot:
    message = snapshot_of(of, {}, board, window)
    message.id, message.sub = message_id, sub
    return message


def delta(old: View, new: View, sub: int = 1) -> Delta:
    change = diff(old, new)
    assert change is not None
    message = delta_of(change, {})
    message.sub = sub
    return message
