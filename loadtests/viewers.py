"""Viewers: of one board, as most are, and of many boards in many ways."""

from __future__ import annotations

from typing import Final

from locust import task

from loadtests.users import Connected, Pace, fitting, top_of, views_of

_PINGS: Final = 0.2
"""Pings a second."""


class Viewer(Connected):
    """Watches, and asks for a sign of life every few seconds."""

    abstract = True

    def on_start(self) -> None:
        """Begins to watch."""
        self._pace = Pace(_PINGS)

    def wait_time(self) -> float:
        """The time between two pings."""
        return self._pace.wait()

    @task
    def ping(self) -> None:
        """Measures a round trip."""
        self.session.ping()


class BoardViewer(Viewer):
    """Watches the first places of the main board."""

    weight = 16

    def on_start(self) -> None:
        """Begins to watch."""
        super().on_start()
        self.connect([top_of(self.stage.boards()[0], self.stage.options.top)])


class ManyBoardsViewer(Viewer):
    """Watches every board over one connection: all windows, some items, and the places around one."""

    weight = 4

    def on_start(self) -> None:
        """Begins to watch, up to what one connection may."""
        super().on_start()
        stage = self.stage
        boards = stage.boards()
        if stage.playground() not in boards:
            boards = [*boards, stage.playground()]
        self.connect(fitting(view for board in boards for view in views_of(board, stage.options.top)))
