"""The Lua scripts of the live store, and the two wire shapes that they speak."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

from storage.types import WINDOWS, AroundView, Board, ItemsView, Query, TopView

Name = Literal["apply", "hold", "read", "load", "resume", "roll", "trim"]
NAMES: Final[tuple[Name, ...]] = ("apply", "hold", "read", "load", "resume", "roll", "trim")

pack = msgspec.msgpack.Encoder().encode


@cache
def source(name: Name) -> str:
    """A script's whole text: what all share, then its own."""
    folder = files("storage") / "lua"
    return f"{(folder / 'common.lua').read_text()}\n{(folder / f'{name}.lua').read_text()}"


def encode_title(title: tuple[str, str | None]) -> str:
    """Title and artist as the store keeps them: JSON, since Lua's msgpack knows no binary values."""
    return msgspec.json.encode(title).decode()


class ApplyReply(msgspec.Struct, array_like=True):
    """What `apply.lua` answers; see there for the shape of the flat lists.

    `confirmed` is not the script's: whether as many replicas have its effects as are asked for.
    """

    reason: str
    epoch: str
    seq_before: int
    changed: list[int]
    results: list[int]
    confirmed: bool = True


class ViewReply(msgspec.Struct, array_like=True):
    """One view as `read.lua` answers it: with whole ties at its borders, so that `skip` rows come before the first.

    `storage.rows` decodes the rows.
    """

    version: int
    total: int
    reference: int
    rows: msgspec.Raw
    skip: int


class ReadReply(msgspec.Struct, array_like=True):
    """What `read.lua` answers: epoch, last seq, and a view or False for each of the first that were asked for."""

    epoch: str
    seq: int
    views: list[ViewReply | bool]


decode_reply = msgspec.msgpack.Decoder(ApplyReply).decode
decode_read = msgspec.msgpack.Decoder(ReadReply).decode
decode_title = msgspec.json.Decoder(tuple[str, str | None]).decode
decode_changed = msgspec.msgpack.Decoder(tuple[str, int, list[int], list[int]]).decode
decode_viewers = msgspec.msgpack.Decoder(tuple[int, dict[int, int]]).decode


def window_bits(board: Board) -> int:
    """The board's windows as the bit set that `apply.lua` takes."""
    return sum(1 << WINDOWS.index(window) for window in board.windows)


def query_arguments(query: Query) -> list[object]:
    """A view as `read.lua` takes it."""
    match query.view:
        case TopView(limit, offset):
            return [query.board, query.window, "top", limit, offset]
        case ItemsView(items):
            return [query.board, query.window, "items", items]
        case AroundView(item, span):
            return [query.board, query.window, "around", item, span]
