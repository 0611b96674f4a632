"""One server's parts on stores of a test's own, and its HTTP door."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.http import create_app
from app.services import Services
from app.settings import Settings
from app.tenants import add_tenant
from storage.archive import Archive
from storage.directory import Directory
from storage.types import Tenant
from tests.app.contract import Contract, Door
from tests.app.running import install
from tests.app.sockets import OpenStage, Stage
from tests.app.sockets import opened as opened_stage


class House:
    """A running server with the tenant `default`, two songs (`s1`, `s2`), a tool (`t1`) and three agents."""

    def __init__(self, services: Services, door: Door, tenant: Tenant, admin_key: str) -> None:
        self.services = services
        self.door = door
        self.tenant = tenant
        self.admin = door.with_key(admin_key)
        self.free = self.pro = self.enterprise = door

    async def furnish(self) -> None:
        """Adds what the house is described with."""
        tiers = ("free", "pro", "enterprise")
        made = await self.admin.post("/api/v1/agents", [{"agent_id": tier, "tier": tier} for tier in tiers])
        keys = {agent["tier"]: agent["api_key"] for agent in made.json()}
        self.free, self.pro, self.enterprise = [self.door.with_key(keys[tier]) for tier in tiers]
        assert (await self.admin.post("/api/v1/songs", [song("s1"), song("s2")])).status_code == 201
        assert (await self.admin.post("/api/v1/tools", tool("t1"))).status_code == 201


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def open_house(database_url: str, redis_url: str, prefix: str) -> OpenHouse:
    """Opens a house with settings of the test's choice."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[House]:
        async with Archive(database_url) as archive:
            tenant, admin_key = await add_tenant(Directory(archive), "default", 1)
        chosen = Settings(prefix=prefix, shards=1, **settings)
        async with Services.open(chosen, redis_url, database_url) as services:
            # An error that nobody expected is answered like any other; the tests look at the answer.
            app: Any = create_app(services)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://plaudit.test") as client:
                contract = Contract((await client.get("/schema/openapi.json")).json())
                house = House(services, Door(client, contract), tenant, admin_key)
                await house.furnish()
                yield house

    return opened


@pytest_asyncio.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    """A house with the settings that an installation begins with."""
    async with open_house() as opened:
        yield opened


@pytest.fixture
def open_stage(database_url: str, redis_url: str, prefix: str) -> OpenStage:
    """Opens a whole server, both doors on a real port, with settings of the test's choice."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Stage]:
        where = await install(database_url, redis_url, prefix, **settings)
        async with opened_stage(where) as stage:
            yield stage

    return opened


@pytest_asyncio.fixture
async def stage(open_stage: OpenStage) -> AsyncIterator[Stage]:
    """A whole server with the settings that an installation begins with."""
    async with open_stage() as opened:
        yield opened


def song(song_id: str, **more: Any) -> dict[str, Any]:
    """A song as it is added."""
    about = {"title": f"Song {song_id}", "artist": f"Artist {song_id}", "platform": "suno"}
    return {"id": song_id, "platform_url": "https://suno.example/song"} | about | more


def tool(tool_id: str, **more: Any) -> dict[str, Any]:
    """A tool as it is added."""
    return {"id": tool_id, "name": f"Tool {tool_id}", "website": "https://tool.example"} | more
