"""Making boards: their rules as the contract says them, and the live store's part in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from app.calls import time_given
from app.services import Services
from app.shapes.boards import BallotRules, BoardRules
from channels.errors import PlauditError
from storage.boards import NewBoard
from storage.errors import StorageError
from storage.types import WINDOWS, BallotKind, Board, BoardItem, TopView

_FIXED: Final[dict[BallotKind, tuple[int, int]]] = {"updown": (-1, 1), "like": (1, 1), "stars": (1, 5)}

log = structlog.get_logger(__name__)


def new_board(rules: BoardRules) -> NewBoard:
    """The rules as they are kept. Raises PlauditError `invalid` where they contradict each other."""
    minimum, maximum = _bounds(rules.ballot)
    opens_at = None if rules.opens_at is None else time_given(rules.opens_at)
    closes_at = None if rules.closes_at is None else time_given(rules.closes_at)
    if opens_at is not None and closes_at is not None and closes_at <= opens_at:
        raise PlauditError("invalid", "A board closes after it opens")
    return NewBoard(
        slug=rules.slug,
        title=rules.title,
        item_type=rules.item_type,
        ballot=rules.ballot.kind,
        minimum=minimum,
        maximum=maximum,
        ballots_change=rules.ballots_change,
        windows=tuple(window for window in WINDOWS if window == "all" or window in rules.windows),
        opens_at=opens_at,
        closes_at=closes_at,
        weights=None if rules.weights is None else {tier: _hundredths(w) for tier, w in rules.weights.items()},
    )


async def tell_live(services: Services, boards: Sequence[Board], items: Sequence[BoardItem] = ()) -> None:
    """Puts a tenant's boards, and items onto them, into the live store.

    They are in the archive by then. Where the store is away they come into it when it is back.
    """
    now = services.now()
    try:
        for board in boards:
            await services.live.add_items(board, items, now)
    except StorageError as error:
        log.warning("the live store could not be told of what is new yet", error=str(error))
        services.untold.add(board.shard)
        return
    # A look at them, so that this server shows what is new before the announcement reaches it.
    with suppress(StorageError, PlauditError):
        for board in boards:
            await services.standings.view(board, "all", TopView(1))


def _bounds(ballot: BallotRules) -> tuple[int, int]:
    if ballot.kind != "points":
        bounds = _FIXED[ballot.kind]
        if ballot.min not in {None, bounds[0]} or ballot.max not in {None, bounds[1]}:
            raise PlauditError("invalid", f"A ballot of kind {ballot.kind!r} goes from {bounds[0]} to {bounds[1]}")
        return bounds
    if ballot.min is None or ballot.max is None:
        raise PlauditError("invalid", "A ballot of kind 'points' needs `min` and `max`")
    if ballot.min > ballot.max:
        raise PlauditError("invalid", "`min` is not above `max`")
    return ballot.min, ballot.max


def _hundredths(weight: float) -> int:
    hundredths = round(weight * 100)
    if abs(weight * 100 - hundredths) > 1e-6:
        raise PlauditError("invalid", "A weight is given to the hundredth")
    return hundredths
