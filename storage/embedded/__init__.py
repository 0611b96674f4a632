"""A real Valkey and a real PostgreSQL from wheels, run as this process' own servers.

Everything of theirs stands in one folder, which one process holds at a time.
"""

from storage.embedded.errors import EmbeddedError, NotInstalled
from storage.embedded.folder import Addresses, running
from storage.embedded.servers import EmbeddedServers

__all__ = ["Addresses", "EmbeddedError", "EmbeddedServers", "NotInstalled", "running"]
