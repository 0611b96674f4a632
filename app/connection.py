"""One agent or viewer on a websocket: what its messages mean, and what they are answered."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from app.conversation import Conversation
from app.registry import Registry
from app.standings import check_window
from app.voting import DONE, Voting
from channels.codec import Codec, Invalid
from channels.errors import NO_HELLO, RESTART, PlauditError
from channels.hub import Hub
from channels.protocol import (
    Ack,
    CastVote,
    ClientMessage,
    Hello,
    Ping,
    Pong,
    Retract,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from channels.ranking import score_of
from channels.room import VIEW_ROWS, Subscription
from channels.session import view_of
from storage.types import Agent, AroundView, Board, ItemsView, Outcome, Query, Tenant, ViewSpec

HELLO_WITHIN: Final = 10.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of a server share. `on_ack` hears of the seconds that acks took."""

    hub: Hub
    registry: Registry
    voting: Voting
    clock: Callable[[], float]
    now: Callable[[], int]
    message_rate: float
    heartbeat: float
    greeted: Callable[[Connection, bytes], None]
    removed: Callable[[Connection], None]
    on_ack: Callable[[float], None]


class Connection(Conversation):
    """One agent or viewer. Votes of one that goes are still counted."""

    __slots__ = (
        "_brought",
        "_shared",
        "_subscriptions",
        "_token",
        "address",
        "agent",
        "key_hash",
        "tenant",
    )

    def __init__(
        self,
        shared: Shared,
        transport: asyncio.Transport,
        codec: Codec,
        token: str | None,
        address: str,
        peers: set[Any],
    ) -> None:
        super().__init__(transport, codec, peers, shared.clock, shared.message_rate)
        self._shared = shared
        self._token = token
        self.address = address
        self.agent: Agent | None = None
        self.tenant: Tenant | None = None
        self.key_hash: bytes | None = None
        self._brought = 0  # votes
        self._subscriptions: dict[int, Subscription] | None = None
        self._timer = self._loop.call_later(HELLO_WITHIN, self.expel, NO_HELLO, "no hello in time")

    @property
    def watched(self) -> int:
        """What all that it watches costs, in rows."""
        return self._session.rows + VIEW_ROWS * self._session.views

    # What becomes of the socket

    def held(self) -> None:
        """Rooms pass this member over."""
        for subscription in (self._subscriptions or {}).values():
            subscription.hold()

    def freed(self) -> None:
        """Every view is brought up to date."""
        for subscription in list((self._subscriptions or {}).values()):
            if self.blocked:
                break
            subscription.catch_up()
        self._shared.hub.unblocked()
        super().freed()

    def gone(self) -> None:
        """Forgets everything about the client; votes on their way go on."""
        super().gone()
        for subscription in (self._subscriptions or {}).values():
            self._shared.hub.leave(subscription)
        self._subscriptions = None
        self._shared.removed(self)

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops."""
        for message in self.unanswered():
            if isinstance(message, CastVote | Retract):
                self.refuse(message.id, PlauditError("overloaded", "The server restarts; send the vote again", 1000))
        self.expel(RESTART, "the server restarts", retry_after_ms=1000)

    def answer(self, message: ClientMessage | Invalid) -> Coroutine[Any, Any, None] | None:
        """Deals with one message at once, or answers what has to be waited for."""
        match message:
            case CastVote() | Retract():
                return self._vote(message)
            case Subscribe():
                return self._subscribe(message)
            case Unsubscribe():
                self._unsubscribe(message)
            case Ping():
                self.send(Pong(message.id, self._shared.now()))
            case Hello():
                return self._hello(message)
        return None

    # Votes

    def _vote(self, message: CastVote | Retract) -> Coroutine[Any, Any, None] | None:
        assert self.tenant is not None
        board = self._shared.registry.known_board(self.tenant, message.board)
        if board is None:
            return self._vote_on_unknown(message)
        self._cast(message, board)
        self._brought += 1
        # Under too much load nothing more is read: the client's own network stack slows it down.
        return self._shared.voting.wait_for_room(board, self._brought)

    async def _vote_on_unknown(self, message: CastVote | Retract) -> None:
        assert self.tenant is not None
        self._cast(message, await self._shared.registry.board(self.tenant, message.board))

    def _cast(self, message: CastVote | Retract, board: Board) -> None:
        assert self.agent is not None
        reply = partial(self._voted, message.id, self._shared.clock())
        if isinstance(message, Retract):
            self._shared.voting.retract(self.agent, board, message.item, reply)
        else:
            self._shared.voting.cast(
                self.agent,
                board,
                message.item,
                reply,
                choice=message.vote,
                value=message.value,
                comment=message.comment,
            )

    def _voted(self, name: str | int, since: float, outcome: Outcome) -> None:
        if not self._out:
            # Once a frame: what a vote costs must not be measured at a like cost.
            self._shared.on_ack(self._shared.clock() - since)
        word = DONE.get(outcome.status)
        if word is None:
            error = self._shared.voting.refusal(outcome)
            assert error is not None
            self.refuse(name, error)
        else:
            score = score_of(outcome.points)
            self.send(Ack(name, word, outcome.seq, score, outcome.up, outcome.down, outcome.quota))

    # Everything else

    async def _hello(self, message: Hello) -> None:
        token = self._token if message.token is None else message.token
        agent, quota = None, None
        if token is not None:
            credential = await self._shared.registry.credential(token, self.address)
            # At once: the key may be revoked while the rest is asked for.
            self._shared.greeted(self, credential.key_hash)
            tenant, agent = credential.tenant, credential.agent
            if agent is not None:
                await self._shared.registry.boards(tenant)
                quota = await self._shared.voting.quota_remaining(tenant, agent)
        else:
            tenant = await self._shared.registry.tenant(message.tenant)
        if self._closing:
            return
        self.tenant, self.agent = tenant, agent
        self._token = None
        self._session.greeted = True
        self._session.may_vote = agent is not None
        self._stop_timer()
        self.send(
            Welcome(
                message.id,
                secrets.token_hex(8),
                agent.agent_id if agent else None,
                agent.tier if agent else None,
                quota,
                self._shared.heartbeat,
                self._shared.now(),
            )
        )

    async def _subscribe(self, message: Subscribe) -> None:
        assert self.tenant is not None
        board = await self._shared.registry.board(self.tenant, message.board)
        check_window(board, message.window)
        query = Query(board.number, message.window, view_of(message))
        number = self._session.next_number()
        subscription, first = await self._shared.hub.join(
            board, query, self, number, name=message.id, epoch=message.epoch, version=message.version
        )
        view = subscription.room.view
        wanted = _items_of(query.view)
        missing = next((item for item in wanted if view is None or item not in view.rows), None)
        if missing is not None or self._closing:
            self._shared.hub.leave(subscription)
            raise PlauditError("unknown_item", f"There is no item {missing!r} on the board {board.slug!r}")
        if self._subscriptions is None:
            self._subscriptions = {}
        self._subscriptions[number] = subscription
        if self.blocked:
            subscription.hold()
        self._session.watch(query.view)
        self._flush()
        for frame in first:
            self._put(frame)

    def _unsubscribe(self, message: Unsubscribe) -> None:
        subscription = (self._subscriptions or {}).pop(message.sub, None)
        if subscription is None:
            raise PlauditError("invalid", f"There is no subscription {message.sub} on this connection")
        self._shared.hub.leave(subscription)
        self._session.unwatch(subscription.room.query.view)
        self.send(Ack(message.id, "unchanged", None, None, None, None, None))


def _items_of(view: ViewSpec) -> tuple[str, ...]:
    """Items that have to be on the board for the view to make sense."""
    match view:
        case ItemsView(items):
            return items
        case AroundView(item):
            return (item,)
        case _:
            return ()
