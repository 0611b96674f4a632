import gc

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from storage.rows import Rows, decode
from storage.types import Query, Row, TopView
from tests.channels.strategies import rankings


def packed(rows: list[Row]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode([[row.item, row.rank, row.points, row.up, row.down] for row in rows]))


def bare(rows: list[Row]) -> list[Row]:
    """As the live store has them: it knows no movement."""
    return [Row(row.item, row.rank, row.points, row.up, row.down) for row in rows]


def query(board: int = 1) -> Query:
    return Query(board, "all", TopView(10))


@given(st.lists(rankings().map(bare)))
def test_rows_are_those_that_were_packed_whatever_was_read_before(reads: list[list[Row]]) -> None:
    memory, asked = Rows(), query()
    for rows in reads:
        assert memory.of(asked, packed(rows)) == rows == decode(packed(rows))


def test_rows_that_stand_as_they_stood_are_the_same_objects() -> None:
    memory, asked = Rows(), query()
    first = memory.of(asked, packed([Row("a", 1, 300, 3, 0), Row("b", 2, 200, 2, 0), Row("c", 3, 100, 1, 0)]))
    again = memory.of(asked, packed([Row("a", 1, 300, 3, 0), Row("b", 2, 250, 3, 0), Row("c", 3, 100, 1, 0)]))
    assert [row is was for row, was in zip(again, first, strict=True)] == [True, False, True]
    assert memory.of(asked, packed(again)) is again


def test_queries_share_rows_only_if_they_are_equal() -> None:
    memory, rows = Rows(), [Row("a", 1, 300, 3, 0)]
    one, same, other = query(), query(), query(board=2)
    first = memory.of(one, packed(rows))
    assert memory.of(same, packed(rows)) is first
    assert memory.of(other, packed(rows)) is not first


def test_nothing_is_kept_for_a_query_that_nobody_keeps() -> None:
    memory, asked, rows = Rows(), query(), packed([Row("a", 1, 300, 3, 0)])
    first = memory.of(asked, rows)
    del asked
    gc.collect()
    assert memory.of(query(), rows) is not first


def test_the_answer_that_rows_came_in_is_not_kept() -> None:
    memory, asked = Rows(), query()
    answer = bytearray(msgspec.msgpack.encode([[["a", 1, 300, 3, 0]], "the rest of a long answer"]))
    memory.of(asked, msgspec.msgpack.decode(answer, type=tuple[msgspec.Raw, str])[0])
    answer.clear()  # which raises BufferError while anything refers to its bytes
