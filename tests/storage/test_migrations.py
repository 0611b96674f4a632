"""Migrations: they give the schema that is committed, and say what goes wrong."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from storage.errors import MigrationError
from storage.migrations import MIGRATIONS, dump_schema, migrate

SCHEMA = MIGRATIONS.parent / "schema.sql"


async def test_migrations_give_the_committed_schema(database_url: str) -> None:
    assert await dump_schema(database_url) == SCHEMA.read_text(encoding="utf-8"), "run make schema and commit it"


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    before = await dump_schema(database_url)
    await asyncio.gather(*(migrate(database_url) for _ in range(3)))
    assert await dump_schema(database_url) == before


async def test_a_failed_migration_says_why_and_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    broken = tmp_path / "99990101000000_broken.sql"
    broken.write_text("-- migrate:up\ncreate table half (id int);\nselect no_such_thing();\n-- migrate:down\n")
    with pytest.raises(MigrationError, match="no_such_thing"):
        await migrate(database_url, tmp_path)
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("select to_regclass('half')") is None
    finally:
        await connection.close()


async def test_no_database_is_a_migration_error() -> None:
    with pytest.raises(MigrationError, match="could not be migrated") as failure:
        await migrate("postgresql://someone:hidden@127.0.0.1:1/none")
    assert "hidden" not in str(failure.value)
