"""What can go wrong with servers of one's own."""

from storage.errors import StorageError


class EmbeddedError(StorageError):
    """A server of our own cannot run. The message is for whoever started it."""


class NotInstalled(EmbeddedError):
    """The wheels with the servers are not there."""
