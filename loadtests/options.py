"""What the command line of a load test may choose beside Locust's own options."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, get_args

import msgspec
from msgspec import Meta

DEFAULT_HOST: Final = "http://127.0.0.1:8000"
"""Where `make run` serves."""

_KEPT_KEY: Final = Path(".plaudit/admin.key")

ShapeName = Literal["steady", "ramp", "spike", "soak", "herd"]
CodecName = Literal["json", "msgpack", "both"]


class OptionsError(Exception):
    """The options can't be used. The message is one sentence."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one load test."""

    host: str = DEFAULT_HOST
    admin_key: str = ""
    tenant: str = ""
    board: str = ""
    boards: Annotated[int, Meta(ge=1, le=100)] = 5
    items: Annotated[int, Meta(ge=1, le=1000)] = 100
    top: Annotated[int, Meta(ge=1, le=1000)] = 50
    vote_rate: Annotated[float, Meta(gt=0)] = 1.0
    in_flight: Annotated[int, Meta(ge=1, le=1000)] = 16
    batch: Annotated[int, Meta(ge=1, le=1000)] = 20
    flood: Annotated[int, Meta(ge=1)] = 20_000
    codec: CodecName = "both"
    shape: ShapeName = "steady"
    herd_every: Annotated[float, Meta(ge=1)] = 10.0

    @property
    def given_boards(self) -> list[str]:
        """Slugs of boards that are there already; none where the load test makes its own."""
        return [slug for part in self.board.split(",") if (slug := part.strip())]


class Parser(Protocol):
    """Locust's argument parser."""

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse has it, with Locust's own `include_in_web_ui`."""


def add_options(parser: Parser) -> None:
    """Adds the options; all but the key can be given in the web UI too, and each by an environment variable."""

    def add(flag: str, text: str, **more: Any) -> None:
        variable = "PLAUDIT_" + ("" if flag == "--admin-key" else "LOAD_") + flag[2:].upper().replace("-", "_")
        default = getattr(Options(), flag[2:].replace("-", "_"))
        parser.add_argument(flag, help=text, env_var=variable, default=default, **more)

    def choose(flag: str, choices: Any, text: str) -> None:
        add(flag, text, choices=get_args(choices))

    add(
        "--admin-key",
        "The tenant's admin key: agents, and boards of their own, are made with it. "
        f"Without --host it is read from {_KEPT_KEY}, where `make run` keeps it",
        # The page would have it in its source, for whoever opens it.
        include_in_web_ui=False,
    )
    add("--tenant", "Slug of the tenant that viewers watch, where it is not the default one")
    add(
        "--board",
        "A board that is there already, to vote on and to watch, or several with commas between them. "
        "Without it the load test makes boards of its own",
    )
    add("--boards", "How many boards of its own there are to be", type=int)
    add("--items", "How many items each of its own boards has", type=int)
    add("--top", "How many places of a board are watched", type=int)
    add("--vote-rate", "Votes a second of each agent", type=float)
    add("--in-flight", "Votes that an agent on a websocket sends before the first is acknowledged", type=int)
    add("--batch", "Votes in one request of an agent over HTTP", type=int)
    add("--flood", "Messages of one flood: more than twice what a connection may send in a second", type=int)
    choose("--codec", CodecName, "The subprotocol of websockets")
    choose("--shape", ShapeName, "How the number of users goes over the time")
    add("--herd-every", "Seconds between two moments at which all websockets reconnect (shape herd)", type=float)


def read_options(parsed: Namespace | None, host: str | None) -> Options:
    """The options that were given. Raises OptionsError."""
    given = {name: value for name, value in vars(parsed or Namespace()).items() if value is not None}
    given["host"] = (host or DEFAULT_HOST).rstrip("/")
    # A key is not sent to a server that it is not known to belong to.
    if not given.get("admin_key") and not host and _KEPT_KEY.exists():
        given["admin_key"] = _KEPT_KEY.read_text(encoding="ascii").strip()
    try:
        # The web UI gives texts.
        return msgspec.convert(given, Options, strict=False)
    except msgspec.ValidationError as error:
        raise OptionsError(str(error)) from error
