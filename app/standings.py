"""Rankings as people are shown them: the live store's rows, with movement and with what items are called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from app.movement import FindsRanks, Movement
from app.sharing import Sharing
from app.turns import Turns
from app.views import Views
from channels.errors import PlauditError
from channels.ranking import View
from channels.wire import Label
from storage.errors import BeingFilled
from storage.live import LiveStore, title_field
from storage.types import AroundView, Board, Known, Query, Ranking, Sample, TopView, ViewSpec, Window

AT_ONCE: Final = 16
"""Views that are read at a time for those who ask. The live store runs one script after the other, and what it does
for everybody, such as votes and the hub's reads, must not stand behind a hundred of these."""

FAR_AT_ONCE: Final = 2
"""The same for views that do not begin at the top: on a large board one may take as long as hundreds of the others."""

FILLED_WITHIN: Final = 2.0
"""Seconds that a read waits for a live store that is being filled: the items of a million ballots take half a one. Who
comes when one waits already waits for that one and the next."""

_LABELS: Final = 200_000
_AGAIN: Final = 0.05

State = tuple[str, int]


class States(Protocol):
    """Who hears of every change of a board: the hub."""

    def state(self, board: int) -> State | None: ...
    def learned(self, board: int, epoch: str, version: int) -> None: ...


class Standings:
    """Reads views of boards. `states`, which has to be set, knows what state a board is in."""

    states: States

    def __init__(
        self, live: LiveStore, samples: FindsRanks, known: Callable[[int], Known | None] = lambda shard: None
    ) -> None:
        """`known` tells how far a shard's live state is known to have come."""
        self._live = live
        self._known = known
        self._movement = Movement(samples)
        self._labels: dict[str, Label] = {}
        self._turns = Turns(AT_ONCE)
        self._far_turns = Turns(FAR_AT_ONCE)
        self._made = Views()
        self._sharing: Sharing[Query, View | None] = Sharing()

    def state(self, board: Board) -> State | None:
        """The newest (epoch, version) of a board that is known; None where only a read can tell."""
        return self.states.state(board.number)

    async def view(self, board: Board, window: Window, spec: ViewSpec) -> View:
        """One view, read once for all who ask for it at the same time.

        Raises PlauditError `overloaded` where the live store does not have the board or too many ask, `invalid` for
        a window that the board does not keep, StorageError where the live store is away, or being filled for long.
        """
        check_window(board, window)
        query = Query(board.number, window, spec)
        found = await self._sharing.get(query, partial(self._filled, board, query))
        if found is None:
            raise PlauditError("overloaded", "The board can't be read now", 1000)
        self.states.learned(board.number, found.epoch, found.version)
        return found

    async def _filled(self, board: Board, query: Query) -> View | None:
        """A view that somebody waits for, for which the live store may be filled first."""
        clock = asyncio.get_running_loop().time
        patient_until = clock() + FILLED_WITHIN
        turns = self._turns if _is_near(query.view) else self._far_turns
        while True:
            try:
                async with turns.turn():
                    (found,) = await self.views(board.shard, [(board, query)])
            except BeingFilled:
                if clock() >= patient_until:
                    raise
                await asyncio.sleep(_AGAIN)
            else:
                return found

    async def views(self, shard: int, wanted: Sequence[tuple[Board, Query]]) -> list[View | None]:
        """Views of boards of one shard, each as of one moment; None for a board that the live store does not have."""
        queries = [query for _, query in wanted]
        whole = _largest_tops(queries)
        asked = list(dict.fromkeys(whole.get(query, query) for query in queries))
        known = self._known(shard)
        found = dict(zip(asked, await self._live.read(shard, asked), strict=True))
        if any(_lost_events(ranking, known) for ranking in found.values()):
            raise BeingFilled("the live store has lost events and is about to be rebuilt")
        before = await self._movement.ranks(
            _sample(query, ranking) for query, ranking in found.items() if ranking is not None and ranking.reference
        )
        views: list[View | None] = []
        for query in queries:
            ranking = found[whole.get(query, query)]
            views.append(
                None if ranking is None else self._made.of(query, ranking, before.get(_sample(query, ranking)))
            )
        return views

    async def labels(self, board: Board, items: Iterable[str]) -> dict[str, Label]:
        """What items of a board are called. One that has no title is left out."""
        fields = {item: f"{board.tenant}:{title_field(board.item_type, item)}" for item in items}
        missing = [item for item, field in fields.items() if field not in self._labels]
        if missing:
            found = await self._live.titles(
                board.shard, board.tenant, [title_field(board.item_type, item) for item in missing]
            )
            if len(self._labels) > _LABELS:
                self._labels.clear()
            for item, title in zip(missing, found, strict=True):
                if title is not None:
                    self._labels[fields[item]] = Label(*title)
        return {item: self._labels[field] for item, field in fields.items() if field in self._labels}


def check_window(board: Board, window: Window) -> None:
    """Raises PlauditError `invalid` for a window that the board does not keep."""
    if window not in board.windows:
        raise PlauditError("invalid", f"The board {board.slug!r} has no window {window!r}")


def _is_near(view: ViewSpec) -> bool:
    """Whether it begins at the top, or names its items."""
    return not isinstance(view, AroundView) and not (isinstance(view, TopView) and view.offset)


def _sample(query: Query, ranking: Ranking) -> Sample:
    return Sample(query.board, query.window, ranking.reference)


def _lost_events(ranking: Ranking | None, known: Known | None) -> bool:
    """Whether the store came back with less than it had, and is not rebuilt yet: versions must not fall."""
    return ranking is not None and known is not None and ranking.epoch == known.epoch and ranking.seq < known.floor


def _largest_tops(queries: Sequence[Query]) -> dict[Query, Query]:
    """For each query of the first rows of a ranking the largest such one: the others are its beginning."""
    largest: dict[tuple[int, Window], Query] = {}
    tops: list[Query] = []
    for query in queries:
        if isinstance(query.view, TopView) and not query.view.offset:
            tops.append(query)
            known = largest.setdefault((query.board, query.window), query)
            if isinstance(known.view, TopView) and known.view.limit < query.view.limit:
                largest[query.board, query.window] = query
    return {query: largest[query.board, query.window] for query in tops}
