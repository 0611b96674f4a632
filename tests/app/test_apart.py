"""Tenants are worlds apart: whatever a key of one says of another's names is answered as if they were nobody's."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from tests.app.running import http_client
from tests.app.sockets import Client, Stage

THEIRS = {"board": "spring-24", "item": "velvet_7", "agent": "critic-7"}
NOBODYS = {"board": "summer-42", "item": "basalt_4", "agent": "writer-4"}
TITLE, REMARK = "A title of theirs", "a remark of theirs"


class Call(NamedTuple):
    """An operation of the served document."""

    method: str
    path: str
    security: list[dict[str, Any]]

    def url(self, names: dict[str, str], key_id: int) -> str:
        """Its address, about these names."""
        known = {"board": names["board"], "item_id": names["item"], "id": names["item"], "agent_id": names["agent"]}
        path = re.sub(r"{(\w+)}", lambda found: {**known, "key_id": str(key_id)}[found[1]], self.path)
        if self.method == "DELETE" and self.path.endswith("/vote"):
            return f"{path}?board={names['board']}&item_id={names['item']}"
        return path

    def body(self, names: dict[str, str]) -> Any:
        """A good body, about these names."""
        song = {"id": names["item"], "title": "x", "artist": "x", "platform": "x", "platform_url": "https://x.example"}
        board = {"slug": names["board"], "title": "x", "item_type": "song", "ballot": {"kind": "like"}}
        vote = {"board": names["board"], "item_id": names["item"], "vote": "up"}
        bodies: dict[str, Any] = {
            "/api/v1/vote": vote,
            "/api/v1/votes": {"votes": [vote, vote | {"board": "songs"}, vote | {"agent_id": names["agent"]}]},
            "/api/v1/agents": {"agent_id": names["agent"], "tier": "free"},
            "/api/v1/agents/{agent_id}/keys": {},
            "/api/v1/songs": song,
            "/api/v1/tools": {"id": names["item"], "name": "x", "website": "https://x.example"},
            "/api/v1/boards": board,
            "/api/v1/boards/{board}/items": {"item_id": names["item"]},
        }
        return bodies[self.path] if self.method == "POST" else None


class Scene(NamedTuple):
    """A server with two tenants, and the keys of the one that is curious about `default`."""

    stage: Stage
    http: httpx.AsyncClient
    their_key: str
    their_key_id: int
    admin: str
    agent: str

    async def calls(self) -> list[Call]:
        document = (await self.http.get("/schema/openapi.json")).json()
        # Making things comes last, and boards before what is put on them comes last of all.
        return sorted(_calls(document), key=lambda call: (call.method == "POST", call.path.count("{"), call.path))

    async def ask(self, call: Call, names: dict[str, str], key: str | None, **query: str) -> tuple[int, str]:
        """Status and body, with whatever differs from call to call taken out."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        url = call.url(names, self.their_key_id)
        response = await self.http.request(
            call.method, url, json=call.body(names), headers=headers, params=httpx.URL(url).params.merge(query)
        )
        return response.status_code, alike(response.text, names)


def alike(text: str, names: dict[str, str]) -> str:
    """A text without the names that were asked for, numbers and keys."""
    for kind, name in names.items():
        text = text.replace(name, kind)
    # A moment at a full second has no fraction.
    return re.sub(r"\d+(\.\d+)?", "0", re.sub(r"plaudit_[\w-]+", "key", text))


def _calls(document: dict[str, Any]) -> Iterator[Call]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if path.startswith("/api/"):
                yield Call(method.upper(), path, operation.get("security", []))


@asynccontextmanager
async def scene(stage: Stage) -> AsyncIterator[Scene]:
    made = await stage.admin("/agents", {"agent_id": THEIRS["agent"], "tier": "enterprise"})
    about = {"artist": TITLE, "platform": "suno", "platform_url": "https://suno.example/song"}
    await stage.admin("/songs", {"id": THEIRS["item"], "title": TITLE, **about})
    await stage.board(THEIRS["board"])
    await stage.admin(f"/boards/{THEIRS['board']}/items", {"item_id": THEIRS["item"]})
    async with stage.agent(made["api_key"]) as critic:
        for board in ("songs", THEIRS["board"]):
            assert (await critic.vote(THEIRS["item"], board=board, comment=REMARK))["status"] == "applied"
    admin = await stage.tenant("guest")
    async with http_client(base_url=stage.url, timeout=10) as http:
        keys = {"authorization": f"Bearer {admin}"}
        agent = (await http.post("/api/v1/agents", json={"agent_id": "spy", "tier": "free"}, headers=keys)).json()
        yield Scene(stage, http, made["api_key"], made["key_id"], admin, agent["api_key"])


async def standings(stage: Stage) -> list[Any]:
    """How their boards stand; their versions are no part of it, since those rise with every full minute."""
    return [(await stage.ranking(board))["entries"] for board in ("songs", THEIRS["board"])]


async def test_no_call_tells_a_key_of_another_tenant_anything(stage: Stage) -> None:
    async with scene(stage) as seen:
        before = await standings(stage)
        calls = await seen.calls()
        assert len(calls) > 20
        for call in calls:
            for key in (seen.agent, seen.admin):
                theirs = await seen.ask(call, THEIRS, key)
                assert theirs == await seen.ask(call, NOBODYS, key), call
                if call.method == "GET":
                    assert theirs == await seen.ask(call, THEIRS, key, tenant="default"), call
                assert theirs[0] < 500
                assert TITLE not in theirs[1]
                assert REMARK not in theirs[1]
        assert await standings(stage) == before
        me = await seen.http.get("/api/v1/me", headers={"authorization": f"Bearer {seen.their_key}"})
        assert me.json()["agent_id"] == THEIRS["agent"]


async def test_a_key_of_another_tenant_cannot_be_revoked(stage: Stage) -> None:
    async with scene(stage) as seen:
        for agent in ("spy", THEIRS["agent"]):
            refused = await seen.http.delete(
                f"/api/v1/agents/{agent}/keys/{seen.their_key_id}", headers={"authorization": f"Bearer {seen.admin}"}
            )
            assert refused.status_code == 404
        me = await seen.http.get("/api/v1/me", headers={"authorization": f"Bearer {seen.their_key}"})
        assert me.status_code == 200


async def test_keys_do_what_they_are_for_and_no_more(stage: Stage) -> None:
    async with scene(stage) as seen:
        checked = 0
        for call in await seen.calls():
            for kind, wrong in (("admin", seen.agent), ("agent", seen.admin)):
                if call.security == [{kind: []}]:
                    assert (await seen.ask(call, NOBODYS, None))[0] == 401
                    status, body = await seen.ask(call, NOBODYS, wrong)
                    assert (status, '"forbidden"' in body) == (403, True), call
                    checked += 1
        assert checked > 10


async def _said(client: Client, names: dict[str, str]) -> list[str]:
    """Every message about these names, with what it was answered."""
    about = {"board": names["board"], "item": names["item"]}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("vote", about | {"vote": "up"}),
        ("vote", about | {"board": "songs", "value": 1, "comment": names["agent"]}),
        ("retract", about),
        ("retract", about | {"board": "songs"}),
        ("subscribe", {"board": names["board"]}),
        ("subscribe", {"board": names["board"], "window": "day", "items": [names["item"]]}),
        ("subscribe", {"board": "songs", "items": [names["item"]]}),
        ("subscribe", {"board": "songs", "around": names["item"], "span": 5}),
        ("subscribe", {"board": names["board"], "epoch": "x", "version": 1}),
        ("unsubscribe", {"sub": 1}),
        ("ping", {}),
    ]
    return [alike(repr(await client.ask(kind, **fields)), names) for kind, fields in asked]


@pytest.mark.parametrize("hello", [{}, {"tenant": "default"}])
async def test_no_message_tells_a_key_of_another_tenant_anything(stage: Stage, hello: dict[str, str]) -> None:
    async with scene(stage) as seen, stage.agent(seen.their_key) as critic:
        items = ["s1", "s2"]
        for key in (seen.agent, seen.admin):
            async with stage.connect() as spy:
                assert (await spy.ask("hello", token=key, **hello))["type"] == "welcome"
                theirs = await _said(spy, THEIRS)
                assert theirs == await _said(spy, NOBODYS)
                assert all("error" in answer for answer in theirs[:-1])
                # It watches its own board of the same name, and hears nothing of what happens on theirs.
                assert (await spy.ask("subscribe", board="songs"))["entries"] == []
                watched = await critic.ask("subscribe", board="songs")
                changed = await critic.vote(items.pop())
                assert changed["status"] == "applied"
                while (await critic.next())["type"] != "delta":
                    pass
                await spy.send({"type": "ping", "id": "end"})
                assert (await spy.next())["type"] == "pong"
                await critic.ask("unsubscribe", sub=watched["sub"])
