"""The fuzzers of `tests.fuzz`, each as a process of its own, so that none has a part in the growth of another."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

import click


class Nonsense(NamedTuple):
    """Figures for the last line of a run, and whether nothing was wrong."""

    figures: dict[str, Any]
    clean: bool


def talk_nonsense(messages: int, seed: int) -> Nonsense:
    """Sends so many messages to a server, and feeds the decoders for a while."""
    socket = _result("tests.fuzz", "--messages", str(messages), "--seed", str(seed))
    decoder = _result("tests.fuzz.decoder", "--runs", str(messages), "--seed", str(seed))
    for line in [*socket["wrong"], *decoder["wrong"]]:
        click.echo(f"    nonsense: {line[:600]}")
    figures = {
        "messages": socket["messages"],
        "payloads": decoder["payloads"],
        "wrong": len(socket["wrong"]) + len(decoder["wrong"]),
    }
    return Nonsense(figures, clean=not figures["wrong"])


def _result(*arguments: str) -> dict[str, Any]:
    """The last line of a module that is run; one that does not come to its end is wrong."""
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, check=False, text=True
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found = {"messages": 0, "payloads": 0, "wrong": [f"{arguments[0]} ended with {done.returncode}"]}
    return found
