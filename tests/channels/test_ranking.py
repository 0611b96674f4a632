import zlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.ranking import View, points_of, rank_rows, score_of, score_text
from storage.types import Row
from tests.channels.strategies import ITEMS, POINTS, rankings


def row(item: str, points: int, rank: int = 0, before: int | None = None) -> Row:
    return Row(item, rank, points, 0, 0, before)


def test_equal_points_share_a_rank_and_leave_a_gap() -> None:
    ranked = rank_rows([row("d", 0), row("b", 500), row("c", 100), row("a", 500), row("e", -100)])
    assert [(r.item, r.rank) for r in ranked] == [("a", 1), ("b", 1), ("c", 3), ("d", 4), ("e", 5)]


@given(st.dictionaries(st.sampled_from(ITEMS), POINTS))
def test_a_rank_is_one_more_than_the_number_of_those_above(points: dict[str, int]) -> None:
    ranked = rank_rows([row(item, value) for item, value in points.items()])
    assert all(r.rank == 1 + sum(value > r.points for value in points.values()) for r in ranked)
    # The order inside a tie is that of the ids' UTF-8 bytes, as in the stores.
    assert [r.item for r in ranked] == sorted(points, key=lambda item: (-points[item], item.encode()))


@given(rankings())
def test_ranking_twice_changes_nothing(rows: list[Row]) -> None:
    assert rank_rows(reversed(rows)) == rows


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (0, "0"),
        (1200, "12"),
        (1250, "12.5"),
        (-5, "-0.05"),
        (-120, "-1.2"),
        (1, "0.01"),
        (10**15 + 1, "10000000000000.01"),
    ],
)
def test_scores_are_written_in_shortest_form(points: int, text: str) -> None:
    assert score_text(points) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_written_score_is_exact(points: int) -> None:
    text = score_text(points)
    assert Decimal(text) * 100 == points
    assert "e" not in text
    assert "." not in text or text[-1] != "0"


@given(st.integers(-(10**15), 10**15))
def test_a_score_on_the_wire_comes_back_exactly(points: int) -> None:
    score = score_of(points)
    assert points_of(score) == points
    assert isinstance(score, int) is (points % 100 == 0)


@pytest.mark.parametrize(("before", "movement"), [(None, None), (5, 3), (2, 0), (1, -1)])
def test_movement_is_positive_for_what_rose(before: int | None, movement: int | None) -> None:
    assert row("a", 0, rank=2, before=before).movement == movement


def digest(rows: list[Row]) -> int:
    return View.of("e", 1, len(rows), rows).digest


@given(rankings())
def test_the_digest_is_the_contracts(rows: list[Row]) -> None:
    lines = "\n".join(f"{r.item}:{format(Decimal(r.points) / 100, 'f')}" for r in rows)
    assert digest(rows) == zlib.crc32(lines.encode())


def test_the_digest_of_a_known_view() -> None:
    assert digest([row("a", 1250), row("b", 300), row("c", -5)]) == zlib.crc32(b"a:12.5\nb:3\nc:-0.05")
    assert digest([]) == 0
