"""Writes sql/schema.sql from the migrations: python -m tests.schema, or make schema."""

import asyncio
import tempfile
from pathlib import Path

from storage.embedded import EmbeddedServers
from storage.migrations import MIGRATIONS, dump_schema, migrate


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedServers(Path(folder), valkey=False, durable=False) as servers:
            await migrate(servers.database_url)
            schema = await dump_schema(servers.database_url)
    (MIGRATIONS.parent / "schema.sql").write_text(schema, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
