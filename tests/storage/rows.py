"""Reads rows of PostgreSQL's binary COPY, as the log of votes holds them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

YEAR_2000 = 946_684_800_000
FORMS = (">h", ">q", ">q", ">i", ">i", ">i", ">h", ">i", ">h", ">h", None)
"""Shapes of the columns of vote_events, None for text."""


class LoggedEvent(NamedTuple):
    """One row; `at` in milliseconds since 1970."""

    shard: int
    seq: int
    at: int
    board: int
    item: int
    agent: int
    weight: int
    points: int
    value: int | None
    previous: int | None
    comment: str | None


def decode_rows(rows: bytes) -> Iterator[LoggedEvent]:
    """Every event of one entry of the log. Raises AssertionError where a field is not as long as its type."""
    place = 0

    def field(form: str | None) -> int | str | None:
        nonlocal place
        (length,) = struct.unpack_from(">i", rows, place)
        place += 4
        if length < 0:
            return None
        raw = rows[place : place + length]
        place += length
        if form is None:
            return raw.decode()
        assert length == struct.calcsize(form)
        value: int = struct.unpack(form, raw)[0]
        return value

    while place < len(rows):
        (count,) = struct.unpack_from(">h", rows, place)
        assert count == len(LoggedEvent._fields)
        place += 2
        shard, seq, at, *others = (field(form) for form in FORMS)
        assert isinstance(at, int)
        yield LoggedEvent(shard, seq, at // 1000 + YEAR_2000, *others)  # type: ignore[arg-type]  # by the forms above
    assert place == len(rows)
