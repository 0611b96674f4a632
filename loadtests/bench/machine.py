"""What a run ran on: the machine, the versions, and what else went on there."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import psutil
from redis.asyncio import Redis

from loadtests.bench.child import ROOT
from loadtests.bench.figures import median
from loadtests.bench.lab import Lab
from storage.archive import Archive

_PACKAGES: Final = (
    *("plaudit", "uvloop", "uvicorn", "httptools", "litestar", "msgspec", "websockets", "redis", "hiredis", "asyncpg"),
    "picows",
)


class Machine(msgspec.Struct, frozen=True):
    """Where and when. `fsync_ms` is what it takes to have 20 KB on the disk."""

    date: str
    revision: str
    processor: str
    cores: int
    memory_gb: float
    system: str
    fsync_ms: float
    versions: dict[str, str]


async def describe(lab: Lab) -> Machine:
    """What is known of where we are."""
    async with Redis.from_url(lab.servers.redis_url) as store:
        info = await store.info("server")
    async with Archive(lab.servers.database_url) as archive, archive.connection() as connection:
        postgres = await connection.fetchval("show server_version")
    versions = {name: version(name) for name in _PACKAGES}
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        revision=_revision(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        fsync_ms=_fsync(lab.folder),
        versions={
            "python": platform.python_version(),
            "valkey": info.get("valkey_version", info["redis_version"]),
            "postgresql": postgres,
            **versions,
        },
    )


def _revision() -> str:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "describe", "--always", "--dirty"]
        # The command is ours; git is whichever the user has.
        found = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)  # noqa: S603
        return found.stdout.strip()
    return "unknown"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fsync(folder: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(50):
            file.write(bytes(20_000))
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(median(took) * 1e3, 3)


class Crowd:
    """Cores that were in use on this machine by others than us since this was made.

    They don't show in ratios of rounds that were run side by side, but in every figure of time.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._began = time.monotonic()
        self._others = self._busy() - self._ours()

    def cores(self) -> float:
        """Cores in use by others, on average."""
        return max(0.0, (self._busy() - self._ours() - self._others) / (time.monotonic() - self._began))

    @staticmethod
    def _busy() -> float:
        times = psutil.cpu_times()._asdict()
        idle = times.pop("idle") + times.pop("iowait", 0.0)
        del idle
        # A guest's time is in the user's already.
        return float(sum(value for name, value in times.items() if not name.startswith("guest")))

    def _ours(self) -> float:
        used = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            used += usage.ru_utime + usage.ru_stime
        return used + sum(_tree(pid) for pid in self._lab.servers.pids.values())


def _tree(pid: int) -> float:
    """CPU seconds of a process, of its children, and of those that have ended."""
    used = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:4])
    return used
