"""Schemathesis over the served OpenAPI document: every answer as documented, whatever is asked.

`PLAUDIT_SCHEMA_EXAMPLES=1000` makes so many examples of each operation and kind instead of a handful.
"""

import asyncio
import os
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from tests.app.sockets import Stage

EXAMPLES = int(os.environ.get("PLAUDIT_SCHEMA_EXAMPLES", "3"))

# Those left out: positive_data_acceptance, as an id that fits its schema may be nobody's; ignored_auth and
# use_after_free, which tests of their own hold over more than one request.
CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
]

ENDLESS = "/api/v1/boards/{board}/events"


def _ask(cases: SearchStrategy[Any], url: str, key: str) -> None:
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
        response = case.call(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=10)
        case.validate_response(response, checks=CHECKS)

    ask()


def explore(document: dict[str, Any], url: str, keys: dict[str, str]) -> int:
    """Asks for everything in every way; answers how many operations there were."""
    schema = schemathesis.openapi.from_dict(document)
    explored = 0
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # it fails where the document is none
        if operation.path == ENDLESS:
            continue
        needed = operation.definition.raw.get("security", [])
        key = next((keys[kind] for way in needed for kind in way), keys["agent"])
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _ask(operation.as_strategy(generation_mode=mode), url, key)
            except Unsatisfiable:
                # There is nothing wrong that one could ask of a call without parameters.
                assert (mode, operation.definition.raw["parameters"]) == (GenerationMode.NEGATIVE, [])
        explored += 1
    return explored


@pytest.mark.filterwarnings("default")
async def test_every_answer_is_as_documented(stage: Stage) -> None:
    keys = {"agent": await stage.key(), "admin": stage.where.admin_key}
    await stage.board("contest", kind="points")
    async with httpx.AsyncClient() as http:
        document = (await http.get(f"{stage.url}/schema/openapi.json")).json()
    explored = await asyncio.to_thread(explore, document, stage.url, keys)
    assert explored == sum(len(item) for item in document["paths"].values()) - 1
