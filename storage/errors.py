"""What can go wrong with the stores. Drivers' exceptions become these at one place each."""

from __future__ import annotations


class StorageError(Exception):
    """Root of this package's errors."""


class StoreUnavailable(StorageError):
    """The live store does not answer, or is not in a state to take votes. Worth another try."""


class StoreRefused(StorageError):
    """The live store answered with an error that another try would not mend."""


class ArchiveUnavailable(StorageError):
    """PostgreSQL does not answer. Worth another try."""


class NotMigrated(StorageError):
    """The database does not have the schema that this version works with."""


class StaleStore(StorageError):
    """The live store is not the one that was known: emptied, rolled back, or being rebuilt."""


class Exists(StorageError):
    """A thing of that name is there already."""


class NotFound(StorageError):
    """There is no such thing."""


class MigrationError(StorageError):
    """A migration failed; the schema is what it was before it."""
