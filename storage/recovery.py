"""Brings a shard's live state in line with the archive: at every start, and when the store has lost something."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

import structlog

from storage.archive import Archive, Connection, still_held, try_lock
from storage.boards import Boards
from storage.errors import ArchiveBehind, StaleStore, StoreUnavailable
from storage.flusher import Flusher
from storage.hold import Hold
from storage.ledger import Flushed, Ledger, Overtaken
from storage.live import LiveStore
from storage.refill import PORTION, Progress, Refill
from storage.types import Board, BoardItem, Known, Position

LOCK_PURPOSE: Final = 2
HEARD_OUT: Final = 0.75
"""Seconds in which other servers, which lost the store at the same time, can say what they were told before it is
decided what the store lacks. Servers try to connect at least every half second."""

AGAIN: Final = 0.25
"""Seconds between two tries for the lock while another server has it: for as long as a rebuild takes. Each shows that
the connection is there; one over which PostgreSQL is only waited for can't be told from one that is half open."""

SAID_AFTER: Final = 20
"""Tries after which that is said: five seconds, which only a rebuild takes."""

log = structlog.get_logger(__name__)


class Recovery:
    """Finds out what a shard's live store is, and rebuilds it from the archive where it must.

    A live state is trusted for one life of its store: after a restart or a failover it is compared with the archive
    and with what servers remember, and goes on under a new epoch, from which alone the archive takes events then. So
    a store that was replaced, but still runs somewhere, can't add to it, and a server that comes late with votes
    that it knew of finds out what became of them. `on_loss` hears of votes that are lost, after the log.
    """

    def __init__(
        self,
        live: LiveStore,
        archive: Archive,
        now: Callable[[], int],
        on_loss: Callable[[int], None] = lambda lost: None,
    ) -> None:
        self._live = live
        self._archive = archive
        self._ledger = Ledger(archive)
        self._boards = Boards(archive)
        self._now = now
        self._on_loss = on_loss

    async def ensure(
        self,
        shard: int,
        known: Known | None = None,
        progress: Progress = lambda what, count: None,
        *,
        from_archive: bool = False,
    ) -> Known:
        """What to go on with. Rebuilds a store that is empty or has lost events, one server at a time.

        `known` is the live state that the caller has seen: it may know of events that neither the store nor
        the archive has. Raises ArchiveBehind where the live store has votes that the archive can't take any more,
        and StorageError where one of them is away. With `from_archive` the store is rebuilt in any case.
        """
        if known is not None:
            # Before the lock: whoever rebuilds first shall know what others were told.
            await self._ledger.tell(shard, known.epoch, known.acknowledged)
        async with self._archive.session() as session:
            await _lock(session, shard)
            found = await self._ensured(session, shard, known, progress, from_archive=from_archive)
        if known is None or known.epoch == found.epoch:
            return found
        return found._replace(rebuilt=not await self._ledger.continues(shard, known.epoch, found.epoch))

    async def _ensured(
        self, session: Connection, shard: int, known: Known | None, progress: Progress, *, from_archive: bool
    ) -> Known:
        archived, found, run = await self._compared(shard, from_archive=from_archive)
        if known is not None and known.epoch != archived.epoch:
            await self._ledger.settle(shard, known.epoch, known.acknowledged, self._lost)
        if archived.epoch and found.run != run and await self._ledger.accompanied():
            await asyncio.sleep(HEARD_OUT)
            # The lock may have been lost meanwhile, and then another server has gone on with the store.
            await still_held(session)
            archived, found, run = await self._compared(shard, from_archive=from_archive)
        if from_archive or not await self._whole(shard, archived, found):
            return await self._rebuild(shard, archived, found.epoch, progress)
        if found.run != run or (known is not None and known.epoch == found.epoch and known.floor > found.seq):
            resumed = await self._resume(shard, found, run, progress)
            if resumed is None:
                return await self._ensured(session, shard, known, progress, from_archive=from_archive)
            return resumed
        await self._add_missing_items(shard)
        return Known(archived.epoch, found.seq, run)

    async def _compared(self, shard: int, *, from_archive: bool) -> tuple[Flushed, Position, str]:
        """Where the archive and the live store are, and the store's present life."""
        archived = await self._ledger.flushed(shard)
        found, run = await self._live.survey(shard)
        if not from_archive:
            await self._ledger.check(shard, found)
        theirs = None if found.epoch in (None, archived.epoch) else await self._ledger.epoch(shard, found.epoch)
        if found.epoch is not None and theirs is not None and theirs.resumes == archived.epoch and found.ready:
            # Whoever began to go on in it was ended before the archive was told.
            with suppress(Overtaken):
                await self._ledger.begin_epoch(shard, found.epoch, archived.epoch, self._lost, kept=found.seq)
            archived = await self._ledger.flushed(shard)
        return archived, found, run

    async def _whole(self, shard: int, archived: Flushed, found: Position) -> bool:
        """Whether the store is in the state that the archive goes on with, and has all that anybody counts on."""
        if not found.ready or found.epoch is None or found.epoch != archived.epoch:
            return False
        theirs = await self._ledger.epoch(shard, found.epoch)
        return found.seq >= max(archived.seq, 0 if theirs is None else theirs.told)

    async def _resume(self, shard: int, found: Position, run: str, progress: Progress) -> Known | None:
        """Goes on with a store that has everything, under a new epoch; None where another server has just done so.

        First the archive hears of it, then the store has it, then the archive follows: ended anywhere, it is gone on
        with or done again.
        """
        assert found.epoch is not None
        epoch = secrets.token_hex(8)
        await self._ledger.plan_epoch(shard, epoch, found.epoch)
        seq = await self._live.resume(shard, found.epoch, epoch, run)
        if seq is None:
            return None
        try:
            await self._ledger.begin_epoch(shard, epoch, found.epoch, self._lost, kept=seq)
        except Overtaken:
            return await self._rebuild(shard, await self._ledger.flushed(shard), epoch, progress)
        log.info("live store was restarted or replaced, and has everything", shard=shard, seq=seq, epoch=epoch)
        await self._add_missing_items(shard)
        return Known(epoch, seq, run)

    async def _rebuild(self, shard: int, archived: Flushed, epoch_found: str | None, progress: Progress) -> Known:
        hold = await Hold.take(self._live, shard, epoch_found)
        found = await self._live.position(shard)
        if found.epoch is not None and found.seq > min(archived.seq, found.flushed):
            await self._save_log(shard, archived, found.epoch, found.seq)
        await hold.clear()
        epoch = secrets.token_hex(8)
        # From here on a flusher that was held up with events of the old state in its hands can't commit them.
        try:
            seq = await self._ledger.begin_epoch(shard, epoch, archived.epoch, self._lost)
        except Overtaken as error:
            raise StoreUnavailable(str(error)) from error
        if seq:
            log.warning("rebuilding the live store from the archive", shard=shard, seq=seq, epoch=epoch)
        now = max(await self._live.bounded(self._now()), await self._ledger.last_event_at(shard))
        run = await hold.begin(epoch, seq)
        await Refill(hold, self._archive, shard, progress).run(seq, now)
        await hold.open()
        log.info("live store filled", shard=shard, seq=seq, epoch=epoch)
        return Known(epoch, seq, run)

    async def _save_log(self, shard: int, archived: Flushed, epoch: str, seq: int) -> None:
        """What is left of the log goes into the archive before the store is emptied; the rest is accounted for."""
        try:
            await Flusher(shard, self._live, self._archive).flush_all()
        except Overtaken:
            return await self._save_log(shard, archived, epoch, seq)
        except (StaleStore, ArchiveBehind) as error:
            log.warning("the live store's log can't be saved", shard=shard, reason=str(error))
        if epoch == archived.epoch:
            await self._ledger.tell(shard, epoch, seq)
        else:
            await self._ledger.settle(shard, epoch, seq, self._lost)
        return None

    def _lost(self, shard: int, lost: int) -> None:
        log.error("acknowledged votes are lost: neither store has them", shard=shard, lost=lost)
        self._on_loss(lost)

    async def _add_missing_items(self, shard: int) -> None:
        """Adds what a server put into the archive without coming to tell the live store."""
        counts = await self._boards.item_counts(shard)
        behind = {board for board, count in counts.items() if await self._is_behind(shard, board, count)}
        if not behind:
            return
        items = await self._boards.items_of_shard(shard)
        for board in await self._boards.of_shard(shard):
            if board.number in behind:
                log.info("adding items that the live store did not know", shard=shard, board=board.slug)
                await self._add_items(board, items.get(board.number, []))

    async def _is_behind(self, shard: int, board: int, items: int) -> bool:
        known = await self._live.board_state(shard, board) is not None
        return not known or await self._live.item_count(shard, board) < items

    async def _add_items(self, board: Board, items: Sequence[BoardItem]) -> None:
        now = self._now()
        await self._live.add_items(board, [], now)
        for start in range(0, len(items), PORTION):
            await self._live.add_items(board, items[start : start + PORTION], now)


async def _lock(session: Connection, shard: int) -> None:
    """Waits until no other server is at it. Raises ArchiveUnavailable where the connection is lost."""
    for tries in count(1):
        if await try_lock(session, LOCK_PURPOSE, shard):
            return
        if tries == SAID_AFTER:
            log.info("waiting for another server, which brings the live store in line", shard=shard)
        await asyncio.sleep(AGAIN)
