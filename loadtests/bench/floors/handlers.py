"""Litestar handlers that decode the same body and answer the same bytes, and do nothing in between."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Litestar, Request, get, post
from litestar.response.base import ASGIResponse

from app.shapes.votes import NewVote
from loadtests.bench.floors.echo import Served, serve
from loadtests.bench.worker import work

_decode = msgspec.json.Decoder(NewVote).decode


async def open_handlers(*, body: str, headers: dict[str, str]) -> Served:
    """Both floors of the HTTP door: `body` and `headers` are what Plaudit answered."""
    answer = body.encode()

    @post("/api/v1/vote")
    async def vote(request: Request[Any, Any, Any]) -> ASGIResponse:
        _decode(await request.body())
        return ASGIResponse(body=answer, status_code=201, headers=headers)

    @get("/api/v1/boards/{board:str}")
    async def read(board: str) -> ASGIResponse:
        del board
        return ASGIResponse(body=answer, status_code=200, headers=headers)

    return await serve(Litestar([vote, read], openapi_config=None, logging_config=None), "none")


if __name__ == "__main__":
    work(open_handlers)
