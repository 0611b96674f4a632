"""What those who run a server ask it."""

import re

import pytest

from app import metrics
from app.services import wall_clock
from storage.errors import ArchiveUnavailable, StoreUnavailable
from tests.app.conftest import House


async def test_all_is_well(house: House) -> None:
    # The first vote finds the live store, if nothing has before.
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up"})
    assert (await house.door.get("/health/live")).json()["status"] == "ok"
    ready = await house.door.get("/health/ready")
    assert ready.status_code == 200
    assert set(ready.json()["checks"].values()) == {None}


async def test_a_store_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise ArchiveUnavailable("PostgreSQL does not answer")

    monkeypatch.setattr(house.services.archive, "ping", away)
    ready = await house.door.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["status"] == "unavailable"
    assert ready.json()["checks"]["archive"] == "PostgreSQL does not answer"
    assert ready.json()["checks"]["live_store"] is None
    assert (await house.door.get("/health/live")).status_code == 200


async def test_postgresql_is_one_of_yesterday(house: House) -> None:
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up"})
    await house.services.caught_up(house.tenant.shard)
    async with house.services.archive.connection() as connection:
        await connection.execute("update flush_positions set seq = 0")
    ready = await house.door.get("/health/ready")
    assert ready.status_code == 503
    assert "plaudit rebuild --from-archive" in ready.json()["checks"]["archive"]
    # What is there is shown.
    board = await house.door.get("/api/v1/boards/songs")
    assert board.json()["entries"][0]["score"] == 1


async def test_metrics(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    up = {"item_type": "song", "item_id": "s1", "vote": "up"}
    await house.free.post("/api/v1/votes", {"votes": [up, up, up | {"item_id": "?"}]})
    await house.services.caught_up(house.tenant.shard)
    response = await house.door.get("/metrics")
    lines = response.text.splitlines()
    assert 'plaudit_votes_total{status="applied"} 1.0' in lines
    assert 'plaudit_votes_total{status="unchanged"} 1.0' in lines
    assert 'plaudit_votes_total{status="unknown_item"} 1.0' in lines
    assert "plaudit_batch_votes_sum 3.0" in lines
    assert 'plaudit_ack_seconds_count{door="http"} 1.0' in lines
    assert 'plaudit_connections{kind="viewer"} 0.0' in lines
    assert "plaudit_votes_lost_total 0.0" in lines
    assert "plaudit_vote_to_score_seconds_count 1.0" in lines
    assert any(line.startswith("plaudit_build_info{") for line in lines)

    assert response.headers["content-type"] == metrics.MEDIA_TYPE

    async def away(shard: int) -> None:
        raise StoreUnavailable(f"the store of shard {shard} is away")

    monkeypatch.setattr(house.services.live, "position", away)
    text = (await house.door.get("/metrics")).text
    assert "plaudit_votes_total" in text
    assert "plaudit_backlog_events{" not in text


async def test_what_waits_for_postgresql_is_shown(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = house.tenant.shard
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s1", "vote": "up"})
    await house.services.caught_up(shard)
    await house.services.supervisor.stop(f"flusher {shard}")
    await house.free.post("/api/v1/vote", {"item_type": "song", "item_id": "s2", "vote": "up"})
    monkeypatch.setattr(house.services.readiness, "_now", lambda: wall_clock() + 60_000)
    backlog = (await house.door.get("/health/ready")).json()["backlog"][str(shard)]
    assert backlog["events"] == 1
    assert 60 <= backlog["seconds"] < 120
    text = (await house.door.get("/metrics")).text
    assert f'plaudit_backlog_events{{shard="{shard}"}} 1.0' in text
    shown = re.search(rf'plaudit_backlog_seconds\{{shard="{shard}"\}} (\S+)', text)
    assert shown is not None
    assert 60 <= float(shown[1]) < 120
