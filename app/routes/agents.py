"""Agents and their keys, made and ended by the tenant's admin key."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import delete, post
from litestar.response.base import ASGIResponse

from app.calls import NOT_STORED, Answer, Call, Request, answer, check_distinct, path_part, read_objects, services_of
from app.security import admin_of
from app.services import Services
from app.shapes.agents import Issued, NewAgent, NewKey
from channels.errors import PlauditError
from storage.directory import IssuedKey, hash_secret
from storage.errors import Exists

_ISSUED: Final = {"agent_id": "critic-7", "tier": "free", "key_id": 17, "api_key": "plaudit_..."}
_AGENT: Final = {"agent_id": "critic-7", "tier": "free"}
_MAX_KEY: Final = 2**31 - 1

_decode_agents = msgspec.json.Decoder[Any](NewAgent | list[NewAgent]).decode
_decode_keys = msgspec.json.Decoder[Any](NewKey | list[NewKey]).decode


@post(
    "/api/v1/agents",
    call=Call(
        tag="administration",
        summary="Makes an agent and its first key",
        text="One agent or an array of up to 1,000, made all or not at all. The key is told this once.",
        key="admin",
        body=NewAgent | list[NewAgent],
        examples={"one": _AGENT, "two": [_AGENT, {"agent_id": "critic-8", "tier": "pro"}]},
        answers={201: Answer("Agents and keys, in the same order.", Issued | list[Issued], _ISSUED)},
        errors=("invalid", "forbidden", "exists", "too_large"),
    ),
)
async def add_agents(request: Request) -> ASGIResponse:
    """New agents."""
    services, tenant = services_of(request), await admin_of(request)
    given, many = await read_objects(request, _decode_agents)
    check_distinct([agent.agent_id for agent in given])
    try:
        keys = await services.directory.add_agents(tenant, [(agent.agent_id, agent.tier) for agent in given])
    except Exists as error:
        raise PlauditError("exists", "An agent of that id is there already") from error
    issued = [_issued(services, key) for key in keys]
    return answer(issued if many else issued[0], 201)


@post(
    "/api/v1/agents/{agent_id:str}/keys",
    call=Call(
        tag="administration",
        summary="Makes a further key of an agent",
        text="The body may be empty; an array of n empty objects makes n keys.",
        key="admin",
        body=NewKey | list[NewKey],
        body_needed=False,
        examples={"one": {}},
        answers={201: Answer("The key, told this once.", Issued | list[Issued], _ISSUED)},
        errors=("invalid", "forbidden", "unknown_item", "too_large"),
    ),
)
async def add_keys(request: Request) -> ASGIResponse:
    """Further keys. A key that was made before a later one failed is told to nobody, and so is as good as none."""
    services, tenant = services_of(request), await admin_of(request)
    agent_id = path_part(request, "agent_id")
    wanted, many = await read_objects(request, _decode_keys) if await request.body() else ([NewKey()], False)
    issued = [_issued(services, await services.directory.add_agent_key(tenant, agent_id)) for _ in wanted]
    return answer(issued if many else issued[0], 201)


@delete(
    "/api/v1/agents/{agent_id:str}/keys/{key_id:str}",
    status_code=200,  # of the handler's annotation, which Litestar checks; the response says 204 itself
    call=Call(
        tag="administration",
        summary="Revokes a key",
        text="At once, on every server; websockets that use it are closed.",
        key="admin",
        answers={204: Answer("The key is void.")},
        errors=("forbidden", "unknown_item"),
    ),
)
async def revoke_key(request: Request) -> ASGIResponse:
    """Ends a key."""
    services, tenant = services_of(request), await admin_of(request)
    key = path_part(request, "key_id")
    if not (key.isascii() and key.isdigit() and int(key) <= _MAX_KEY):
        raise PlauditError("unknown_item", "There is no such key")
    services.revoked(await services.directory.revoke_key(tenant, path_part(request, "agent_id"), int(key)))
    return ASGIResponse(status_code=204, headers=dict(NOT_STORED))


def _issued(services: Services, key: IssuedKey) -> Issued:
    services.registry.issued(hash_secret(key.secret))
    return Issued(key.agent.agent_id, key.agent.tier, key.key, key.secret)


ROUTES: Final = (add_agents, add_keys, revoke_key)
