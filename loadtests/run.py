"""`make load`: starts a server of its own, runs everything against it for half a minute, and recounts the boards.

python -m loadtests.run [--reports FOLDER] [further options of Locust]
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Final, NamedTuple

import click

HERE: Final = Path(__file__).parent
LOCUSTFILE: Final = HERE / "locustfile.py"

SCENARIO: Final = (
    *("--users=40", "--spawn-rate=20", "--run-time=30s"),
    *("--shape=herd", "--herd-every=10", "--vote-rate=5"),
)
"""Every kind of user, and all websockets reconnecting twice. Options that are given come after these, and win."""

_START_WITHIN: Final = 120.0
_STOP_WITHIN: Final = 30.0
_STORES: Final = ("DATABASE_URL", "REDIS_URL")


class Served(NamedTuple):
    """A server, the environment of commands that are about it, and the folder that it runs in."""

    url: str
    environ: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[str]


@contextmanager
def serve(log: Path) -> Iterator[Served]:
    """Serves a demo catalogue from a temporary folder, on a free port. Raises RuntimeError where it does not start."""
    # Nothing that is set for another installation may be met by this one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    for name in _STORES:
        environ.pop(name, None)
    environ |= {"PLAUDIT_PORT": "0", "PLAUDIT_ADMIN_KEY": secrets.token_urlsafe(32)}
    with tempfile.TemporaryDirectory(prefix="plaudit-") as name, log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(  # noqa: S603  # our own program, no words of others
            [_plaudit(), "serve", "--demo", "--demo-rate", "0"],
            cwd=name,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            yield Served(_address(process, log), environ, Path(name), process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_WITHIN)
            finally:
                process.kill()
                process.wait()


def _plaudit() -> str:
    return str(Path(sys.executable).with_name("plaudit"))


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Where the server says that it listens."""
    assert process.stdout is not None
    timer = Timer(_START_WITHIN, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            _, ready, address = line.partition("ready at")
            if ready:
                return address.strip()
    finally:
        timer.cancel()
    raise RuntimeError(f"The server did not start: see {log}.")


def load(served: Served, reports: Path, options: Sequence[str]) -> int:
    """Runs Locust; answers its exit code. The key goes by the environment, where no list of processes shows it."""
    files = ("--html", str(reports / "load.html"), "--csv", str(reports / "load"))
    locust = (sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary")
    command = [*locust, "--host", served.url, *files, *SCENARIO, *options]
    return subprocess.run(command, env=served.environ, cwd=HERE.parent, check=False).returncode  # noqa: S603  # as above


def verify(served: Served) -> int:
    """Recounts every board from its events, in the archive and in the live store; answers 1 where they differ."""
    command = [_plaudit(), "verify"]
    return subprocess.run(command, env=served.environ, cwd=served.folder, check=False).returncode  # noqa: S603  # as above


def main(arguments: Sequence[str]) -> int:
    """Runs it all; answers 0 where nothing failed."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--reports", type=Path, default=HERE / "reports")
    own, options = parser.parse_known_args(arguments)
    reports = Path(own.reports).resolve()
    reports.mkdir(parents=True, exist_ok=True)
    with serve(reports / "server.log") as served:
        failed = load(served, reports, options)
        if served.process.poll() is not None:
            click.echo(f"The server died: see {reports / 'server.log'}.", err=True)
            return 1
        failed = verify(served) or failed
    click.echo(f"The report is {reports / 'load.html'}, its figures are beside it.")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
