"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from app.settings import markdown_table
from tests.faults.playing import EVERY_FAULT

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_the_readme_documents_every_setting() -> None:
    text = README.read_text(encoding="utf-8")
    documented = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    assert documented.strip() == markdown_table().strip(), "paste the output of app.settings.markdown_table()"


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:tests|storage|app|channels)/[^`\s]+)`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 3
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_threat_names_what_shows_that_it_is_stopped() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 15
    assert [threat for threat, *_, shown in rows if "`tests/" not in shown and shown != "by reading"] == []


def test_every_fault_is_described() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = "".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `"))
    described = {name for name in re.findall(r"`([^`]+)`", table) if name.islower() and "_" not in name}
    assert {fault.kind for fault in EVERY_FAULT} <= described


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_every_page_can_be_reached(page: str) -> None:
    others = [README, *(path for path in (ROOT / "docs").glob("*.md") if path.name != page)]
    assert any(page in path.read_text(encoding="utf-8") for path in others)
