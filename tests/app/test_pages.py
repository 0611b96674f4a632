"""Encoded rankings that are kept."""

import pytest

from app.pages import OVERHEAD, Page, Pages, etag, matches

STATE = ("e1", 5)


def test_a_page_holds_while_its_board_does() -> None:
    pages = Pages()
    pages.put("a", Page(STATE, b"one"))
    assert pages.get("a", STATE) == Page(STATE, b"one")
    assert pages.get("b", STATE) is None
    for other in (("e1", 6), ("e2", 5), None):
        assert pages.get("a", other) is None


def test_a_page_that_is_not_final_is_made_again() -> None:
    now = 10.0
    pages = Pages(clock=lambda: now)
    pages.put("a", Page(STATE, b"one", until=15.0))
    assert pages.get("a", STATE) == Page(STATE, b"one", 15.0)
    now = 15.0
    assert pages.get("a", STATE) is None


def test_the_longest_unused_go_first() -> None:
    pages = Pages(limit=10 + 3 * OVERHEAD)
    for key in "abc":
        pages.put(key, Page(STATE, b"123"))
    assert pages.get("a", STATE) == Page(STATE, b"123")
    pages.put("d", Page(STATE, b"123"))
    assert [key for key in "abcd" if pages.get(key, STATE)] == ["a", "c", "d"]
    for _ in range(5):
        pages.put("d", Page(STATE, b"1234"))
    assert [key for key in "acd" if pages.get(key, STATE)] == ["a", "c", "d"]
    pages.put("e", Page(STATE, b"x" * (11 + 3 * OVERHEAD)))
    assert not any(pages.get(key, STATE) for key in "acde")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, False),
        ("*", True),
        (" * ", True),
        ('"e1-5"', True),
        ('W/"e1-5"', True),
        ('"x", "e1-5"', True),
        ('"x",W/"e1-5","y"', True),
        ('"e1-6"', False),
        ("e1-5", False),
        ("", False),
    ],
)
def test_if_none_match(given: str | None, expected: bool) -> None:
    assert etag(STATE) == '"e1-5"'
    assert matches(given, STATE) is expected
