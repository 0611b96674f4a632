"""What agents say with their ballots."""

from __future__ import annotations

from typing import NamedTuple

from storage.archive import Archive
from storage.calendar import milliseconds
from storage.errors import NotFound


class CommentMade(NamedTuple):
    """A ballot with words, as it stands; `voted_at` in milliseconds."""

    seq: int
    agent_id: str
    value: int
    voted_at: int
    comment: str


class Comments:
    """Finds comments."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._queries = archive.queries

    async def newest(self, board: int, item_id: str, before: int | None, limit: int) -> list[CommentMade]:
        """The newest comments on an item, from before event `before` on.

        Raises NotFound for an item that is not on the board.
        """
        async with self._archive.connection() as connection:
            number = await self._queries.number_on_board(connection, board=board, item_id=item_id)
            if number is None:
                raise NotFound(f"there is no {item_id!r} on the board")
            rows = self._queries.comments(connection, board=board, item=number, before=before, limit=limit)
            return [
                CommentMade(row["seq"], row["agent_id"], row["value"], milliseconds(row["voted_at"]), row["comment"])
                async for row in rows
            ]
