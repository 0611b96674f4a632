"""A server can be found by its data folder, for as long as it serves."""

from pathlib import Path

import pytest

from app.address import address_in, kept_address, local_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104  # as a setting
        ("::", "http://[::1]:8000"),
        ("fd00::1", "http://[fd00::1]:8000"),
        ("plaudit.example", "http://plaudit.example:8000"),
    ],
)
def test_where_this_machine_reaches_a_server(host: str, url: str) -> None:
    assert local_url(host, 8000) == url


def test_an_address_is_there_while_its_server_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert address_in(data) is None
    with kept_address(data, "http://one"):
        assert address_in(data) == "http://one"
    assert list(data.iterdir()) == []


def test_the_later_of_two_is_the_one_that_is_found(tmp_path: Path) -> None:
    first = kept_address(tmp_path, "http://first")
    with first:
        later = kept_address(tmp_path, "http://later")
        later.__enter__()
    assert address_in(tmp_path) == "http://later"
    later.__exit__(None, None, None)
    assert address_in(tmp_path) is None


def test_a_folder_that_can_not_be_written_to_is_no_reason_not_to_serve(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with kept_address(tmp_path / "file" / "data", "http://one"):
        assert address_in(tmp_path / "file" / "data") is None
