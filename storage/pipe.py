"""The ordered way of votes to a shard of the live store."""

from __future__ import annotations

from typing import Any, Final

from storage import scripts
from storage.connections import parsed_info, run_of, translated
from storage.errors import StoreUnavailable

CONFIRMED_WITHIN: Final = 1.0
"""Seconds in which replicas have to confirm a batch of votes."""


class ApplyPipe:
    """An ordered connection for batches of votes: what is sent first is applied and answered first.

    redis-py's pooled client would send two batches over two connections, in either order. With `replicas` an answer
    waits until so many replicas have the batch, too, or for `CONFIRMED_WITHIN`, and tells which.
    """

    def __init__(self, pool: Any, tag: str, replicas: int) -> None:
        self._pool = pool
        self._tag = tag
        self._replicas = replicas
        self._connection: Any = None
        self._sha = ""
        self._run = ""

    async def connect(self) -> str:
        """Connects anew, makes sure that the script is there, and answers the store's present life."""
        await self.close()
        self._connection = connection = self._pool.make_connection()
        with translated():
            try:
                await connection.connect()
                await connection.send_command("SCRIPT", "LOAD", scripts.source("apply"))
                self._sha = (await connection.read_response()).decode()
                await connection.send_command("INFO", "replication")
                run = run_of(parsed_info(await connection.read_response()))
                if run != self._run:
                    # Connections that lead to the store before this one may still stand.
                    await self._pool.disconnect(inuse_connections=False)
            except BaseException:
                await self.close()
                raise
        self._run = run
        return run

    async def close(self) -> None:
        """Drops the connection, and with it the answers that are still to come."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def send(self, batch: bytes) -> None:
        """Sends one packed batch."""
        connection = self._live()
        apply = ("EVALSHA", self._sha, 1, self._tag, batch)
        with translated():
            if self._replicas:
                # In one piece: the wait begins as soon as the script has run.
                wait = ("WAIT", self._replicas, int(CONFIRMED_WITHIN * 1000))
                await connection.send_packed_command(connection.pack_commands([apply, wait]))
            else:
                await connection.send_command(*apply)

    async def receive(self) -> scripts.ApplyReply:
        """The answer to the oldest batch that has none yet."""
        with translated():
            reply = scripts.decode_reply(await self._live().read_response())
            if self._replicas:
                reply.confirmed = await self._live().read_response() >= self._replicas
        return reply

    def _live(self) -> Any:
        if self._connection is None:
            raise StoreUnavailable("the live store is not connected")
        return self._connection
