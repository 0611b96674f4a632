"""The composition: everything that one server process is made of, started and stopped in order."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from app.activity import Activity
from app.announcements import Announcements
from app.colleagues import Scrape
from app.gateway import Gateway
from app.invariants import InvariantChecker
from app.metrics import Metrics
from app.notices import Notices
from app.proxies import Proxies
from app.readiness import Readiness, problem_of
from app.registry import Registry
from app.settings import Settings
from app.sharing import Sharing
from app.stalls import StallMonitor
from app.standings import Standings
from app.streams import Streams
from app.tasks import Supervisor
from app.turns import Turns
from app.untold import Untold
from app.voting import Voting
from channels.hub import Hub
from storage.archive import Archive
from storage.batcher import Batcher
from storage.boards import Boards
from storage.catalogue import Catalogue
from storage.clock import CLOCK_LEEWAY
from storage.comments import Comments
from storage.directory import Directory
from storage.errors import BeingFilled, StorageError
from storage.flusher import Flusher
from storage.history import History
from storage.ledger import Ledger
from storage.live import LiveStore, LogEntry
from storage.recovery import Recovery
from storage.samples import Samples
from storage.timekeeper import Timekeeper
from storage.types import Known, Tier

_DRAINED_WITHIN: Final = 2.0
_ANSWERED_WITHIN: Final = 0.5
_CAUGHT_UP_WITHIN: Final = 2.0
_PARTING: Final = 1.0
"""Seconds in which background tasks let go of PostgreSQL by themselves."""

_POLL: Final = 0.01
_PARTITIONS_EVERY: Final = 6 * 3600.0
_PARTITIONS_AGAIN: Final = 60.0
_VIEWERS_EVERY: Final = 2.0

log = structlog.get_logger(__name__)


def wall_clock() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Services:
    """One server's parts. `Services.open` starts and stops them."""

    def __init__(self, settings: Settings, live: LiveStore, archive: Archive, now: Callable[[], int]) -> None:
        self.settings = settings
        self.live = live
        self.archive = archive
        self.now = now
        self.proxies = Proxies(settings.trusted_proxies)
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.directory = Directory(archive)
        self.boards = Boards(archive)
        self.catalogue = Catalogue(archive)
        # By far fewer than the archive has connections, which everything else shares.
        self.searches = Turns(2, within=1.0, lasting=2.0)
        self.listings = Turns(2, within=1.0, lasting=2.0)
        self.looking_back = Turns(2, within=1.0, lasting=2.0)
        self.own_votes = Turns(2, within=1.0, lasting=2.0)
        self._catching_up: Sharing[int, None] = Sharing()
        self.ledger = Ledger(archive)
        self.history = History(archive)
        self.comments = Comments(archive)
        self.recovery = Recovery(live, archive, now, self.metrics.lost.inc)
        self.untold = Untold(lambda shard: self._recover(shard, self._known(shard)))
        self.registry = Registry(self.directory, self.boards, settings.tenant)
        self.batchers: dict[int, Batcher] = {}
        self.flushers: dict[int, Flusher] = {}
        quotas: dict[Tier, int | None] = {
            "free": settings.quota_free,
            "pro": settings.quota_pro,
            "enterprise": settings.quota_enterprise,
        }
        self.readiness = Readiness(live, archive, self.ledger, self.batchers, self.supervisor, now, settings.backlog)
        self.voting = Voting(self.batchers, quotas, live, now)
        self.standings = Standings(live, Samples(archive), self._known)
        self.hub = Hub(
            self.standings.views,
            self.standings.labels,
            asyncio.get_running_loop().time,
            rate=settings.tick_rate,
            unavailable=StorageError,
            passing=BeingFilled,
            on_sent=self.metrics.shown,
        )
        self.standings.states = self.hub
        self.activity = Activity(asyncio.get_running_loop().time)
        # Spreads returning readers; nothing secret hangs on it.
        self.streams = Streams(self.hub, settings.heartbeat, settings.connections, random.random)
        self.gateway = Gateway(
            hub=self.hub,
            registry=self.registry,
            voting=self.voting,
            now=now,
            message_rate=settings.messages_per_second,
            heartbeat=settings.heartbeat,
            limit=settings.connections,
            limit_per_address=settings.connections_per_address,
            origins=settings.origins,
            proxies=self.proxies,
            deflate=settings.deflate,
            on_ack=partial(self.metrics.acked, "websocket"),
        )
        self.scrape: Scrape = self._own_numbers
        """What Prometheus is told; one of several server processes tells of all of them."""
        self._server = secrets.token_hex(6)
        self._shards: set[int] = set()
        self._announcements = Announcements(live, self.batchers, self.hub, self.activity)
        self._notices = Notices(
            archive, self.directory, self.registry, self.gateway, on_revoked=self.revoked, on_shard=self._want_shard
        )
        self._drained: bool | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, redis_url: str, database_url: str, now: Callable[[], int] = wall_clock
    ) -> AsyncIterator[Services]:
        """A running server without its HTTP door. At the end what was voted is flushed, then all stops."""
        async with LiveStore(redis_url, settings.prefix, leeway=CLOCK_LEEWAY) as live, Archive(database_url) as archive:
            services = cls(settings, live, archive, now)
            try:
                await services._start()
                yield services
            finally:
                await services._stop()

    async def _start(self) -> None:
        await self.live.ping()
        # Before the first vote: a month that has events in the default partition stays there.
        await self._made_partitions()
        for tenant in await self.directory.tenants():
            if tenant.shard not in self._shards:
                await self.serve_shard(tenant.shard)
        self.supervisor.start("hub", self.hub.run)
        self.supervisor.start("untold", self.untold.run)
        self.supervisor.start("gateway", self.gateway.watch)
        self.supervisor.start("announcements", self._announcements.follow)
        self.supervisor.start("notices", self._notices.follow)
        self.supervisor.start("partitions", self._make_partitions)
        self.supervisor.start("viewers", self._count_viewers)
        checker = InvariantChecker(self.flushers, self.live, self.archive, random.random, self.metrics.compared)
        self.supervisor.start("invariants", checker.run)

    def watch_loop(self) -> None:
        """Begins to tell of stalls; what comes before, such as making the application, stalls nobody."""
        self.supervisor.start("stalls", StallMonitor(self.metrics.stalls.observe).run)

    async def serve_shard(self, shard: int) -> None:
        """Begins to take votes for a shard, once its live state is in order, unless it is served already."""
        self._shards.add(shard)
        await self.recovery.ensure(shard)
        if shard in self.batchers:
            # Two batchers would send under one name, and take each other's answers for their own.
            return
        batcher = Batcher(
            self.live.pipe(shard, self.settings.ack_replicas),
            f"{self._server}-{shard}",
            partial(self._recover, shard),
            now=self.now,
            backlog_limit=self.settings.backlog,
            replicas=self.settings.ack_replicas,
            leeway=CLOCK_LEEWAY,
            on_batch=self.metrics.applied,
            on_change=self.hub.changed,
        )
        flusher = Flusher(shard, self.live, self.archive, on_flush=self._flushed)
        self.batchers[shard], self.flushers[shard] = batcher, flusher
        self.supervisor.start(f"batcher {shard}", batcher.run)
        self.supervisor.start(f"flusher {shard}", flusher.run)
        keeper = Timekeeper(flusher, self.live, self.archive, self.now)
        self.supervisor.start(f"timekeeper {shard}", keeper.run)
        self._announcements.begin_anew()

    async def _stop(self) -> None:
        await self.drain()
        await self.supervisor.stop(*(f"batcher {shard}" for shard in self.batchers))
        await asyncio.gather(*(self._hand_over(shard) for shard in self.batchers))
        impatient = asyncio.get_running_loop().call_later(_PARTING, self.archive.give_up)
        await self.supervisor.stop()
        impatient.cancel()

    async def _hand_over(self, shard: int) -> None:
        """Waits until PostgreSQL has what was voted, where it is for this process to carry it there."""
        try:
            if self.flushers[shard].leading:
                await self.caught_up(shard)
        except StorageError as error:
            log.warning("stopped with votes that are not in PostgreSQL yet", shard=shard, error=str(error))

    async def drain(self) -> bool:
        """Reads no further votes from sockets, and returns when those that were read are answered.

        Votes that keep coming by HTTP are not waited for: at the latest it returns after three seconds. Where
        PostgreSQL is silent meanwhile it is given up, since nobody is to wait for it at an end. Answers whether
        both stores answered, so that requests under way may be waited for.
        """
        if self._drained is None:
            self.streams.close()
            live, archive, _ = await asyncio.gather(
                problem_of(self.live.ping), problem_of(self.archive.ping), self._drain_votes()
            )
            if archive is not None:
                log.warning("stopping without PostgreSQL: votes that it lacks stay in the live store", error=archive)
                self.archive.give_up()
            await asyncio.sleep(0)
            self._drained = live is None and archive is None
        return self._drained

    async def _drain_votes(self) -> None:
        await self.gateway.quiesce()
        # By HTTP they may keep coming; and the live store may be silent.
        for patience, end_with in ((_DRAINED_WITHIN, Batcher.close), (_ANSWERED_WITHIN, Batcher.give_up)):
            try:
                async with asyncio.timeout(patience):
                    await asyncio.gather(*(batcher.drain() for batcher in self.batchers.values()))
            except TimeoutError:
                for batcher in self.batchers.values():
                    end_with(batcher)
            else:
                break

    async def caught_up(self, shard: int) -> None:
        """Returns when the archive has every event of a shard that the live store had when called.

        Whoever voted then sees it there. At the latest after four seconds.
        """
        await self._catching_up.get(shard, partial(self._caught_up, shard))

    async def _caught_up(self, shard: int) -> None:
        try:
            async with asyncio.timeout(_CAUGHT_UP_WITHIN):
                wanted = (await self.live.position(shard)).seq
                while await self.ledger.position(shard) < wanted:
                    if shard in self.flushers:
                        self.flushers[shard].hurry()
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            log.warning("the archive is behind", shard=shard)

    def revoked(self, key_hash: bytes) -> None:
        """Ends what a key was good for on this server."""
        self.registry.forget_key(key_hash)
        self.gateway.revoke(key_hash)

    async def _recover(self, shard: int, known: Known | None) -> Known:
        found = await self.recovery.ensure(shard, known)
        self._announcements.note_epoch(shard, found.epoch)
        return found

    def _known(self, shard: int) -> Known | None:
        batcher = self.batchers.get(shard)
        return None if batcher is None else batcher.known

    def _flushed(self, entries: Sequence[LogEntry]) -> None:
        self.metrics.flushed(max(0, self.now() - entries[0].applied_at) / 1000)

    async def _own_numbers(self) -> bytes:
        """The metrics of this process as they are now."""
        self.metrics.connections.labels("agent").set(self.gateway.agents)
        self.metrics.connections.labels("viewer").set(self.gateway.viewers)
        # The other numbers matter most while a store is away.
        self.metrics.waiting(await self.readiness.known_backlog())
        return self.metrics.text()

    def _want_shard(self, shard: int) -> None:
        if shard not in self._shards:
            self._shards.add(shard)
            self.supervisor.start(f"shard {shard}", partial(self._begin_shard, shard))

    async def _begin_shard(self, shard: int) -> None:
        await self.serve_shard(shard)
        await asyncio.Event().wait()

    async def _count_viewers(self) -> None:
        """Tells the other servers how many watch here, and hears how many do there."""
        while True:
            here = self.hub.viewers()
            everywhere: dict[int, int] = {}
            for shard in list(self.batchers):
                counts = here.get(shard, {})
                try:
                    everywhere |= await self.live.share_viewers(shard, self._server, counts, self.now())
                except StorageError:
                    everywhere |= counts
            self.activity.watched(everywhere)
            await asyncio.sleep(_VIEWERS_EVERY)

    async def _made_partitions(self) -> bool:
        """Whether there are partitions for the events of some weeks; where not, the default one takes them."""
        try:
            await self.ledger.ensure_partitions(self.now())
        except StorageError as error:
            log.warning("partitions were not made yet", error=str(error))
            return False
        return True

    async def _make_partitions(self) -> None:
        while True:
            await asyncio.sleep(_PARTITIONS_EVERY if await self._made_partitions() else _PARTITIONS_AGAIN)
