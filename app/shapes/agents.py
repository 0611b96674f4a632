"""Agents and their keys."""

from __future__ import annotations

from msgspec import Struct

from app.shapes.common import Name
from storage.types import Tier


class NewAgent(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to vote."""

    agent_id: Name
    tier: Tier


class Issued(Struct):
    """A key and whose it is. `api_key` is told this once; `key_id` serves to revoke it."""

    agent_id: str
    tier: Tier
    key_id: int
    api_key: str


class NewKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key needs nothing said of it."""
