"""What clients remember: every vote they sent, and every answer that they got."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Key(NamedTuple):
    """Whose ballot on what."""

    agent: str
    board: str
    item: str


@dataclass(slots=True, eq=False)
class Attempt:
    """One message that carried a vote, sent once over one connection; `value` None retracts.

    `status` is that of an ack, `code` that of an error; neither where no answer came.
    """

    key: Key
    value: int | None
    status: str | None = None
    seq: int | None = None
    code: str | None = None

    @property
    def answered(self) -> bool:
        """Whether its fate is known to whoever sent it."""
        return self.status is not None or (self.code is not None and self.code != "internal")


@dataclass(slots=True, eq=False)
class Cast:
    """What an agent wants of one ballot: it is sent until one attempt has an answer that stands."""

    key: Key
    value: int | None
    settled: bool = False


@dataclass(slots=True)
class Memory:
    """All attempts of one round, in the order in which they were sent; `acks` counts votes that were acknowledged."""

    attempts: dict[Key, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    acks: int = 0
    negative_quotas: int = 0

    def attempt(self, cast: Cast) -> Attempt:
        """Notes that a vote is being sent."""
        attempt = Attempt(cast.key, cast.value)
        self.attempts[cast.key].append(attempt)
        return attempt

    def all(self) -> Iterator[Attempt]:
        """Every attempt."""
        for attempts in self.attempts.values():
            yield from attempts
