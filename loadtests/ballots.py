"""Boards as a voter knows them, and one agent's book: what it may still cast, and what it has cast. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from channels.protocol import CastVote, Choice
from storage.types import Window


class Ballot(NamedTuple):
    """One choice for one item."""

    board: Board
    item: str
    vote: Choice | None
    value: int | None

    def message(self, message_id: int) -> CastVote:
        """The vote as it goes over a websocket."""
        return CastVote(message_id, self.board.slug, self.item, self.vote, self.value)

    def body(self) -> dict[str, Any]:
        """The vote as it goes over HTTP."""
        choice = {"value": self.value} if self.vote is None else {"vote": self.vote}
        return {"board": self.board.slug, "item_id": self.item} | choice


class Board(NamedTuple):
    """A board's rules and its items.

    `own` says that only this load test votes here; `plain` that a score is the up votes less the down votes.
    """

    slug: str
    kind: str
    minimum: int
    maximum: int
    ballots_change: bool
    windows: Sequence[Window]
    items: Sequence[str]
    own: bool = False
    plain: bool = False

    def ballot(self, item: str, random: Random) -> Ballot:
        """A ballot of any value that the board takes; up three times out of four, where it is up or down."""
        if self.kind == "updown":
            return Ballot(self, item, "up" if random.random() < 0.75 else "down", None)
        if self.kind == "like":
            return Ballot(self, item, "up", None)
        return Ballot(self, item, None, random.randint(self.minimum, self.maximum))

    def other(self, ballot: Ballot) -> Ballot | None:
        """The same with another value; None where the board has only one."""
        if ballot.vote is None and self.minimum < self.maximum:
            value = self.minimum if ballot.value == self.maximum else self.maximum
            return ballot._replace(value=value)
        if self.kind == "updown":
            return ballot._replace(vote="down" if ballot.vote == "up" else "up")
        return None


class Book:
    """The ballots of one agent. The first boards, and the first items of each, are chosen most."""

    def __init__(self, boards: Sequence[Board], random: Random) -> None:
        self._random = random
        weights = [
            (board, item, 1 / (b * i)) for b, board in enumerate(boards, 1) for i, item in enumerate(board.items, 1)
        ]
        # Weighted order without repetition (Efraimidis and Spirakis, 2006); the next one is at the end.
        weights.sort(key=lambda place: random.random() ** (1 / place[2]))
        self._fresh = [(board, item) for board, item, _ in weights]
        self._cast: list[Ballot] = []

    def fresh(self) -> Ballot | None:
        """A ballot for an item that has none of this agent's; None when there are no more such items."""
        if not self._fresh:
            return None
        board, item = self._fresh.pop()
        return board.ballot(item, self._random)

    def note(self, ballot: Ballot) -> None:
        """Notes a ballot that stands."""
        self._cast.append(ballot)

    def standing(self) -> Ballot | None:
        """Any ballot that stands; None while there are none."""
        return self._random.choice(self._cast) if self._cast else None
