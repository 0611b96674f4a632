"""Secrets stay where they belong, and what somebody wrote stays what it is wherever it is shown."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from app import logs
from app.settings import Settings
from tests.app.conftest import House, song, tool
from tests.app.contract import refusal
from tests.app.running import http_client
from tests.app.sockets import Stage

HOSTILE = [
    "'; drop table votes; --", '" or ""="', "$1 %s {0} {settings}", "]] redis.call('flushall') --", "a\nlevel=error b",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{shard}", "../../etc/passwd", "\x1b[2J", "\u202e",
    "${jndi:ldap://x}", "\\", "'", "*", "a:b|c", "\U0001d54a",
]  # fmt: skip


@pytest.fixture(params=["console", "json"])
def logging_as_served(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Logs as `plaudit serve` writes them."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(Settings(log_format=request.param, log_level="debug"))
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = before


async def test_no_key_is_in_an_answer_the_metrics_or_the_log(
    stage: Stage, logging_as_served: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    agent, admin = await stage.key(), stage.where.admin_key
    guess = "plaudit_a-guess-that-is-none"
    said = ""
    async with http_client(base_url=stage.url) as http:
        for key in (agent, admin, guess):
            headers = {"authorization": f"Bearer {key}"}
            for method, path in (("GET", "/api/v1/me"), ("POST", "/api/v1/vote"), ("GET", "/api/v1/nothing")):
                said += (await http.request(method, path, headers=headers, content=b"{")).text
            async with stage.connect() as client:
                await client.send({"type": "hello", "id": 1, "token": key})
                said += repr(await client.next())
        monkeypatch.setattr(stage.services.registry, "boards", broken)
        failed = await http.get("/api/v1/boards", headers={"authorization": f"Bearer {agent}"})
        assert failed.status_code == 500
        said += failed.text + (await http.get("/metrics")).text
        for path in ("/health/ready", "/docs", "/schema/openapi.json", "/"):
            said += (await http.get(path)).text
    log = "".join(capfd.readouterr())
    assert "request failed" in log
    for key in (agent, admin, guess):
        assert key not in said
        assert key not in log


async def test_keys_are_stored_as_hashes(stage: Stage) -> None:
    agent = await stage.key("spy-to-be")
    connection = await asyncpg.connect(stage.where.database_url)
    try:
        names = await connection.fetchval("select array_agg(tablename) from pg_tables where schemaname = 'public'")
        kept = [str(await connection.fetch(f"select * from {name}")) for name in names]  # noqa: S608  # our own tables
    finally:
        await connection.close()
    assert len(kept) > 5
    for key in (agent, stage.where.admin_key):
        assert not any(key in rows for rows in kept)
    assert any("spy-to-be" in rows for rows in kept)


def test_settings_are_shown_without_secrets() -> None:
    settings = Settings(
        admin_key="an-admin-key-of-mine", database_url="postgres://u:pw1@h/d", redis_url="redis://:pw2@h"
    )
    shown = repr(settings)
    assert not re.search("an-admin-key|pw1|pw2", shown)


async def test_what_is_stored_comes_back_as_it_was(house: House) -> None:
    ids = [text for text in HOSTILE if text.isprintable() and "/" not in text and text not in {"\\", "*"}]
    songs = [song(f"i{place} {text}", title=text, artist=text, genre=text) for place, text in enumerate(ids)]
    assert (await house.admin.post("/api/v1/songs", songs)).status_code == 201
    tools = [tool(f"t{place}", name=text, category=text, features=[text]) for place, text in enumerate(HOSTILE)]
    made = await house.admin.post("/api/v1/tools", tools)
    assert made.status_code in {201, 400}
    votes: list[dict[str, Any]] = [
        {"board": "songs", "item_id": about["id"], "vote": "up", "comment": about["title"]} for about in songs
    ]
    results = (await house.enterprise.post("/api/v1/votes", {"votes": votes})).json()["results"]
    assert [result["status"] for result in results] == ["applied"] * len(votes)
    entries = (await house.door.get("/api/v1/boards/songs?limit=1000")).json()["entries"]
    shown = {entry["item_id"]: (entry["title"], entry["artist"], entry["score"]) for entry in entries}
    assert [shown[about["id"]] for about in songs] == [(about["title"], about["artist"], 1) for about in songs]
    await house.services.caught_up(house.tenant.shard)
    kept = (await house.enterprise.get("/api/v1/me/votes?limit=1000")).json()["votes"]
    assert {vote["item_id"]: vote["comment"] for vote in kept} == {vote["item_id"]: vote["comment"] for vote in votes}
    assert (await house.door.get("/api/v1/songs")).json()["total"] == len(songs) + 2


async def test_what_is_asked_for_is_only_a_name(house: House) -> None:
    total = (await house.door.get("/api/v1/songs")).json()["total"]
    for text in HOSTILE:
        found = await house.door.get("/api/v1/songs", params={"q": text})
        assert (found.status_code, found.headers["content-type"]) == (200, "application/json")
        for path, query in (("/api/v1/boards", {"tenant": text}), ("/api/v1/top/daily", {"item_type": text})):
            status, _ = refusal(await house.door.get(path, params=query))
            assert status in {400, 404}
        vote = {"board": text, "item_id": text, "vote": "up", "comment": text}
        assert refusal(await house.free.post("/api/v1/vote", vote))[0] in {400, 404}
    assert (await house.door.get("/api/v1/songs")).json()["total"] == total


async def test_the_page_runs_nothing_but_its_own_scripts(stage: Stage) -> None:
    async with http_client(base_url=stage.url) as http:
        for path in ("/", "/boards/songs", "/docs", "/api/v1/boards", "/api/v1/nothing"):
            policy = (await http.get(path)).headers["content-security-policy"]
            assert re.search(r"default-src '(self|none)'", policy), path
            assert "script-src" not in policy or "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    scripts = Path(__file__).parents[2].glob("app/web/**/*.js")
    texts = await asyncio.to_thread(lambda: {path.name: path.read_text() for path in scripts})
    assert len(texts) > 3
    for name, text in texts.items():
        # Whatever comes from the server is shown as text, never as markup.
        assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b\s*[=(]", text), name
