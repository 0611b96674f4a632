"""`python -m tests.fuzz --messages 1000000 --seed 7`: nonsense at length, on stores of its own.

The last line is JSON; it exits 1 where anything was wrong, memory growing among it.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

from storage.embedded import EmbeddedServers
from storage.migrations import migrate
from tests.app.running import install
from tests.app.sockets import opened
from tests.fuzz.driver import Fuzzer, watched_log

_STEPS: Final = 20
_WARM: Final = 5
GROWTH: Final = 64 * 1024 * 1024
"""Bytes by which the process may grow once a quarter of the messages was sent."""


def main() -> None:
    """Reads the options and exits."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--messages", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    # On the loop that `plaudit serve` runs on.
    result = uvloop.run(fuzz(chosen.messages, chosen.seed))
    print(json.dumps(result))  # noqa: T201  # the result is what this is for
    sys.exit(1 if result["wrong"] else 0)


async def fuzz(messages: int, seed: int) -> dict[str, Any]:
    """Sends so many messages, in steps after each of which memory is looked at."""
    process = psutil.Process()
    sizes: list[int] = []
    with tempfile.TemporaryDirectory(prefix="plaudit-") as folder:
        async with EmbeddedServers(Path(folder) / "run", durable=False) as servers:
            await migrate(servers.database_url)
            where = await install(servers.database_url, servers.redis_url, "fuzz", messages_per_second=10**9)
            async with opened(where) as stage:
                key, bystander = await stage.key(), await stage.key("bystander")
                with watched_log() as found:
                    fuzzer = Fuzzer(stage, seed, 5000, bystander)
                    for _ in range(_STEPS):
                        await fuzzer.run(messages // _STEPS + 1, key)
                        gc.collect()
                        sizes.append(process.memory_info().rss)
                        print(f"{fuzzer.messages:,} messages, {sizes[-1] >> 20} MB", file=sys.stderr)  # noqa: T201
                        if fuzzer.wrong:
                            break
    wrong = fuzzer.wrong + found
    growth = sizes[-1] - sizes[min(_WARM, len(sizes) - 1)]
    if growth > GROWTH:
        wrong.append(f"memory grew by {growth:,} bytes")
    return {
        "seed": seed,
        "messages": fuzzer.messages,
        "mutated": fuzzer.mutated,
        "answers": dict(sorted(fuzzer.answers.items())),
        "endings": dict(sorted(fuzzer.endings.items())),
        "growth": growth,
        "wrong": wrong[:20],
    }


if __name__ == "__main__":
    main()
