"""How the live store is reached: redis-py's connections with what they lack, and its failures in our words."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from redis.exceptions import (
    BusyLoadingError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from storage.errors import StoreRefused, StoreUnavailable, closed_transport, hides_cancellation

LULL: Final = 2.0
"""Seconds without an announcement after which the store is asked whether it is still there, and again to answer."""

_NOT_NOW: Final = (BusyLoadingError, MasterDownError, NoScriptError, OutOfMemoryError, ReadOnlyError, TryAgainError)
_NOT_NOW_CODES: Final = ("MISCONF", "NOREPLICAS")  # its disk is full; it has fewer replicas than it wants to write


@contextmanager
def translated() -> Iterator[None]:
    """Makes of every failure to reach the store, or to make it answer, one of the package's own errors."""
    outer = sys.exception()
    try:
        yield
    except ResponseError as error:
        if isinstance(error, _NOT_NOW) or str(error).startswith(_NOT_NOW_CODES):
            raise StoreUnavailable(f"the live store takes no commands: {error}") from error
        raise StoreRefused(f"the live store refused a command: {error}") from error
    except (RedisError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        if hides_cancellation(error, outer):
            raise asyncio.CancelledError from error
        raise StoreUnavailable(f"the live store does not answer: {error}") from error


def mended(kind: Any) -> Any:
    """The same connections, but not deaf to a task's cancellation, and made again where they were lost unnoticed.

    redis-py sends with asyncio's `wait_for`, which before Python 3.12 swallows a cancellation that comes when the
    bytes have just gone out: the task goes on, and whoever stopped it waits for ever. And it does not know uvloop's
    word for a connection that is closed, so that it would not try again.
    """

    class Mended(kind):  # type: ignore[misc]  # one of redis-py's, by the address
        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as error:
                if not closed_transport(error):
                    raise
                await self.disconnect(nowait=True)
                raise RedisConnectionError(str(error)) from error
            if task and task.cancelling() > before:
                await self.disconnect(nowait=True)
                raise asyncio.CancelledError

    return Mended


async def messages(pubsub: Any) -> AsyncGenerator[dict[str, Any], None]:
    """What comes over a subscription. Silence is looked into: nobody tells of a connection that is half open."""
    asked = False
    while True:
        message = await pubsub.get_message(timeout=LULL)
        if message is not None:
            asked = False
            yield message
        elif asked:
            raise StoreUnavailable("the live store's announcements have stopped")
        else:
            await pubsub.ping()
            asked = True


def run_of(info: Mapping[str, Any]) -> str:
    """A store's life: its history's id, which is another one after every restart and every failover."""
    if info["role"] != "master":
        raise StoreUnavailable("the live store is a replica")
    return str(info["master_replid"])


def parsed_info(text: bytes) -> dict[str, str]:
    """The answer to INFO as it comes over a bare connection."""
    lines = (line.partition(":") for line in text.decode().splitlines())
    return {name: value for name, _, value in lines}
