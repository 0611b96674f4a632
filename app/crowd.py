"""A crowd that votes: fashions that come and go, a taste of its own for each agent. Pure: chance is an argument."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from channels.protocol import Choice

_EXPONENT: Final = 1.1  # of Zipf's law: the second gets about half of what the first gets
_OWN_TASTE: Final = 0.25
_HITS: Final = 5  # new favourites in the time in which the crowd renews its ballots once
_TRIES: Final = 8


class Stage(NamedTuple):
    """A board to vote on; `low` and `high` bound the ballots' values."""

    slug: str
    kind: str
    low: int
    high: int
    items: Sequence[str]


class Act(NamedTuple):
    """One agent's next vote; `choice` is None where a ballot is taken back."""

    agent: int
    board: str
    item: str
    choice: Choice | int | None


class Crowd:
    """Agents 0 to `agents` - 1, who vote for what is in fashion and after a while take it back.

    Each holds ballots on at most a third of a board: then for every new one an old one goes, so that scores
    follow the fashion instead of growing for ever.
    """

    def __init__(self, agents: int, stages: Sequence[Stage], chance: random.Random) -> None:
        self._agents = agents
        self._chance = chance
        self._stages = [stage for stage in stages if stage.items]
        if not self._stages:
            raise ValueError("there is nothing to vote on")
        self._sizes = [len(stage.items) for stage in self._stages]
        self._fashion = {stage.slug: chance.sample(list(stage.items), len(stage.items)) for stage in self._stages}
        self._weights = {
            stage.slug: list(accumulate((place + 1) ** -_EXPONENT for place in range(len(stage.items))))
            for stage in self._stages
        }
        self._held: dict[tuple[int, str], list[str]] = {}
        room = sum(agents * _most(stage) for stage in self._stages)
        self._hit_chance = min(0.5, _HITS / room)

    def act(self) -> Act:
        """What happens next. It is taken to succeed: see `undo`."""
        chance = self._chance
        [stage] = chance.choices(self._stages, self._sizes)
        if chance.random() < self._hit_chance:
            self._new_favourite(stage.slug)
        agent = chance.randrange(self._agents)
        held = self._held.setdefault((agent, stage.slug), [])
        if len(held) >= _most(stage):
            return Act(agent, stage.slug, held.pop(chance.randrange(len(held))), None)
        place, item = self._pick(agent, stage, held)
        held.append(item)
        return Act(agent, stage.slug, item, self._choice(stage, place))

    def undo(self, act: Act) -> None:
        """Notes that a vote did not count."""
        held = self._held[act.agent, act.board]
        if act.choice is not None and act.item in held:  # it may have been taken back meanwhile
            held.remove(act.item)

    def take_back(self, act: Act) -> Act | None:
        """The agent's next vote where its ballot was found to stand already; None where that is being taken back."""
        held = self._held[act.agent, act.board]
        if act.item not in held:
            return None
        held.remove(act.item)
        return act._replace(choice=None)

    def _pick(self, agent: int, stage: Stage, held: Sequence[str]) -> tuple[int, str]:
        """An item that the agent holds no ballot on, most likely a fashionable one, and its place in the fashion."""
        fashion, weights = self._fashion[stage.slug], self._weights[stage.slug]
        for _ in range(_TRIES):
            [place] = self._chance.choices(range(len(fashion)), cum_weights=weights)
            if self._chance.random() < _OWN_TASTE:
                place = (place + agent * 7) % len(fashion)
            if fashion[place] not in held:
                return place, fashion[place]
        return next((place, item) for place, item in enumerate(fashion) if item not in held)

    def _choice(self, stage: Stage, place: int) -> Choice | int:
        """Most like what is in fashion; of the rest nearly half is disliked."""
        liking = 0.9 - 0.35 * place / len(stage.items)
        match stage.kind:
            case "like":
                return "up"
            case "updown":
                return "up" if self._chance.random() < liking else "down"
            case _:
                # From a beta distribution whose mean is the liking.
                liked = self._chance.betavariate(4 * liking, 4 - 4 * liking)
                return stage.low + round((stage.high - stage.low) * liked)

    def _new_favourite(self, board: str) -> None:
        fashion = self._fashion[board]
        item = fashion.pop(self._chance.randrange(len(fashion)))
        fashion.insert(self._chance.randrange(1 + len(fashion) // 4), item)


def _most(stage: Stage) -> int:
    return max(1, len(stage.items) // 3)
