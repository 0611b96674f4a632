"""What our own tools ask of a server's HTTP API with a tenant's admin key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx

_AT_ONCE = 1000
"""Objects of one request, and entries of one page, at most."""

_TIMEOUT = httpx.Timeout(30.0, pool=None)


class AdminError(Exception):
    """The server refused a call. The message is one sentence."""


class Issued(NamedTuple):
    """A key, told this once, and the number by which to revoke it."""

    key_id: int
    api_key: str


class Standing(NamedTuple):
    """An entry of a board's ranking."""

    rank: int
    item_id: str
    title: str
    artist: str
    score: float


class Admin:
    """The calls of a tenant's administration. Each raises AdminError, or ConnectionError where no server answers."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"authorization": f"Bearer {key}"},
            limits=httpx.Limits(max_connections=8),
            timeout=_TIMEOUT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def add(self, path: str, objects: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Adds objects; answers what the server says of each, None for one that exists already and is kept."""
        answers: list[Any] = []
        for start in range(0, len(objects), _AT_ONCE):
            answers += await self._add(path, objects[start : start + _AT_ONCE])
        return answers

    async def _add(self, path: str, objects: Sequence[Mapping[str, Any]]) -> list[Any]:
        answer = await self._call("POST", path, json=objects)
        if answer.status_code == HTTPStatus.CREATED:
            made: list[Any] = answer.json()
            return made
        conflict = answer.status_code == HTTPStatus.CONFLICT
        if len(objects) > 1 and (conflict or answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            # All or none of a request is taken: halving finds those that exist in few steps.
            middle = len(objects) // 2
            halves = await asyncio.gather(self._add(path, objects[:middle]), self._add(path, objects[middle:]))
            return [*halves[0], *halves[1]]
        if conflict:
            return [None]
        raise _refusal(answer)

    async def agent_keys(self, agents: Sequence[str]) -> dict[str, Issued]:
        """A key for each agent: a further one of those that exist; the others are made, of the tier enterprise."""
        issued = await self.add("/agents", [{"agent_id": agent, "tier": "enterprise"} for agent in agents])
        further = [agent for agent, answer in zip(agents, issued, strict=True) if answer is None]
        keys = await asyncio.gather(*map(self._further_key, further))
        first = {answer["agent_id"]: _issued(answer) for answer in issued if answer is not None}
        return first | dict(zip(further, keys, strict=True))

    async def _further_key(self, agent: str) -> Issued:
        answer = await self._call("POST", f"/agents/{quote(agent, safe='')}/keys")
        if answer.status_code != HTTPStatus.CREATED:
            raise _refusal(answer)
        return _issued(answer.json())

    async def revoke(self, agent: str, key_id: int) -> None:
        """Ends one key of an agent."""
        answer = await self._call("DELETE", f"/agents/{quote(agent, safe='')}/keys/{key_id}")
        if answer.status_code != HTTPStatus.NO_CONTENT:
            raise _refusal(answer)

    async def boards(self) -> list[dict[str, Any]]:
        """The boards of the tenant and their rules."""
        answer = await self._call("GET", "/boards")
        if answer.status_code != HTTPStatus.OK:
            raise _refusal(answer)
        return list(answer.json()["boards"])

    async def ranking(self, board: str) -> list[Standing]:
        """The whole board, best first."""
        found: list[Standing] = []
        while True:
            path = f"/boards/{quote(board, safe='')}"
            answer = await self._call("GET", path, params={"limit": _AT_ONCE, "offset": len(found)})
            if answer.status_code != HTTPStatus.OK:
                raise _refusal(answer)
            entries = answer.json()["entries"]
            found += [
                Standing(entry["rank"], entry["item_id"], entry["title"], entry.get("artist", ""), entry["score"])
                for entry in entries
            ]
            if len(entries) < _AT_ONCE:
                return found

    async def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConnectionError(f"{self._url} can't be reached: {str(error) or type(error).__name__}") from error


def _issued(answer: Mapping[str, Any]) -> Issued:
    return Issued(answer["key_id"], answer["api_key"])


def _refusal(answer: httpx.Response) -> AdminError:
    """The server's own words, where it has some."""
    request = answer.request
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    return AdminError(f"The server refused {request.method} {request.url.path} with {answer.status_code}: {detail}.")
