"""HTTP calls of users, whose checks decide what Locust counts as a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from locust import FastHttpUser
from locust.contrib.fasthttp import ResponseContextManager

from loadtests.checks import CheckFailed
from loadtests.stage import Agent
from loadtests.users import Visitor

BOARD: Final = "/api/v1/boards/{board}"
STANDING: Final = "/api/v1/boards/{board}/items/{item}"


class Call:
    """One answer, to be checked."""

    def __init__(self, response: ResponseContextManager) -> None:
        self._response = response
        self.status = response.status_code

    def header(self, name: str) -> str:
        """A header's value; empty where there is none."""
        headers = self._response.headers
        return str(headers.get(name, "")) if headers is not None else ""

    def json(self, status: int) -> Any:
        """The body of an answer that has to have this status. Raises CheckFailed."""
        content = self._response.content or b""
        if self.status == 0:
            raise CheckFailed("no answer", str(getattr(self._response, "error", "")))
        if self.status != status:
            raise CheckFailed(f"answered by {self.status}", str(content[:300]))
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise CheckFailed("an answer that is not JSON", str(content[:300])) from error

    def problem(self, status: int, code: str) -> None:
        """Checks that this is the contract's error of that code. Raises CheckFailed."""
        found = self.json(status)["code"]
        if found != code:
            raise CheckFailed(f"refused as {found}")


class Caller(Visitor, FastHttpUser):
    """A user that calls as an agent."""

    abstract = True
    needs_key = True
    agent: Agent

    @contextmanager
    def calling(
        self,
        method: str,
        path: str,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Iterator[Call]:
        """Makes a call and gives its answer to the block, in which a CheckFailed is the call's failure.

        It appears as `name`, which is the path unless given.
        """
        sent = {"Authorization": f"Bearer {self.agent.key}"} | dict(headers or {})
        with self.client.request(
            method, path, name=name or path, catch_response=True, headers=sent, json=json
        ) as response:
            try:
                yield Call(response)
            except CheckFailed as error:
                self.report.tell(method, name or path, error)
                response.failure(error)
            else:
                response.success()
