"""Group commit: votes wait for nothing but the batches in flight.

While one or two batches are being applied, whatever arrives becomes the next one. There is no timer,
so a lone vote pays no delay; under load batches grow by themselves, and with them the throughput.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

import structlog

from storage import scripts
from storage.batches import Batch, Reply, outcomes_of, pack_batch
from storage.clock import Clock
from storage.errors import StaleStore, StorageError, StoreUnavailable
from storage.tasks import end
from storage.types import Known, Outcome, Status, Vote
from storage.waiting import WaitingVotes

IN_FLIGHT: Final = 2
"""Batches sent before the first is answered: the store works on one while the next is on its way."""

REFUSE_AFTER: Final = 1.0
"""Seconds that the store may be away before waiting votes are refused."""

GIVE_UP_AFTER: Final = 8.0
"""Seconds after which votes that were sent, and may have been applied, are answered as unknown."""

_BACKOFF: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
_CHECK: Final = 0.25

_T = TypeVar("_T")
OnBatch = Callable[[list[Outcome], float], None]
OnChange = Callable[[str, dict[int, int]], None]

log = structlog.get_logger(__name__)


class Pipe(Protocol):
    """The ordered way to a shard of the live store: `storage.pipe.ApplyPipe`."""

    async def connect(self) -> str: ...
    async def close(self) -> None: ...
    async def send(self, batch: bytes) -> None: ...
    async def receive(self) -> scripts.ApplyReply: ...


class _Ahead(Exception):
    """The batch came with a time that the live store does not believe."""

    def __init__(self, store: int) -> None:
        super().__init__(store)
        self.store = store


class Batcher:
    """Takes the votes for one shard and answers each by calling back with its outcome.

    `run` does the work and ends only when cancelled. `recover` is awaited before the first batch and
    whenever the store turns out not to be the one that was known, or to have been restarted or replaced;
    it gets what was known and returns what to go on with. With `replicas` the pipe waits for so many to
    have each batch: votes of one that they do not confirm in time are answered as UNKNOWN. `now` gives
    milliseconds since the Unix epoch; where it is more than `leeway` ahead of the store's clock, that is
    gone by (0: never). `on_batch` hears of each batch's outcomes and of the seconds since its oldest vote
    came; `on_change`, before any vote of the batch is answered, of the epoch and of boards' new versions.
    """

    def __init__(
        self,
        pipe: Pipe,
        sender: str,
        recover: Callable[[Known | None], Coroutine[Any, Any, Known]],
        *,
        now: Callable[[], int],
        backlog_limit: int,
        replicas: int = 0,
        leeway: int = 0,
        queue_limit: int = 50_000,
        on_batch: OnBatch = lambda outcomes, seconds: None,
        on_change: OnChange = lambda epoch, versions: None,
    ) -> None:
        self._pipe = pipe
        self._sender = sender
        self._recover = recover
        self._clock = Clock(now)
        self._leeway = leeway
        self._backlog_limit = backlog_limit
        self._replicas = replicas
        self._queue_limit = queue_limit
        self._on_batch = on_batch
        self._on_change = on_change
        self._votes = WaitingVotes()
        self._in_flight: deque[Batch] = deque()
        self._numbers = 0
        self._known: Known | None = None
        self._away_since: float | None = None
        self._said = ""
        self._doubtful = False
        self._ending = False
        self._unconfirmed = False
        self._wanted = asyncio.Event()
        self._awaited = asyncio.Event()
        self._idle = asyncio.Event()

    @property
    def known(self) -> Known | None:
        """How far the live state is known to have come."""
        return self._known

    @property
    def available(self) -> bool:
        """Whether votes are being applied and confirmed, as far as is known."""
        return self._known is not None and self._away_since is None and not self._unconfirmed

    @property
    def waiting(self) -> int:
        """Votes that have no outcome yet."""
        return len(self._votes) + sum(len(batch.votes) for batch in self._in_flight)

    def is_crowded(self, brought: int) -> bool:
        """Whether somebody who has brought so many votes, and can wait, should wait for `room` for the next one."""
        return self._votes.is_crowded(brought)

    async def room(self) -> None:
        """Returns when there is room for some votes, first come, first served; or when votes are being refused."""
        await self._votes.room()

    def submit(self, vote: Vote, reply: Reply) -> None:
        """Queues a vote. `reply` is called exactly once, perhaps before this returns; it must not raise."""
        if len(self._votes) >= self._queue_limit or self._refusing():
            reply(Outcome(Status.OVERLOADED))
            return
        self._votes.put(vote, reply)
        if len(self._in_flight) < IN_FLIGHT:
            self._wanted.set()

    def observe(self, epoch: str, seq: int) -> None:
        """Notes that an event of this seq exists, so that a store without it is recognised."""
        if self._known is not None and epoch == self._known.epoch and seq > self._known.floor:
            self._known = self._known._replace(floor=seq)

    def check(self) -> None:
        """Makes sure soon that the store is the one that is known, also where nobody votes."""
        self._doubtful = True
        self._wanted.set()

    async def drain(self) -> None:
        """Returns when every vote has its outcome."""
        while self.waiting:
            self._idle.clear()
            await self._idle.wait()

    def close(self) -> None:
        """Refuses votes that wait and all that still come; those that were sent get their outcome."""
        self._ending = True
        self._votes.refuse()
        if not self.waiting:
            self._idle.set()

    def give_up(self) -> None:
        """Answers every vote, and refuses all that still come."""
        for batch in self._in_flight:
            batch.void()
        self.close()

    async def run(self) -> None:
        """Applies what is submitted, over any number of losses of the store, until cancelled."""
        failures = 0
        try:
            while True:
                try:
                    run = await self._patiently(self._pipe.connect())
                    if self._known is None or self._known.run not in (None, run):
                        await self._take_up(run)
                    failures = 0
                    if not self._in_flight:
                        self._away_since = None
                    await self._exchange()
                except _Ahead as error:
                    self._doubt(1)
                    seconds = self._clock.set_back(error.store) / 1000
                    log.warning(
                        "this server's clock is ahead of the live store's, by which it goes now", seconds=seconds
                    )
                except StaleStore as error:
                    log.warning("live store is not the known one", reason=str(error))
                    self._doubt(1)
                    self._lost(error)
                    await self._recovered()
                except StorageError as error:
                    self._lost(error)
                    self._doubt(0)
                    await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                    failures += 1
                self._expire()
        finally:
            await self._pipe.close()
            self._refuse_all()

    async def _exchange(self) -> None:
        """Sends and receives until something breaks."""
        for batch in self._in_flight:
            await self._pipe.send(self._packed(batch))
        self._awaited.set()
        both = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # Not a task group, which would wait for ever for one that was cancelled and did not notice.
            await end(*both)

    async def _send(self) -> None:
        while True:
            if not (self._votes or self._doubtful) or len(self._in_flight) >= IN_FLIGHT:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            self._numbers += 1
            # What checks the store is a batch, too, if need be without votes.
            self._doubtful = False
            batch = self._votes.take(self._numbers)
            self._in_flight.append(batch)
            self._awaited.set()
            await self._pipe.send(self._packed(batch))

    async def _receive(self) -> None:
        while True:
            if not self._in_flight:
                self._awaited.clear()
                await self._awaited.wait()
                continue
            reply = await self._pipe.receive()
            if reply.reason == "ahead":
                raise _Ahead(reply.seq_before)
            if reply.reason != "ok":
                raise StaleStore(reply.reason)
            batch = self._in_flight.popleft()
            self._away_since = None
            self._said = ""
            self._wanted.set()
            self._settle(batch, reply)

    def _packed(self, batch: Batch) -> bytes:
        assert self._known is not None
        sender = f"{self._sender}:{batch.number % IN_FLIGHT}"
        return pack_batch(
            sender, batch.number, self._known, self._backlog_limit, self._clock(), batch.votes, self._leeway
        )

    def _settle(self, batch: Batch, reply: scripts.ApplyReply) -> None:
        outcomes = outcomes_of(reply)
        seq = reply.seq_before + sum(outcome.seq is not None for outcome in outcomes)
        # The answer to a batch that is sent again names the epoch that it was applied in.
        epoch = reply.epoch if self._known is None else self._known.epoch
        self.observe(epoch, seq)
        if self._replicas:
            self._confirm(seq, confirmed=reply.confirmed)
        # Before the answers: whoever is answered and then looks at a board must not see an older one.
        self._on_change(epoch, dict(zip(reply.changed[::2], reply.changed[1::2], strict=True)))
        if not reply.confirmed:
            batch.void()
        elif batch.votes:
            for answer, outcome in zip(batch.replies, outcomes, strict=True):
                try:
                    answer(outcome)
                except Exception:
                    # One that fails must not keep the answers of all others back.
                    log.exception("an answer could not be given")
            self._on_batch(outcomes, time.monotonic() - batch.oldest)
        elif outcomes:
            log.warning("votes whose fate was unknown were counted", votes=len(outcomes))
        if not self.waiting:
            self._idle.set()

    def _confirm(self, seq: int, *, confirmed: bool) -> None:
        """Notes whether replicas have the events up to `seq`. As long as they lag, batches without votes ask on."""
        if confirmed and self._known is not None:
            self._known = self._known._replace(told=seq)
        if confirmed == self._unconfirmed:
            self._unconfirmed = not confirmed
            if confirmed:
                log.info("replicas confirm votes again", replicas=self._replicas)
            else:
                log.error("replicas do not confirm votes: nobody is told that they count", replicas=self._replicas)
        if not confirmed:
            self.check()

    async def _take_up(self, run: str | None = None) -> None:
        """Finds out what became of the live store; `run` is the life of the one that votes would go to."""
        known = await self._patiently(self._recover(self._known))
        if known.rebuilt:
            # The archive may have these votes by another way, and nothing in the store would tell.
            for batch in self._in_flight:
                if batch.doubtful:
                    batch.void()
        # Until replicas have confirmed something, nothing was told.
        self._known = known._replace(told=0) if self._replicas else known
        if run is not None and known.run not in (None, run):
            raise StoreUnavailable("the live store was replaced once more")

    async def _recovered(self) -> None:
        """The same after a loss. While that fails the store counts as away."""
        try:
            await self._take_up()
        except StorageError as error:
            self._lost(error)
            await asyncio.sleep(_BACKOFF[-1])

    async def _patiently(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Waits for something outside an exchange; votes that have waited too long are answered meanwhile."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_CHECK)
                self._expire()
            return task.result()
        finally:
            await end(task)

    def _doubt(self, first: int) -> None:
        """Notes that batches which were sent may have been applied, but for one that the store has just refused."""
        for batch in islice(self._in_flight, first, None):
            batch.doubtful = True

    def _lost(self, error: StorageError) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
        if str(error) != self._said:
            self._said = str(error)
            log.warning("live store is away", error=self._said)

    def _refusing(self) -> bool:
        if self._ending:
            return True
        return self._away_since is not None and time.monotonic() - self._away_since > REFUSE_AFTER

    def _expire(self) -> None:
        """Answers votes that have waited too long for a store that is away."""
        if self._refusing():
            self._votes.refuse()
        give_up = time.monotonic() - GIVE_UP_AFTER
        for batch in self._in_flight:
            if batch.sent < give_up:
                batch.void()
        if not self.waiting:
            self._idle.set()

    def _refuse_all(self) -> None:
        while self._in_flight:
            self._in_flight.popleft().void()
        self._votes.refuse()
