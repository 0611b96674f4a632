"""Gives boards life: agents that connect and vote, at a pace."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from app.admin import Admin, AdminError, Issued
from app.crowd import Act, Crowd, Stage
from channels.client import PlauditClient, PlauditError
from storage.tasks import end

BOARDS: Final = ("songs", "tools")
AGENTS: Final = 24
RATE: Final = 4.0

_CONNECT_AT_ONCE: Final = 32
_REVOKE_WITHIN: Final = 5.0
_LEAVES_WITHIN: Final = 8.0
_BACK_AFTER: Final = 5.0
_OUTSTANDING: Final = 1000
_CATCH_UP: Final = 0.1
_PASSED_OVER: Final = frozenset({"already_voted", "no_ballot", "unknown_item", "quota_exceeded", "internal"})
"""Errors of one vote, after which the others go on."""

_STANDING: Final = frozenset({"unchanged", "already_voted"})

log = structlog.get_logger(__name__)


async def simulate(
    url: str,
    admin_key: str,
    *,
    boards: Sequence[str] = BOARDS,
    agents: int = AGENTS,
    rate: float = RATE,
    seconds: float | None = None,
    on_act: Callable[[str], object] = lambda _: None,
    chance: random.Random | None = None,
) -> Counter[str]:
    """Lets `agents` agents vote on `boards`, `rate` times a second altogether.

    Ends after `seconds`, without them when it is cancelled, and then voids the keys that it had made for the
    agents `sim-1`, `sim-2` and so on. `on_act` is told what became of each vote, and the answer counts it: a
    status, or the code of an error. Raises AdminError, PlauditError where a board can't be voted on, ValueError
    where there is nothing to vote on, another of `LOST` where there is no server.
    """
    async with Admin(url, admin_key) as admin:
        stages = await _stages(admin, boards)
        crowd = Crowd(agents, stages, chance or random.Random())  # noqa: S311  # a taste is no secret
        async with (
            _keys(admin, [f"sim-{number + 1}" for number in range(agents)]) as keys,
            _connected(url, [key.api_key for key in keys.values()]) as clients,
        ):
            return await _Simulation(crowd, clients, on_act).run(rate, seconds)


@asynccontextmanager
async def lively(url: str, admin_key: str, rate: float = RATE) -> AsyncIterator[None]:
    """Simulates for as long as it is entered. A simulation that fails is begun again, after a while."""
    crowd = asyncio.create_task(_live(url, admin_key, rate), name="simulation")
    try:
        yield
    finally:
        # It has connections to close and keys to void: one is patient with that, but not for ever.
        crowd.cancel()
        await asyncio.wait([crowd], timeout=_LEAVES_WITHIN)
        await end(crowd)


async def _live(url: str, admin_key: str, rate: float) -> None:
    while True:
        try:
            await simulate(url, admin_key, rate=rate)
        except Exception as error:  # noqa: BLE001  # a server whose demo fails serves all the same
            log.warning("the demo's crowd has left, and will be back", error=str(error) or type(error).__name__)
        await asyncio.sleep(_BACK_AFTER)


async def _stages(admin: Admin, wanted: Sequence[str]) -> list[Stage]:
    """The boards to vote on and what is on them."""
    rules = {board["slug"]: board for board in await admin.boards()}
    if unknown := next((slug for slug in wanted if slug not in rules), None):
        raise PlauditError("unknown_board", f"There is no board {unknown!r}")
    stages = []
    for slug in wanted:
        ballot = rules[slug]["ballot"]
        items = [standing.item_id for standing in await admin.ranking(slug)]
        stages.append(Stage(slug, ballot["kind"], ballot["min"], ballot["max"], items))
    return stages


@asynccontextmanager
async def _keys(admin: Admin, agents: Sequence[str]) -> AsyncIterator[Mapping[str, Issued]]:
    """Keys of these agents, void when they are no longer needed."""
    issued = await admin.agent_keys(agents)
    try:
        yield issued
    finally:
        # A server that is gone, or going, is not waited for: what is left is a key that nobody knows.
        with suppress(AdminError, OSError):
            async with asyncio.timeout(_REVOKE_WITHIN):
                await asyncio.gather(*(admin.revoke(agent, key.key_id) for agent, key in issued.items()))


@asynccontextmanager
async def _connected(url: str, keys: Sequence[str]) -> AsyncIterator[Sequence[PlauditClient]]:
    """A connection for each key."""
    clients = [PlauditClient(url, key) for key in keys]
    room = asyncio.Semaphore(_CONNECT_AT_ONCE)

    async def connect(client: PlauditClient) -> None:
        async with room:
            await client.__aenter__()

    try:
        await asyncio.gather(*map(connect, clients))
        yield clients
    finally:
        # All at once: each of them may have to wait for an answer to its goodbye.
        await asyncio.gather(*(client.__aexit__(None, None, None) for client in clients))


class _Simulation:
    """Votes under way, and what became of those before."""

    def __init__(self, crowd: Crowd, clients: Sequence[PlauditClient], on_act: Callable[[str], object]) -> None:
        self._crowd = crowd
        self._clients = clients
        self._on_act = on_act
        self._outcomes: Counter[str] = Counter()
        self._room = asyncio.Semaphore(_OUTSTANDING)

    async def run(self, rate: float, seconds: float | None) -> Counter[str]:
        clock = asyncio.get_running_loop().time
        end = None if seconds is None else clock() + seconds
        due = clock()
        try:
            async with asyncio.TaskGroup() as group:
                while end is None or due < end:
                    await asyncio.sleep(due - clock())
                    await self._room.acquire()
                    group.create_task(self._do(self._crowd.act()))
                    # A clock's coarseness is caught up on, a server's delay is not.
                    due = max(due + 1 / rate, clock() - _CATCH_UP)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return self._outcomes

    async def _do(self, act: Act) -> None:
        outcome = await self._outcome(act)
        # A ballot that an earlier run left: taking it back shows on the board, another try elsewhere might not.
        if outcome in _STANDING and (back := self._crowd.take_back(act)):
            outcome = await self._outcome(back)
        self._room.release()
        self._outcomes[outcome] += 1
        self._on_act(outcome)

    async def _outcome(self, act: Act) -> str:
        client = self._clients[act.agent]
        try:
            if act.choice is None:
                return (await client.retract(act.board, act.item)).status
            return (await client.vote(act.board, act.item, act.choice)).status
        except PlauditError as error:
            if error.code not in _PASSED_OVER:
                raise
            if error.code not in _STANDING:
                self._crowd.undo(act)
            return error.code
