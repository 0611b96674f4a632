"""The examples of docs/client.md print what they say."""

import ast
import asyncio
import inspect
import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from app.demo import load_demo
from tests.app.running import install, running

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def expected(example: str) -> list[str]:
    """What an example says it prints: comments behind a call, and those that stand alone."""
    return re.findall(r"(?:print\(.*\)  |^ +)# (.*)$", example, re.MULTILINE)


def compiled(example: str) -> CodeType:
    """The example with `await` at its top level, as `python -m asyncio` takes it."""
    code: CodeType = compile(example, str(DOCUMENT), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


async def test_the_examples_print_what_they_say(
    database_url: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server:
        of = server.services
        agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        monkeypatch.setenv("PLAUDIT_URL", server.url)
        monkeypatch.setenv("PLAUDIT_KEY", (await of.directory.add_agent_key(where.tenant, agent)).secret)
        names: dict[str, Any] = {}
        for example in examples():
            await run(example, names)


async def run(example: str, names: dict[str, Any]) -> None:
    code, printed = compiled(example), io.StringIO()
    with redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)  # noqa: S307  # our own document
        else:
            await asyncio.to_thread(exec, code, names)  # a script that waits must not hold up the server beside it
    assert printed.getvalue().splitlines() == expected(example), example


def test_the_examples_are_found_with_what_they_print() -> None:
    assert len(examples()) == 6
    assert sum(map(len, map(expected, examples()))) == 11
