"""What Locust runs: users of a Plaudit server, how many there are at a time, and what they need on the server.

    locust -f loadtests/locustfile.py

docs/load-testing.md says how to use it.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from loadtests.agents import HttpAgent, WebsocketAgent
from loadtests.attackers import Flooder, GarbageSender
from loadtests.options import OptionsError, add_options, read_options
from loadtests.shapes import Plan, goal, reconnects
from loadtests.stage import Stage, StageError
from loadtests.stalls import StalledViewer
from loadtests.twins import TwinVoter
from loadtests.users import Visitor
from loadtests.viewers import BoardViewer, ManyBoardsViewer

__all__ = [
    "BoardViewer",
    "Flooder",
    "GarbageSender",
    "HttpAgent",
    "ManyBoardsViewer",
    "Shape",
    "StalledViewer",
    "TwinVoter",
    "WebsocketAgent",
]

_RECONNECT = "plaudit-reconnect"

log = logging.getLogger(__name__)


class Shape(LoadTestShape):
    """The shape that `--shape` names, in the limits of Locust's own options."""

    use_common_options = True
    _ticked = 0.0

    def reset_time(self) -> None:
        """Begins anew."""
        super().reset_time()  # type: ignore[no-untyped-call]  # Locust gives it no types
        self._ticked = 0.0

    def tick(self) -> tuple[int, float] | None:
        """What Locust asks every second."""
        runner = self.runner
        assert runner is not None
        parsed = runner.environment.parsed_options
        assert parsed is not None
        at = time.perf_counter() - self.start_time
        plan = Plan(parsed.num_users or 1, parsed.spawn_rate or 1, parsed.run_time or None)
        if reconnects(parsed.shape, self._ticked, at, float(parsed.herd_every)):
            runner.send_message(_RECONNECT)
        self._ticked = at
        return goal(parsed.shape, at, plan)


def add_command_line(parser: LocustArgumentParser) -> None:
    """The options of the load test."""
    add_options(parser)


def take_messages(runner: LocalRunner | MasterRunner | WorkerRunner, **_more: Any) -> None:
    """Lets a shape cut off all users, wherever they are."""

    def reconnect(**_message: Any) -> None:
        Visitor.stage.reconnect_all()

    # A master has no users to cut off: it sends the message on to its workers.
    if not isinstance(runner, MasterRunner):
        runner.register_message(_RECONNECT, reconnect)


def set_stage(environment: Environment, **_more: Any) -> None:
    """What the users need, made before the first of them."""
    environment.process_exit_code = None
    try:
        Visitor.stage = Stage(read_options(environment.parsed_options, environment.host))
        # Workers find what their master made.
        if not isinstance(environment.runner, WorkerRunner):
            Visitor.stage.prepare(agents=any(getattr(user, "needs_key", False) for user in environment.user_classes))
    except (OptionsError, StageError) as error:
        environment.process_exit_code = 2
        raise StopTest(str(error)) from None


def refuse_nothing(environment: Environment, **_more: Any) -> None:
    """A test in which nothing happened has not passed."""
    if environment.stats.total.num_requests == 0 and not isinstance(environment.runner, WorkerRunner):
        log.error("Nothing was asked of the server.")
        environment.process_exit_code = environment.process_exit_code or 1


hooks: Any = events  # Locust gives its events no types
hooks.init_command_line_parser.add_listener(add_command_line)
hooks.init.add_listener(take_messages)
hooks.test_start.add_listener(set_stage)
hooks.quitting.add_listener(refuse_nothing)
