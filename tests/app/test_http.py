"""What holds for every call: problems, headers, paths, origins."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from app import problems, serve
from tests.app.conftest import House, OpenHouse
from tests.app.contract import refusal
from tests.app.running import http_client
from tests.app.sockets import Stage


async def raw(house: House, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """An answer that the document says nothing of."""
    response = await house.door._client.request(method, path, headers=headers)
    return response.status_code, dict(response.headers), response.text


async def test_paths_and_methods_that_are_not_there(house: House) -> None:
    for path in ("/api/v1/nothing", "/api/v2/vote", "/api/v1/boards/songs/items"):
        response = await house.door._client.get(path)
        expected = (405, "invalid") if path.endswith("items") else (404, "invalid")
        assert refusal(response) == expected
    status, headers, _ = await raw(house, "PUT", "/api/v1/vote")
    assert status == 405
    assert {"POST", "DELETE"} <= set(headers["allow"].split(", "))


async def test_a_bug_is_told_to_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(house.services.registry, "boards", broken)
    monkeypatch.setattr(problems, "log", structlog.get_logger())
    with capture_logs() as logged:
        response = await house.door.get("/api/v1/boards")
    assert refusal(response) == (500, "internal")
    assert response.json()["temporary"] is True
    assert "hunter2" not in response.text
    assert [entry["event"] for entry in logged] == ["request failed"]


async def test_who_is_cut_off_by_a_stop_hears_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = asyncio.Event()

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.services.registry, "boards", never)
    monkeypatch.setattr(serve, "STOP_WITHIN", 0)
    async with http_client(base_url=stage.url) as http:
        asking = asyncio.create_task(http.get("/api/v1/boards"))
        await asked.wait()
        stage.stop.set()
        response = await asking
    assert refusal(response) == (500, "internal")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in caplog.text


async def test_every_answer_has_its_headers(house: House) -> None:
    for path in ("/api/v1/boards", "/api/v1/nothing", "/docs", "/metrics", "/"):
        _, headers, _ = await raw(house, "GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in headers
        assert "access-control-allow-origin" not in headers
    _, headers, _ = await raw(house, "GET", "/api/v1/boards", origin="https://elsewhere.example")
    assert "access-control-allow-origin" not in headers


async def test_origins_that_may(open_house: OpenHouse) -> None:
    origin = "https://page.example"
    async with open_house(origins=(origin,)) as house:
        status, headers, _ = await raw(house, "OPTIONS", "/api/v1/vote", origin=origin)
        assert status == 204
        assert headers["access-control-allow-origin"] == origin
        assert "Authorization" in headers["access-control-allow-headers"]
        _, headers, _ = await raw(house, "GET", "/api/v1/boards/songs", origin=origin)
        assert headers["access-control-allow-origin"] == origin
        assert {part.strip() for part in headers["vary"].split(",")} == {"Authorization", "Origin"}
        assert "ETag" in headers["access-control-expose-headers"]
        _, headers, _ = await raw(house, "GET", "/api/v1/nothing", origin=origin)
        assert headers["access-control-allow-origin"] == origin
        _, headers, _ = await raw(house, "GET", "/api/v1/boards/songs", origin="https://other.example")
        assert "access-control-allow-origin" not in headers
        assert "Origin" in headers["vary"]
