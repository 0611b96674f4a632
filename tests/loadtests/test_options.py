"""Options of a load test, from the command line and from the web UI."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest

from loadtests.options import DEFAULT_HOST, Options, OptionsError, add_options, read_options

ROOT = Path(__file__).parent.parent.parent


class Parser(ArgumentParser):
    """One that takes what Locust's takes."""

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        for name in ("env_var", "include_in_web_ui"):
            kwargs.pop(name, None)
        return super().add_argument(*args, **kwargs)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parse(*arguments: str) -> Namespace:
    parser = Parser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_every_option_can_be_given() -> None:
    assert set(vars(parse())) == set(Options.__struct_fields__) - {"host"}
    assert read_options(parse(), None) == Options()
    given = read_options(parse("--board", "songs, tools", "--vote-rate", "2.5", "--shape", "herd"), "http://h:1/")
    assert given == Options(host="http://h:1", board="songs, tools", vote_rate=2.5, shape="herd")
    assert given.given_boards == ["songs", "tools"]
    assert Options().given_boards == []


def test_every_option_and_its_default_are_documented() -> None:
    text = (ROOT / "docs/load-testing.md").read_text(encoding="utf-8")
    for name in set(Options.__struct_fields__) - {"host"}:
        default = getattr(Options(), name)
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        assert f"| `--{name.replace('_', '-')}` | {shown}{' ' if shown else ''}| " in text


def test_texts_of_the_web_ui_are_read() -> None:
    assert read_options(Namespace(boards="7", board="", num_users=3), None).boards == 7


@pytest.mark.parametrize("wrong", [{"boards": 0}, {"vote_rate": "fast"}, {"top": 1001}, {"codec": "xml"}])
def test_what_is_wrong_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        read_options(Namespace(**wrong), None)


def test_a_kept_key_goes_to_no_other_host(tmp_path: Path) -> None:
    (tmp_path / ".plaudit").mkdir()
    (tmp_path / ".plaudit/admin.key").write_text("secret\n")
    assert read_options(parse(), None) == Options(host=DEFAULT_HOST, admin_key="secret")
    assert read_options(parse("--admin-key", "mine"), None).admin_key == "mine"
    assert read_options(parse(), "http://elsewhere").admin_key == ""
