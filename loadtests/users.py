"""What all users of the load test have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import ClassVar, Final

import gevent
from gevent import Greenlet
from locust import User
from locust.env import Environment

from channels.protocol import Ack, Error
from loadtests.ballots import Board
from loadtests.checks import Pending, Watch
from loadtests.options import DEFAULT_HOST
from loadtests.report import Report
from loadtests.session import Session
from loadtests.stage import Stage

MAX_VIEWS: Final = 100
MAX_ROWS: Final = 5000
"""What one connection may watch: so many views, and so many rows in all of them."""


class Visitor(User):
    """A user of the server that the stage is set on. `report` is the way to Locust's statistics."""

    abstract = True
    host = DEFAULT_HOST
    needs_key: ClassVar[bool] = False
    """Whether these users are agents, which the admin key is needed for."""
    stage: ClassVar[Stage]
    """Of the test that runs now; set when it starts."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.fire: Callable[..., None] = environment.events.request.fire
        self.report = Report(self.fire)


class Connected(Visitor):
    """A user with one websocket that stays open while the user lives."""

    abstract = True
    session: Session
    _keeper: Greenlet[[], None]

    def connect(self, watches: list[Watch], token: str | None = None) -> None:
        """Opens the websocket, as a viewer's or with an agent's key; ends the one before."""
        stage = self.stage
        self.session = Session(
            stage.options.host,
            stage.codec(),
            self.report,
            stage.beacon,
            token=token,
            tenant=None if token else stage.options.tenant or None,
            watches=watches,
            on_answer=self.answered,
        )
        stage.sessions.add(self.session)
        self._keeper = gevent.spawn(self.session.run)
        self._keeper.link_exception(self._broken)

    def answered(self, pending: Pending, answer: Ack | Error, now: float) -> None:
        """Hears of every answer to a vote or a retraction."""

    def disconnect(self) -> None:
        """Ends the websocket."""
        self.stage.sessions.discard(self.session)
        self._keeper.kill()
        self.session.close()

    def on_stop(self) -> None:
        """Ends with the websocket, if it ever began."""
        if hasattr(self, "session"):
            self.disconnect()

    def _broken(self, keeper: Greenlet[[], None]) -> None:
        """An error of the load test itself must not look like silence of the server."""
        error = keeper.exception
        self.environment.events.user_error.fire(
            user_instance=self, exception=error, tb=error.__traceback__ if error else None
        )


class Pace:
    """Waits so that something is done so many times a second on the average, from the first time on."""

    def __init__(self, a_second: float) -> None:
        self._period = 1 / a_second
        self._due = time.perf_counter()

    def wait(self) -> float:
        """Seconds to wait until the next time."""
        now = time.perf_counter()
        # Whoever was held up does not make up for it with a burst.
        self._due = max(self._due + self._period, now)
        return self._due - now


def fitting(views: Iterable[Watch], rows: int = MAX_ROWS) -> list[Watch]:
    """The first of the views, as many as one connection may watch."""
    chosen: list[Watch] = []
    for view in views:
        rows -= view.rows
        if rows < 0 or len(chosen) == MAX_VIEWS:
            break
        chosen.append(view)
    return chosen


def top_of(board: Board, top: int) -> Watch:
    """The view of a board that most people watch."""
    return Watch(board.slug, top=top)


def views_of(board: Board, top: int) -> list[Watch]:
    """All the ways in which a board can be watched: each window, some of its items, and the places around one."""
    views: list[Watch] = [Watch(board.slug, window, top=top) for window in board.windows]
    if board.items:
        middle = board.items[len(board.items) // 2]
        views += [Watch(board.slug, items=board.items[:5]), Watch(board.slug, around=middle)]
    return views
