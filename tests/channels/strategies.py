"""Rankings and views for property tests: few items and few points, so that ties and returns are common."""

from hypothesis import strategies as st

from channels.ranking import View, rank_rows
from storage.types import Row

ITEMS = [*"abcdefg", "z:1", "é", "\U0001f3b5"]
POINTS = st.integers(-300, 300).map(lambda n: n * 25) | st.integers(-(10**12), 10**12)
COUNTS = st.integers(0, 2)
BEFORES = st.none() | st.integers(1, 4)


@st.composite
def rankings(draw: st.DrawFn) -> list[Row]:
    """A whole board, ranked."""
    items = draw(st.lists(st.sampled_from(ITEMS), unique=True))
    return rank_rows([Row(item, 0, draw(POINTS), draw(COUNTS), draw(COUNTS), draw(BEFORES)) for item in items])


@st.composite
def tops(draw: st.DrawFn, size: int, version: int) -> View:
    """The first `size` rows of some board."""
    rows = draw(rankings())
    return View.of("epoch", version, len(rows), rows[:size])


@st.composite
def selections(draw: st.DrawFn, version: int) -> View:
    """Some rows out of a board, with their ranks on all of it."""
    rows = draw(rankings())
    kept = draw(st.sets(st.sampled_from(ITEMS)))
    return View.of("epoch", version, len(rows), [row for row in rows if row.item in kept], top=False)


@st.composite
def histories(draw: st.DrawFn, length: int) -> list[View]:
    """Views of one kind at versions 1, 2, ... of one epoch."""
    if draw(st.booleans()):
        return [draw(selections(version)) for version in range(1, length + 1)]
    size = draw(st.integers(1, 6))
    return [draw(tops(size, version)) for version in range(1, length + 1)]
