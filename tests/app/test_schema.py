"""Schemathesis over the served OpenAPI document: every answer as documented, whatever is asked.

`PLAUDIT_SCHEMA_EXAMPLES=1000` makes so many examples of each operation and kind instead of a handful.
"""

import asyncio
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from tests.app.running import http_client
from tests.app.sockets import Stage

EXAMPLES = int(os.environ.get("PLAUDIT_SCHEMA_EXAMPLES", "3"))

schemathesis.checks.load_all_checks()
CHECKS: list[Any] = list(schemathesis.checks.CHECKS.get_all())

# Rules that a schema does not hold, such as that a board closes after it opens, refuse what fits it; and of many votes
# each is refused by itself, in an answer that tells of all.
LEFT_OUT = {
    ("POST", "/api/v1/vote"): "positive_data_acceptance",
    ("POST", "/api/v1/votes"): "negative_data_rejection",
    ("POST", "/api/v1/boards"): "positive_data_acceptance",
    ("GET", "/api/v1/boards/{board}"): "positive_data_acceptance",
    ("GET", "/api/v1/boards/{board}/items/{item_id}"): "positive_data_acceptance",
    ("GET", "/api/v1/boards/{board}/history"): "positive_data_acceptance",
}

ENDLESS = "/api/v1/boards/{board}/events"


def _ask(cases: SearchStrategy[Any], url: str, checks: list[Any]) -> None:
    @seed(4)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=url, timeout=10, checks=checks)

    ask()


def explore(document: dict[str, Any], url: str, keys: dict[str, str]) -> int:
    """Asks for everything in every way; answers how many operations there were."""
    auth = {"openapi": {kind: {"bearer": key} for kind, key in keys.items()}}
    config = SchemathesisConfig.from_dict({"auth": auth})
    schema = schemathesis.openapi.from_dict(document, config=config)
    explored = 0
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # it fails where the document is none
        if operation.path == ENDLESS:
            continue
        left_out = LEFT_OUT.get((operation.method.upper(), operation.path))
        checks = [check for check in CHECKS if check.__name__ != left_out]
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _ask(operation.as_strategy(generation_mode=mode), url, checks)
            except Unsatisfiable:
                # There is nothing wrong that one could ask of a call without parameters.
                assert (mode, operation.definition.raw["parameters"]) == (GenerationMode.NEGATIVE, [])
        explored += 1
    return explored


@pytest.mark.filterwarnings("default")
async def test_every_answer_is_as_documented(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # One of the checks tries keys that are none.
    monkeypatch.setattr("app.guard.PER_MINUTE", 1_000_000)
    keys = {"agent": await stage.key(), "admin": stage.where.admin_key}
    await stage.board("contest", kind="points")
    async with http_client() as http:
        document = (await http.get(f"{stage.url}/schema/openapi.json")).json()
    explored = await asyncio.to_thread(explore, document, stage.url, keys)
    assert explored == sum(len(item) for item in document["paths"].values()) - 1
