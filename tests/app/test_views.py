from hypothesis import given
from hypothesis import strategies as st

from app.views import Views
from channels.ranking import View
from storage.types import ItemsView, Query, Ranking, Row, TopView
from tests.channels.strategies import rankings

ROWS = [Row("a", 1, 300, 3, 0), Row("b", 2, 200, 2, 0), Row("c", 3, 100, 1, 0)]
TOP = Query(1, "all", TopView(3))


def read(rows: list[Row], version: int = 1, *, epoch: str = "e1", total: int = 9, reference: int = 60_000) -> Ranking:
    return Ranking(epoch, version, version, total, reference, rows)


@st.composite
def reads(draw: st.DrawFn) -> list[Ranking]:
    """What is read of a board again and again: a ranking, and often just the rows that were read before."""
    found: list[Ranking] = []
    for version in range(1, 6):
        again = bool(found) and draw(st.booleans())
        rows = found[-1].rows if again else draw(rankings())
        if again and rows and draw(st.booleans()):
            rows = [*rows]
            place = draw(st.integers(0, len(rows) - 1))
            rows[place] = Row(rows[place].item, rows[place].rank, 7, 1, 0)
        epoch, total, reference = (
            draw(st.sampled_from("ab")),
            draw(st.sampled_from([9, 10])),
            draw(st.sampled_from([0, 1])),
        )
        found.append(read(rows, version, epoch=epoch, total=total, reference=reference))
    return found


RANKS = st.sampled_from([None, {}, {"a": 1, "b": 2}, {"a": 2, "é": 1}])


@given(reads(), st.lists(RANKS, min_size=5, max_size=5), st.sampled_from([TopView(3), TopView(20), ItemsView(("a",))]))
def test_a_view_is_the_same_whatever_was_made_before(
    found: list[Ranking], before: list[dict[str, int] | None], spec: TopView | ItemsView
) -> None:
    views, query = Views(), Query(1, "all", spec)
    for ranking, ranks in zip(found, before, strict=True):
        rows = [row if not ranks else moved(row, ranks) for row in ranking.rows]
        if isinstance(spec, TopView):
            rows = rows[: spec.limit]
        assert views.of(query, ranking, ranks) == View.of(
            ranking.epoch,
            ranking.version,
            ranking.total,
            rows,
            top=isinstance(spec, TopView),
            incomplete=ranks is None and ranking.reference > 0,
        )


def moved(row: Row, ranks: dict[str, int]) -> Row:
    return Row(row.item, row.rank, row.points, row.up, row.down, ranks.get(row.item))


def test_of_rows_that_stand_as_they_stood_nothing_is_made_again() -> None:
    views, before = Views(), {"a": 2, "b": 1}
    first = views.of(TOP, read(ROWS), before)
    changed = views.of(TOP, read([ROWS[0], Row("b", 2, 250, 3, 0), ROWS[2]], 2), before)
    assert [row is was for row, was in zip(changed.rows.values(), first.rows.values(), strict=True)] == [1, 0, 1]
    assert [line is was for line, was in zip(changed.lines, first.lines, strict=True)] == [1, 0, 1]


def test_a_change_elsewhere_on_the_board_costs_nothing() -> None:
    views, before = Views(), {"a": 2}
    first, again = views.of(TOP, read(ROWS), before), views.of(TOP, read(ROWS, 2), before)
    assert (again.version, again.rows is first.rows) == (2, True)


def test_rows_get_the_movement_of_the_latest_sample() -> None:
    views = Views()
    movements = [
        [row.movement for row in views.of(TOP, read(ROWS, version), before).rows.values()]
        for version, before in enumerate([None, {"a": 2}, {"a": 1, "b": 1}, {}])
    ]
    assert movements == [[None, None, None], [1, None, None], [0, -1, None], [None, None, None]]
