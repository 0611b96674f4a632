"""Rows of views that are read again and again, most of them as they were.

A viewed board is read at every tick, and of its rows one or two have changed. So a row that comes in the same bytes as
the last time is not decoded again but is the object that it was: whoever compares rows next has little to look at.
"""

from __future__ import annotations

from itertools import compress, count
from operator import ne
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from storage.types import Query, Row

_decode_rows: Final = msgspec.msgpack.Decoder(list[Row]).decode
_decode_row: Final = msgspec.msgpack.Decoder(Row).decode
_split: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class _Read(NamedTuple):
    packed: msgspec.Raw
    parts: list[msgspec.Raw]
    rows: list[Row]


class Rows:
    """Decodes the rows of views. They are kept for as long as somebody keeps the very query that asked for them."""

    def __init__(self) -> None:
        self._read: WeakKeyDictionary[Query, _Read] = WeakKeyDictionary()

    def of(self, query: Query, packed: msgspec.Raw) -> list[Row]:
        """The rows, in the order in which they came; the same list where all are as they were the last time.

        The list is shared: it must not be changed.
        """
        read = self._read.get(query)
        if read is not None and read.packed == packed:
            return read.rows
        packed = packed.copy()  # for a part of an answer keeps all of it
        parts = _split(packed)
        if read is None:
            rows = _decode_rows(packed)
        else:
            rows = read.rows[: len(parts)]
            for place in compress(count(), map(ne, parts, read.parts)):
                rows[place] = _decode_row(parts[place])
            rows += map(_decode_row, parts[len(rows) :])
        self._read[query] = _Read(packed, parts, rows)
        return rows


def decode(packed: msgspec.Raw) -> list[Row]:
    """The rows of a view that nobody reads again."""
    return _decode_rows(packed)
