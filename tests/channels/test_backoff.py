from hypothesis import given
from hypothesis import strategies as st

from channels.backoff import full_jitter


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_it_stays_between_nothing_and_the_cap(attempt: int, chance: float) -> None:
    assert 0 <= full_jitter(attempt, lambda: chance) <= 20


def test_it_doubles_until_the_cap() -> None:
    assert [full_jitter(n, lambda: 0.5, base=1, cap=5) for n in range(5)] == [0.5, 1, 2, 2.5, 2.5]
