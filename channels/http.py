"""Plaudit for scripts: one call, one HTTP request, one answer as the contract has it (dicts of JSON).

An agent that votes often or watches a board is better off with `channels.client`.
"""

from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import quote

import httpx

from channels.casting import Vote, as_invalid
from channels.errors import ERRORS, PlauditError
from channels.protocol import DEFAULT_SPAN, Choice
from storage.types import Window


class PlauditHTTP:
    """The calls of an agent, or of a viewer where no key is given; `tenant` is for viewers.

    Each call raises PlauditError where the server refuses it, or where it can't be said to any, and ConnectionError
    where none answers within `timeout` seconds. So does making one where the key can be none: it is `invalid` then.
    May be used by several threads.
    """

    def __init__(self, url: str, key: str | None = None, tenant: str | None = None, *, timeout: float = 30.0) -> None:
        self._url = url
        with as_invalid():
            self._http = httpx.Client(
                base_url=f"{url.rstrip('/')}/api/v1",
                headers={"authorization": f"Bearer {key}"} if key else {},
                params={"tenant": tenant} if tenant and not key else {},
                timeout=timeout,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def vote(self, board: str, item: str, choice: Choice | int, comment: str | None = None) -> dict[str, Any]:
        """Casts a ballot; `choice` is "up", "down" or the ballot's integer value."""
        return self._call("POST", "/vote", json=_body(Vote(board, item, choice, comment)))

    def vote_many(self, votes: Iterable[Vote]) -> list[dict[str, Any]]:
        """Casts up to 1,000 ballots; a result for each, of `status` "error" with a `code` where it failed."""
        return list(self._call("POST", "/votes", json={"votes": list(map(_body, votes))})["results"])

    def retract(self, board: str, item: str) -> dict[str, Any]:
        """Takes a ballot back."""
        return self._call("DELETE", "/vote", params={"board": board, "item_id": item})

    def me(self) -> dict[str, Any]:
        """The agent of the key."""
        return self._call("GET", "/me")

    def boards(self) -> list[dict[str, Any]]:
        """The boards and their rules."""
        return list(self._call("GET", "/boards")["boards"])

    def ranking(self, board: str, *, window: Window = "all", limit: int = 50, offset: int = 0) -> dict[str, Any]:
        """Part of a board."""
        return self._call("GET", f"/boards/{_part(board)}", params={"window": window, "limit": limit, "offset": offset})

    def standing(self, board: str, item: str, *, window: Window = "all", around: int = DEFAULT_SPAN) -> dict[str, Any]:
        """One item of a board, among its neighbours."""
        path = f"/boards/{_part(board)}/items/{_part(item)}"
        return self._call("GET", path, params={"window": window, "around": around})

    def search(self, kind: str, text: str = "", *, limit: int = 50, offset: int = 0) -> dict[str, Any]:
        """Songs or tools (`kind` is "songs" or "tools") whose names are like the text; all of them without one."""
        return self._call("GET", f"/{_part(kind)}", params={"q": text, "limit": limit, "offset": offset})

    def item(self, kind: str, item: str) -> dict[str, Any]:
        """One song or tool."""
        return self._call("GET", f"/{_part(kind)}/{_part(item)}")

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            with as_invalid():
                request = self._http.build_request(method, path, **arguments)
            answer = self._http.send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConnectionError(f"{self._url} can't be reached: {str(error) or type(error).__name__}") from error
        try:
            body = answer.json()
        except ValueError:
            body = None
        if isinstance(body, dict) and answer.is_success:
            return body
        if isinstance(body, dict) and body.get("code") in ERRORS:
            raise PlauditError(body["code"], body.get("detail", ""), body.get("retry_after_ms"))
        raise ConnectionError(f"{self._url} answers {answer.status_code}, and not as Plaudit does")


def _body(vote: Vote) -> dict[str, Any]:
    choice = {"value": vote.choice} if isinstance(vote.choice, int) else {"vote": vote.choice}
    comment = {} if vote.comment is None else {"comment": vote.comment}
    return {"board": vote.board, "item_id": vote.item} | choice | comment


def _part(text: str) -> str:
    with as_invalid():
        # Dots alone would be steps in the path, which the library takes before it asks.
        return quote(text, safe="").replace(".", "%2E")
