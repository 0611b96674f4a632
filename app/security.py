"""Who calls: API keys, and what each kind of key may do."""

from __future__ import annotations

from typing import NamedTuple

from app.calls import Request, header, services_of
from app.express import withhold
from channels.errors import PlauditError
from storage.directory import Credential
from storage.types import Agent, Tenant


class Caller(NamedTuple):
    """An agent and its tenant."""

    tenant: Tenant
    agent: Agent


async def credential_of(request: Request) -> Credential | None:
    """Who the call's key speaks for, None without a key. Raises PlauditError `unauthorized`."""
    given = header(request, b"authorization")
    if given is None:
        return None
    scheme, _, secret = given.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise PlauditError("unauthorized", 'The Authorization header must be "Bearer" and an API key')
    address = request.client.host if request.client else ""
    registry = services_of(request).registry
    found = await registry.credential(secret, address)
    if registry.doubts_key(found.key_hash):
        withhold(request)
    return found


async def tenant_of(request: Request) -> Tenant:
    """Whose data the call is about: the key's tenant, else the one that `?tenant=` names, else the default one.

    Raises PlauditError `unauthorized`, `unknown_board`, or `invalid` where several are named; ArchiveUnavailable where
    nobody can tell.
    """
    credential = await credential_of(request)
    if credential is not None:
        return credential.tenant
    given = request.query_params.getall("tenant", [])
    if len(given) > 1:
        raise PlauditError("invalid", "`tenant` is given twice")
    return await services_of(request).registry.tenant(given[0] if given and given[0] else None)


async def agent_of(request: Request) -> Caller:
    """The agent that calls. Raises PlauditError `unauthorized`, or `forbidden` for an admin key."""
    credential = await _needed(request)
    if credential.agent is None:
        raise PlauditError("forbidden", "An admin key does not vote: this call needs an agent's key")
    return Caller(credential.tenant, credential.agent)


async def admin_of(request: Request) -> Tenant:
    """The tenant whose admin key calls. Raises PlauditError `unauthorized`, or `forbidden` for an agent's key."""
    credential = await _needed(request)
    if credential.agent is not None:
        raise PlauditError("forbidden", "This call needs the tenant's admin key")
    return credential.tenant


async def _needed(request: Request) -> Credential:
    credential = await credential_of(request)
    if credential is None:
        raise PlauditError("unauthorized", 'This call needs a key: "Authorization: Bearer <api key>"')
    return credential
