"""Boards and what is on them, in the archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from storage.archive import Archive, Connection, Record
from storage.calendar import milliseconds, moment
from storage.errors import Exists, NotFound
from storage.types import WINDOWS, BallotKind, Board, BoardItem, ItemType, Tenant, Window

STANDING_BOARDS: tuple[tuple[str, str, ItemType], ...] = (("songs", "Songs", "song"), ("tools", "Tools", "tool"))
"""The boards that every tenant has from its first day: slug, title, type of item."""


class NewBoard(msgspec.Struct, frozen=True):
    """The rules of a board that is to be made; `storage.types.Board` has their meaning."""

    slug: str
    title: str
    item_type: ItemType
    ballot: BallotKind = "updown"
    minimum: int = -1
    maximum: int = 1
    ballots_change: bool = False
    windows: tuple[Window, ...] = WINDOWS
    opens_at: int | None = None
    closes_at: int | None = None
    weights: dict[str, int] | None = None


class BallotCast(msgspec.Struct, frozen=True):
    """One ballot of an agent as it stands; `voted_at` in milliseconds."""

    board: str
    item_id: str
    title: str
    artist: str | None
    value: int
    kind: BallotKind
    seq: int
    voted_at: int
    comment: str | None


class Boards:
    """Questions about boards."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def of_tenant(self, tenant: int) -> list[Board]:
        """All boards of a tenant, oldest first."""
        async with self._archive.connection() as connection:
            return [_board(row) async for row in self._queries.list_boards(connection, tenant=tenant)]

    async def of_shard(self, shard: int) -> list[Board]:
        """All boards of all tenants of a shard."""
        async with self._archive.connection() as connection:
            return [_board(row) async for row in self._queries.boards_of_shard(connection, shard=shard)]

    async def add(self, tenant: Tenant, new: Sequence[NewBoard]) -> list[Board]:
        """Makes boards, all or none. Raises Exists."""
        async with self._archive.transaction() as connection:
            return await self.add_over(connection, tenant, new)

    async def add_over(self, connection: Connection, tenant: Tenant, new: Sequence[NewBoard]) -> list[Board]:
        """The same as part of a transaction."""
        return [await self._add(connection, tenant, rules) for rules in new]

    async def _add(self, connection: Connection, tenant: Tenant, rules: NewBoard) -> Board:
        row = await self._queries.add_board(
            connection,
            tenant=tenant.number,
            opens_at=None if rules.opens_at is None else moment(rules.opens_at),
            closes_at=None if rules.closes_at is None else moment(rules.closes_at),
            weights=None if rules.weights is None else msgspec.json.encode(rules.weights).decode(),
            **{name: getattr(rules, name) for name in _SAME_NAMES},
        )
        if row is None:
            raise Exists(f"a board {rules.slug!r} is there already")
        return Board(number=row["id"], tenant=tenant.number, shard=tenant.shard, **msgspec.structs.asdict(rules))

    async def add_items(self, board: Board, item_ids: Sequence[str]) -> list[BoardItem]:
        """Puts items of the board's type on it, all or none.

        Raises NotFound for an item that the tenant does not have, Exists for one that is on the board.
        """
        async with self._archive.transaction() as connection:
            of_board: dict[str, Any] = {
                "tenant": board.tenant,
                "item_type": board.item_type,
                "item_ids": list(item_ids),
            }
            known = {row["item_id"] async for row in self._queries.known_items(connection, **of_board)}
            missing = next((item_id for item_id in item_ids if item_id not in known), None)
            if missing is not None:
                raise NotFound(f"there is no {board.item_type} {missing!r}")
            added = [row async for row in self._queries.add_board_items(connection, board=board.number, **of_board)]
            if len(added) < len(item_ids):
                here = {row["item_id"] for row in added}
                twice = next((item_id for item_id in item_ids if item_id not in here), item_ids[0])
                raise Exists(f"{twice!r} is on the board {board.slug!r} already")
            return [BoardItem(row["id"], board.item_type, row["item_id"], row["title"], row["artist"]) for row in added]

    async def items_of_shard(self, shard: int) -> dict[int, list[BoardItem]]:
        """The items of every board of a shard, by board number."""
        found: dict[int, list[BoardItem]] = {}
        async with self._archive.connection() as connection:
            async for board, *item in self._queries.items_of_shard(connection, shard=shard):
                found.setdefault(board, []).append(BoardItem(*item))
        return found

    async def item_counts(self, shard: int) -> dict[int, int]:
        """How many items each board of a shard has."""
        async with self._archive.connection() as connection:
            return {row["board_id"]: row["items"] async for row in self._queries.count_items(connection, shard=shard)}

    async def ballots_of(self, agent: int, limit: int, offset: int) -> tuple[list[BallotCast], int]:
        """A page of an agent's ballots, newest first, and how many there are in all."""
        async with self._archive.connection() as connection:
            rows = [row async for row in self._queries.my_votes(connection, agent=agent, limit=limit, offset=offset)]
        ballots = [
            BallotCast(
                board=row["slug"],
                kind=row["ballot"],
                voted_at=milliseconds(row["voted_at"]),
                **{name: row[name] for name in ("item_id", "title", "artist", "value", "seq", "comment")},
            )
            for row in rows
        ]
        return ballots, rows[0]["total"] if rows else 0


_SAME_NAMES = ("slug", "title", "item_type", "ballot", "minimum", "maximum", "ballots_change", "windows")


def _board(row: Record) -> Board:
    opens, closes = row["opens_at"], row["closes_at"]
    return Board(
        number=row["id"],
        tenant=row["tenant_id"],
        shard=row["shard"],
        slug=row["slug"],
        title=row["title"],
        item_type=row["item_type"],
        ballot=row["ballot"],
        minimum=row["minimum"],
        maximum=row["maximum"],
        ballots_change=row["ballots_change"],
        windows=tuple(row["windows"]),
        opens_at=None if opens is None else milliseconds(opens),
        closes_at=None if closes is None else milliseconds(closes),
        weights=None if row["weights"] is None else msgspec.json.decode(row["weights"]),
    )
