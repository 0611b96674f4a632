"""The live store: scores, ballots, quotas and the log of votes, in Redis or Valkey.

Everything that is written goes through the scripts in `lua/`; this module is their edge to Python. With `connections`
it is the only one that knows redis-py. One `LiveStore` serves all shards of an installation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from storage import scripts
from storage.calendar import Periods, periods_at
from storage.connections import mended, messages, run_of, translated
from storage.errors import BeingFilled
from storage.pipe import ApplyPipe
from storage.rows import Rows, decode
from storage.types import (
    AroundView,
    Board,
    BoardItem,
    Changed,
    ItemType,
    Position,
    Query,
    Ranking,
    Row,
    TopView,
    ViewSpec,
)

READ_TIMEOUT: Final = 5.0
"""Seconds without an answer after which the live store counts as away."""

CONNECTIONS: Final = 1000
"""Connections that one process may have to the live store, more than it ever comes to: whoever asks for one more is
refused. What clients ask for waits for its turn before it comes here."""

VIEWERS_FOR: Final = 15_000
"""Milliseconds for which a server's word on its viewers is good."""

READ_WITHIN: Final = 3.0
"""Seconds after which a view that is not read counts as unavailable, tries and all."""

_SCAN_COUNT: Final = 5000
_POSITION: Final = ("epoch", "ready", "seq", "flushed", "run")
_FIRST: Final = slice(12, 20)
_AT: Final = slice(24, 32)
_YEAR_2000: Final = 946_684_800_000


class LogEntry(NamedTuple):
    """The events of one applied batch: the last one's seq, and rows for PostgreSQL's binary COPY."""

    seq: int
    rows: bytes

    @property
    def first(self) -> int:
        """The first one's seq."""
        return int.from_bytes(self.rows[_FIRST], "big")

    @property
    def applied_at(self) -> int:
        """When the batch was applied, ms: it stands in every row, in microseconds since 2000."""
        return int.from_bytes(self.rows[_AT], "big") // 1000 + _YEAR_2000


class BoardTimes(NamedTuple):
    """Periods of a board's calendar windows, and the moment (ms) that its trending scores are shown as of."""

    periods: Periods
    shown_at: int


def title_field(item_type: ItemType, item_id: str) -> str:
    """Where the store keeps an item's title."""
    return f"{item_type}:{item_id}"


class LiveStore:
    """The live state of all shards of one installation.

    `prefix` begins every key, so that several installations (or tests) can share a server. `leeway` is how many
    milliseconds a caller's clock may be ahead of the store's, None for any.
    """

    def __init__(self, url: str, prefix: str = "plaudit", *, leeway: int | None = None) -> None:
        self._prefix = prefix
        self._leeway = leeway
        # A script that was cut off may have run. All but `apply` may run twice, so redis-py may retry those.
        # Typed loosely: redis-py types answers for every mode of a client; this one speaks RESP2 and bytes.
        self._redis: Any = Redis.from_url(
            url,
            protocol=2,
            max_connections=CONNECTIONS,
            socket_timeout=READ_TIMEOUT,
            socket_connect_timeout=READ_TIMEOUT,
            # A socket on this machine needs no proof that the other side is still there, and takes no such option.
            **({} if url.startswith("unix") else {"socket_keepalive": True}),
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.2), 2),
        )
        pool = self._redis.connection_pool
        pool.connection_class = mended(pool.connection_class)
        self._rows = Rows()
        self._scripts = {name: self._redis.register_script(scripts.source(name)) for name in scripts.NAMES}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose()

    def tag(self, shard: int) -> str:
        """The beginning of every key of a shard."""
        return f"{self._prefix}:{{{shard}}}"

    def pipe(self, shard: int, replicas: int = 0) -> ApplyPipe:
        """A connection of its own for the shard's batches of votes, each confirmed by so many replicas."""
        return ApplyPipe(self._redis.connection_pool, self.tag(shard), replicas)

    async def ping(self) -> None:
        """Returns when the store answers."""
        with translated():
            await self._redis.ping()

    async def bounded(self, now: int) -> int:
        """The caller's clock, or the store's where that one is too far ahead."""
        if self._leeway is None:
            return now
        with translated():
            seconds, microseconds = await self._redis.time()
        store = int(seconds) * 1000 + int(microseconds) // 1000
        return now if now <= store + self._leeway else store

    async def position(self, shard: int) -> Position:
        """How far the shard has come."""
        with translated():
            return _position(await self._redis.hmget(f"{self.tag(shard)}:meta", _POSITION))

    async def survey(self, shard: int) -> tuple[Position, str]:
        """How far the shard has come, and the store's present life."""
        with translated():
            async with self._redis.pipeline(transaction=False) as batch:
                batch.hmget(f"{self.tag(shard)}:meta", _POSITION)
                batch.info("replication")
                found, info = await batch.execute()
        return _position(found), run_of(info)

    async def read(self, shard: int, queries: Sequence[Query]) -> list[Ranking | None]:
        """Views of boards of one shard, each as of one moment; None for a board that is not there.

        Raises BeingFilled where the store is empty or being filled, rather than show half of a board.
        """
        found: list[Ranking | None] = []
        while len(found) < len(queries):
            # Views for which much has to be looked at come a few at a time, and votes in between.
            wanted = queries[len(found) :]
            reply = await self._read(shard, wanted)
            found += [
                None if isinstance(view, bool) else self._ranking(reply, view, query)
                for view, query in zip(reply.views, wanted, strict=False)
            ]
        return found

    async def _read(self, shard: int, queries: Sequence[Query]) -> scripts.ReadReply:
        arguments = scripts.pack([scripts.query_arguments(query) for query in queries])
        with translated():
            async with asyncio.timeout(READ_WITHIN):
                packed = await self._run("read", shard, arguments)
        reply = scripts.decode_read(packed)
        if not reply.epoch:
            raise BeingFilled("the live store is being filled")
        return reply

    def _ranking(self, reply: scripts.ReadReply, view: scripts.ViewReply, query: Query) -> Ranking:
        if isinstance(query.view, TopView) and query.window != "trending":
            rows = self._rows.of(query, view.rows)
        else:
            rows = _cut(decode(view.rows), query.view, view.skip)
        return Ranking(reply.epoch, view.version, reply.seq, view.total, view.reference, rows)

    async def titles(self, shard: int, tenant: int, fields: Sequence[str]) -> list[tuple[str, str | None] | None]:
        """Title and artist of each `<item type>:<item id>`."""
        if not fields:
            return []
        with translated():
            found = await self._redis.hmget(f"{self.tag(shard)}:t:{tenant}", list(fields))
        return [None if packed is None else scripts.decode_title(packed) for packed in found]

    async def quota_used(self, shard: int, day: int, agent: int) -> int:
        """Votes that an agent has used on a day (days since 1970)."""
        with translated():
            return int(await self._redis.hget(f"{self.tag(shard)}:q:{day}", str(agent)) or 0)

    async def load(self, shard: int, parts: Sequence[object], holder: str = "") -> int:
        """Puts what the archive knows into the store; `lua/load.lua` has the shapes of the parts.

        Answers how many items are new, -1, having done nothing, where `holder` does not hold the live state.
        """
        return int(await self._run("load", shard, scripts.pack(parts), holder))

    async def add_items(self, board: Board, items: Sequence[BoardItem], now: int) -> int:
        """Puts new items on a board, with score 0; those that are there stay as they are."""
        now = await self.bounded(now)
        flat: list[object] = []
        titles: list[object] = []
        for item in items:
            flat += (item.item_id, item.number, 0, 0, 0, 0, 0, 0, 0)
            titles += (title_field(item.item_type, item.item_id), scripts.encode_title((item.title, item.artist)))
        state = ("board", board.number, now, periods_at(now))
        parts = [state, ("titles", board.tenant, titles), ("items", board.number, flat)]
        return await self.load(board.shard, parts)

    async def item_count(self, shard: int, board: int) -> int:
        """How many items are ranked on a board."""
        with translated():
            return int(await self._redis.zcard(f"{self.tag(shard)}:l:{board}"))

    async def board_state(self, shard: int, board: int) -> BoardTimes | None:
        """The moments that a board's windows are as of."""
        with translated():
            found = await self._redis.hmget(f"{self.tag(shard)}:b:{board}", ["day", "week", "month", "shown_at"])
        if found[0] is None:
            return None
        day, week, month, shown_at = map(int, found)
        return BoardTimes((day, week, month), shown_at)

    async def versions(self, shard: int, boards: Sequence[int]) -> dict[int, int]:
        """The versions of those of the boards that the store has."""
        with translated():
            async with self._redis.pipeline(transaction=False) as batch:
                for board in boards:
                    batch.hget(f"{self.tag(shard)}:b:{board}", "version")
                found = await batch.execute()
        return {board: int(version) for board, version in zip(boards, found, strict=True) if version is not None}

    async def roll(self, shard: int, now: int, periods: Periods, references: dict[int, int]) -> int:
        """Moves the time-bound state of boards (number -> reference, 0 for none) on to `now`."""
        flat = [number for pair in references.items() for number in pair]
        return int(await self._run("roll", shard, scripts.pack([now, periods, flat])))

    async def trim(self, shard: int, seq: int) -> int:
        """Drops the log up to `seq`, which the archive has committed."""
        return int(await self._run("trim", shard, str(seq).encode()))

    async def log_after(self, shard: int, seq: int, count: int, wait: float) -> list[LogEntry]:
        """Up to `count` entries past `seq`, waiting up to `wait` seconds for a first one."""
        log = f"{self.tag(shard)}:log"
        with translated():
            found = await self._redis.xread({log: f"{seq}-0"}, count=count, block=int(wait * 1000) or None)
        entries: list[Any] = found[0][1] if found else []
        return [LogEntry(int(name.split(b"-")[0]), fields[b"rows"]) for name, fields in entries]

    async def resume(self, shard: int, found: str, epoch: str, run: str) -> int | None:
        """Lets a live state, found whole in this life of the store, go on under a new epoch; answers its last seq.

        None, and nothing happens, where the state is no longer the one of the epoch `found`.
        """
        seq = int(await self._run("resume", shard, scripts.pack((found, epoch, run))))
        return None if seq < 0 else seq

    async def hold(self, shard: int, found: str | None, holder: str) -> bool:
        """Lets no more votes in until `holder` does; False, and nothing happens, where the epoch is not `found`."""
        return bool(await self._run("hold", shard, scripts.pack((found or False, holder))))

    async def keys(self, shard: int) -> AsyncIterator[str]:
        """The names of a shard's keys, but for its position."""
        position = f"{self.tag(shard)}:meta"
        with translated():
            async for name in self._redis.scan_iter(match=f"{_escaped(self.tag(shard))}:*", count=_SCAN_COUNT):
                if (text := name.decode()) != position:
                    yield text

    async def ballots(self, shard: int, board: int, agents: Sequence[int]) -> list[dict[int, tuple[int, int]]]:
        """What agents hold on a board: for each, item number -> (value, weight)."""
        with translated():
            async with self._redis.pipeline(transaction=False) as batch:
                for agent in agents:
                    batch.hgetall(f"{self.tag(shard)}:v:{board}:{agent}")
                found = await batch.execute()
        return [{int(item): _ballot(text) for item, text in held.items()} for held in found]

    async def share_viewers(self, shard: int, server: str, counts: Mapping[int, int], now: int) -> dict[int, int]:
        """Tells the other servers how many watch each board of a shard here; answers how many do on all of them."""
        name = f"{self.tag(shard)}:w"
        with translated():
            async with self._redis.pipeline(transaction=False) as batch:
                if counts:
                    batch.hset(name, server, scripts.pack((now, dict(counts))))
                    batch.expire(name, 3 * VIEWERS_FOR // 1000)
                else:
                    batch.hdel(name, server)
                batch.hgetall(name)
                *_, found = await batch.execute()
        told = {who: scripts.decode_viewers(packed) for who, packed in found.items()}
        gone = [who for who, (at, _) in told.items() if at <= now - VIEWERS_FOR]
        if gone:
            with translated():
                await self._redis.hdel(name, *gone)
        everywhere: Counter[int] = Counter()
        for who, (_, viewers) in told.items():
            if who not in gone:
                everywhere.update(viewers)
        return dict(everywhere)

    async def changes(self, shards: Iterable[int]) -> AsyncIterator[Changed | None]:
        """What boards change, as it happens. None first and after every gap: versions are unknown then.

        Raises StoreUnavailable when the connection breaks; call again.
        """
        channels = {f"{self.tag(shard)}:changed".encode(): shard for shard in shards}
        with translated():
            async with self._redis.pubsub() as pubsub:
                await pubsub.subscribe(*channels)
                confirmed = 0
                async with aclosing(messages(pubsub)) as heard:
                    async for message in heard:
                        if message["type"] == "subscribe":
                            confirmed += 1
                            if confirmed >= len(channels):
                                yield None
                        elif message["type"] == "message":
                            epoch, seq, versions, events = scripts.decode_changed(message["data"])
                            yield Changed(channels[message["channel"]], epoch, seq, _pairs(versions), _pairs(events))

    async def _run(self, name: scripts.Name, shard: int, *arguments: bytes | str) -> Any:
        with translated():
            return await self._scripts[name](keys=[self.tag(shard)], args=arguments)


def _position(found: list[bytes | None]) -> Position:
    epoch, ready, seq, flushed, run = found
    return Position(
        epoch.decode() if epoch else None,
        bool(ready),
        int(seq or 0),
        int(flushed or 0),
        run.decode() if run else None,
    )


def _pairs(flat: list[int]) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _cut(rows: list[Row], view: ViewSpec, skip: int) -> list[Row]:
    # The script leaves ties in any order, and those at the ends whole: what of them belongs to the view is told here.
    rows.sort(key=lambda row: (-row.points, row.item))
    match view:
        case TopView(limit):
            return rows[skip : skip + limit]
        case AroundView(item, span) if rows:
            place = next(place for place, row in enumerate(rows) if row.item == item)
            return rows[max(0, place - span) : place + span + 1]
    return rows


def _ballot(text: bytes) -> tuple[int, int]:
    value, _, weight = text.partition(b":")
    return int(value), int(weight or 100)


def _escaped(text: str) -> str:
    """A literal as a pattern of SCAN."""
    return "".join(f"\\{character}" if character in r"*?[]\^-" else character for character in text)
