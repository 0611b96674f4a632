"""What is drawn on a terminal."""

import io
from typing import Literal

import pytest
from rich.console import Console

from app.screen import GLOW, Screen
from app.terminal import movement_cell, plain, ranking_table, score_text, share_bar
from channels.client import BoardView
from channels.protocol import Entry

ENTRIES = [
    Entry("a", 1, 1234, 1300, 66, 2, "Glass Rivers", "Vela"),
    Entry("b", 2, 12.5, 13, 0, -1, "[red]Umbra\x1b[2J", "Ines"),
    Entry("c", 3, 0, 0, 0, None),
]


def drawn(renderable: object, width: int = 100, height: int = 40, *, colours: bool = False) -> str:
    system: Literal["truecolor"] | None = "truecolor" if colours else None
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=colours, color_system=system)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def view(*entries: Entry, total: int = 40) -> BoardView:
    return BoardView("songs", "day", "e", 1, total, list(entries or ENTRIES))


def test_a_row_tells_everything() -> None:
    lines = [line.split() for line in drawn(ranking_table(ENTRIES, 100, ids=True)).splitlines()]
    assert lines[1] == ["1", "▲2", "Glass", "Rivers", "Vela", "1,234", "━" * 12, "1,300", "66", "a"]
    assert lines[3] == ["3", "new", "c", "0", "─" * 12, "0", "0", "c"]


def test_a_title_can_not_draw_by_itself() -> None:
    text = drawn(ranking_table(ENTRIES, 100))
    assert "[red]Umbra\N{REPLACEMENT CHARACTER}[2J" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a\nb\x9b", "a\ufffdb\ufffd"), ("\u202eabc", "abc"), ("👩‍🎤 שלום", "👩‍🎤 שלום")],
)
def test_texts_keep_what_they_are_written_in(given: str, expected: str) -> None:
    assert plain(given) == expected


@pytest.mark.parametrize(("width", "has"), [(40, (False, False)), (60, (True, False)), (90, (True, True))])
def test_a_narrow_terminal_is_spared_what_matters_least(width: int, has: tuple[bool, bool]) -> None:
    text = drawn(ranking_table(ENTRIES, width), width)
    assert ("Vela" in text, "━" in text) == has
    assert "Glass Rivers" in text
    assert max(map(len, text.splitlines())) <= width


def test_nothing_has_a_past_on_a_fresh_board() -> None:
    fresh = [Entry("a", 1, 0, 0, 0, None, "A"), Entry("b", 1, 0, 0, 0, None, "B")]
    assert "new" not in drawn(ranking_table(fresh, 100))
    assert "Nothing is on this board yet." in drawn(ranking_table([], 100))


@pytest.mark.parametrize(("up", "down", "green"), [(1, 1, 6), (1000, 1, 11), (1, 1000, 1), (5, 0, 12), (0, 5, 0)])
def test_a_bar_shows_every_kind_of_vote_that_there_is(up: int, down: int, green: int) -> None:
    bar = share_bar(up, down)
    assert len(bar) == 12
    assert sum(span.end - span.start for span in bar.spans if span.style == "green") == green


def test_small_cells() -> None:
    assert [movement_cell(movement).plain for movement in (3, -2, 0, None)] == ["▲3", "▼2", "·", "new"]
    assert [score_text(score) for score in (1234, 12.5, -0.05)] == ["1,234", "12.50", "-0.05"]


class TestScreen:
    """A board that is followed."""

    def setup_method(self) -> None:
        self.now = 100.0
        self.screen = Screen("songs", "day", "http://server", lambda: self.now)

    def test_it_waits_then_shows_then_says_what_was_lost(self) -> None:
        assert drawn(self.screen).strip() == "songs · day  ○ waiting for http://server"
        self.screen.connection(True)
        self.screen.show(view())
        text = drawn(self.screen)
        assert "● live" in text
        assert "40 on the board" in text
        self.screen.connection(False)
        text = drawn(self.screen)
        assert "● live" not in text
        assert "connection to http://server lost" in text
        assert "Glass Rivers" in text
        self.screen.connection(True)
        assert "● live" in drawn(self.screen)

    def test_what_changed_glows_for_a_moment(self) -> None:
        self.screen.connection(True)
        self.screen.show(view())
        calm = drawn(self.screen, colours=True)
        self.screen.show(view(Entry("a", 1, 1235, 1301, 66, 2, "Glass Rivers", "Vela"), *ENTRIES[1:]))
        glowing = drawn(self.screen, colours=True)
        assert glowing.count("\x1b[1;33m") > calm.count("\x1b[1;33m") == 0
        self.now += GLOW
        assert "\x1b[1;33m" not in drawn(self.screen, colours=True)

    def test_what_does_not_fit_is_counted(self) -> None:
        self.screen.connection(True)
        self.screen.show(view(*(Entry(f"i{number}", 1, 0, 0, 0, None) for number in range(20))))
        text = drawn(self.screen, height=15)
        assert len(text.splitlines()) < 15
        assert "10 more would fit a higher terminal" in text
