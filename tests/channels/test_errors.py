import pytest

from channels.errors import CLOSE_CODES, ERRORS, ErrorCode, PlauditError, worth_retrying

CONTRACT = {
    "invalid": (400, False),
    "unauthorized": (401, False),
    "forbidden": (403, False),
    "voting_closed": (403, False),
    "unknown_board": (404, False),
    "unknown_item": (404, False),
    "no_ballot": (404, False),
    "already_voted": (409, False),
    "exists": (409, False),
    "too_large": (413, False),
    "quota_exceeded": (429, False),
    "too_fast": (429, True),
    "overloaded": (503, True),
    "internal": (500, True),
}


def test_the_table_is_the_contracts() -> None:
    assert {code: (kind.status, kind.temporary) for code, kind in ERRORS.items()} == CONTRACT
    assert set(CONTRACT) == set(ErrorCode.__args__)  # type: ignore[attr-defined]


def test_an_error_knows_its_row() -> None:
    error = PlauditError("overloaded", "later", 500)
    assert (error.code, error.status, error.temporary, error.retry_after_ms) == ("overloaded", 503, True, 500)
    assert str(error) == "overloaded: later"


def test_an_error_without_words_has_its_title() -> None:
    assert PlauditError("exists").message == "That name is taken"


def test_close_codes_are_the_contracts() -> None:
    assert set(CLOSE_CODES) == {1001, 1009, 1012, 1013, 4400, 4401, 4408, 4409, 4429}


@pytest.mark.parametrize(
    ("code", "retry"), [(4400, False), (4401, False), (4408, True), (4429, True), (1012, True), (1006, True)]
)
def test_only_what_cannot_get_better_is_not_retried(code: int, retry: bool) -> None:
    assert worth_retrying(code) is retry
