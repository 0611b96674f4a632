"""docs/cli.md and docs/mcp.md say what there is."""

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from app.commands.reaching import Unavailable
from channels.http import PlauditHTTP

DOCS = Path(__file__).parents[2] / "docs"


def rows(document: str, head: str) -> list[str]:
    """The first column of the table with this head, without its marks."""
    text = (DOCS / document).read_text(encoding="utf-8")
    table = text.split(f"| {head} |")[1].split("\n\n")[0]
    return [row.split(" | ")[0].strip("| `") for row in table.splitlines()[2:]]


def test_every_command_is_documented() -> None:
    assert [row.split()[1] for row in rows("cli.md", "command | does")] == list(main.commands)


def test_every_exit_code_is_documented() -> None:
    assert rows("cli.md", "code | meaning") == ["0", "1", "2", str(Unavailable.exit_code), "130"]


async def test_every_tool_is_documented() -> None:
    pytest.importorskip("mcp")
    from app.mcp import mcp_server  # noqa: PLC0415  # it needs the extra

    with PlauditHTTP("http://127.0.0.1") as plaudit:
        tools = await mcp_server(plaudit, "1").list_tools()
    assert rows("mcp.md", "tool | does") == [tool.name for tool in tools]


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delitem(sys.modules, "app.mcp", raising=False)
    result = CliRunner().invoke(main, ["mcp"])
    assert (result.exit_code, result.output) == (1, 'Error: This needs the extra "mcp": pip install "plaudit[mcp]".\n')
    assert re.search(r'pip install "plaudit\[mcp\]"', (DOCS / "mcp.md").read_text(encoding="utf-8"))
