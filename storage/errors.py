"""What can go wrong with the stores. Drivers' exceptions become these at one place each."""

from __future__ import annotations

import asyncio


class StorageError(Exception):
    """Root of this package's errors."""


class StoreUnavailable(StorageError):
    """The live store does not answer, or is not in a state to take votes. Worth another try."""


class BeingFilled(StoreUnavailable):
    """The live store lost what it had, or is being filled. It does not take long."""


class StoreRefused(StorageError):
    """The live store answered with an error that another try would not mend."""


class ArchiveUnavailable(StorageError):
    """PostgreSQL does not answer. Worth another try."""


class NotMigrated(StorageError):
    """The database does not have the schema that this version works with."""


class StaleStore(StorageError):
    """The live store is not the one that was known: emptied, rolled back, or being rebuilt."""


class ArchiveBehind(StorageError):
    """PostgreSQL lacks votes that it had: it is another database, or an older one. Only people can put that right."""


class Exists(StorageError):
    """A thing of that name is there already."""


class NotFound(StorageError):
    """There is no such thing."""


class MigrationError(StorageError):
    """A migration failed; the schema is what it was before it."""


def hides_cancellation(error: Exception, outer: BaseException | None) -> bool:
    """Whether an error came up in a block that a cancelled task was leaving, as when its connection broke as well.

    Translated into one of ours it would be caught and tried again, by a task that is to stop. `outer` is what was
    being handled already when the block was entered: whoever cleans up after a cancellation hears of errors.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    cause: BaseException | None = error
    while cause is not None and cause is not outer:
        if isinstance(cause, asyncio.CancelledError):
            return True
        cause = cause.__context__
    return False


def closed_transport(error: Exception) -> bool:
    """Whether this is uvloop's way to say that a connection was lost under a write, which is no error of ours."""
    return isinstance(error, RuntimeError) and "handler is closed" in str(error)
