"""What a load test needs on the server: boards with items, and agents with keys. Made through the admin API."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from weakref import WeakSet

import httpx

from channels.codec import JSON, MSGPACK, Codec
from loadtests.ballots import Board
from loadtests.options import Options
from loadtests.report import Beacon
from loadtests.session import Session
from storage.types import WINDOWS

PLAYGROUND: Final = "load-playground"
"""The board on which ballots are taken back and attackers vote, so that counts on the others only rise."""

_AT_ONCE: Final = 1000
_AGENTS: Final = 200
"""Agents that are made at a time."""

# Every call would be logged, beside Locust's own messages.
logging.getLogger("httpx").setLevel(logging.WARNING)


class StageError(Exception):
    """The server is not as the load test needs it. The message is one sentence."""


class Agent(NamedTuple):
    """An agent that belongs to one user of the load test alone."""

    agent_id: str
    key: str


class Stage:
    """One load test's view of its server, in one process."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.beacon = Beacon()
        self.sessions: WeakSet[Session] = WeakSet()
        """Websockets that are kept open, for whoever wants to cut them all."""
        self.random = random.Random()  # which votes are cast is no secret
        self._run = secrets.token_hex(4)
        self._made = 0
        self._agents: list[Agent] = []
        self._making = Lock()
        self._boards: list[Board] = []
        self._playground: Board | None = None
        headers = {"authorization": f"Bearer {options.admin_key}"} if options.admin_key else {}
        self._http = httpx.Client(base_url=f"{options.host}/api/v1", headers=headers, timeout=30)

    # Before the test

    def prepare(self, *, agents: bool) -> None:
        """Makes the boards of the load test's own, where none are given. Raises StageError.

        `agents` says whether there will be any.
        """
        if agents and not self.options.admin_key:
            raise StageError("Agents are made with the tenant's admin key: give --admin-key, or choose viewers only.")
        if self.options.admin_key and not self.options.given_boards:
            self._make_boards()
        self.boards()

    def _make_boards(self) -> None:
        wanted = [*self._own_slugs(), PLAYGROUND]
        there = {board["slug"] for board in self._get("/boards")["boards"]}
        rules = {"item_type": "song", "ballot": {"kind": "updown"}, "ballots_change": False, "windows": WINDOWS}
        self._post("/boards", [{"slug": s, "title": f"Load test: {s}"} | rules for s in wanted if s not in there])
        songs = self._songs()
        for slug in wanted:
            listed = set(self._items_of(slug))
            missing = [song for song in songs if song not in listed]
            self._post(f"/boards/{slug}/items", [{"item_id": song} for song in missing])

    def _own_slugs(self) -> list[str]:
        return [f"load-{number}" for number in range(1, self.options.boards + 1)]

    def _songs(self) -> list[str]:
        """Songs of the catalogue, and where there are too few, some that are added."""
        wanted = self.options.items
        found = [song["id"] for song in self._get("/songs", limit=wanted)["songs"]]
        about = {"artist": "Load test", "platform": "none", "platform_url": "https://plaudit.invalid/"}
        names = [f"load-song-{number:04}" for number in range(1, wanted + 1)]
        new = [name for name in names if name not in found][: wanted - len(found)]
        self._post("/songs", [{"id": name, "title": f"Load test song {name[-4:]}"} | about for name in new])
        return [*found, *new]

    # During the test

    def boards(self) -> list[Board]:
        """Boards to vote on and to watch, the main one first. Raises StageError where there are none."""
        with self._making:
            if not self._boards:
                self._boards = self._read_boards(self.options.given_boards or self._own_slugs())
            return self._boards

    def playground(self) -> Board:
        """Where attackers vote: apart from what others measure, if the boards are the load test's own."""
        with self._making:
            if self._playground is None:
                [self._playground] = self._read_boards(self.options.given_boards[-1:] or [PLAYGROUND])
            return self._playground

    def agent(self) -> Agent:
        """An agent that nobody else in this load test is. Raises StageError."""
        with self._making:
            if not self._agents:
                names = [f"load-{self._run}-{self._made + n}" for n in range(_AGENTS)]
                made = self._post("/agents", [{"agent_id": name, "tier": "enterprise"} for name in names])
                self._agents = [Agent(agent["agent_id"], agent["api_key"]) for agent in made]
                self._made += len(made)
            return self._agents.pop()

    def codec(self) -> Codec:
        """The subprotocol of a new connection."""
        codecs: dict[str, Sequence[Codec]] = {"json": [JSON], "msgpack": [MSGPACK], "both": [JSON, MSGPACK]}
        return self.random.choice(codecs[self.options.codec])

    def reconnect_all(self) -> None:
        """Cuts every websocket of this process, all at once; each comes back at once."""
        for session in list(self.sessions):
            session.cut()

    # HTTP

    def _read_boards(self, slugs: Sequence[str]) -> list[Board]:
        listed = {board["slug"]: board for board in self._get("/boards")["boards"]}
        unknown = next((slug for slug in slugs if slug not in listed), None)
        if unknown is not None:
            hint = "" if self.options.given_boards else " Give --admin-key to make it, or --board to use another."
            raise StageError(f"There is no board {unknown!r}.{hint}")
        return [self._board(listed[slug]) for slug in slugs]

    def _board(self, about: dict[str, Any]) -> Board:
        slug, ballot = about["slug"], about["ballot"]
        return Board(
            slug=slug,
            kind=ballot["kind"],
            minimum=ballot["min"],
            maximum=ballot["max"],
            ballots_change=about["ballots_change"],
            windows=about["windows"],
            items=self._items_of(slug),
            own=not self.options.given_boards,
            plain=ballot["kind"] in {"updown", "like"} and "weights" not in about,
        )

    def _items_of(self, slug: str) -> list[str]:
        entries = self._get(f"/boards/{quote(slug, safe='')}", limit=_AT_ONCE)["entries"]
        # In one order for all processes: the first items are voted on most.
        return sorted(entry["item_id"] for entry in entries)

    def _get(self, path: str, **query: Any) -> Any:
        if self.options.tenant and not self.options.admin_key:
            query["tenant"] = self.options.tenant
        return self._call("GET", path, params=query)

    def _post(self, path: str, objects: Sequence[Any]) -> Any:
        """Adds objects, where there are any."""
        return self._call("POST", path, json=objects) if objects else []

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise StageError(f"{self.options.host} can't be reached: {str(error) or type(error).__name__}.") from error
        if not answer.is_success:
            raise StageError(f"The server refused {method} {path} with {answer.status_code}: {answer.text[:200]}")
        return answer.json()
