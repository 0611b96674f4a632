"""One agent or viewer on a websocket: what it says, and what it is answered.

Messages are dealt with in order; one that has to wait for a store holds back those behind it, and stops the
reading. So does a client that does not read its answers: what it asked for is not even put together until it does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from app.registry import Registry
from app.standings import check_window
from app.voting import DONE, Voting
from app.websocket import Websocket
from channels import frames
from channels.codec import Codec, Invalid, NotProtocol
from channels.errors import BAD_TOKEN, NO_HELLO, NOT_PROTOCOL, RESTART, PlauditError
from channels.hub import Hub
from channels.protocol import (
    Ack,
    CastVote,
    ClientMessage,
    Error,
    Hello,
    Ping,
    Pong,
    Retract,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from channels.ranking import score_of
from channels.room import Subscription
from channels.session import Expelled, Session, view_of
from storage.errors import StorageError
from storage.types import Agent, AroundView, Board, ItemsView, Outcome, Query, Tenant, ViewSpec

HELLO_WITHIN: Final = 10.0

log = structlog.get_logger(__name__)


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


class Connection(Websocket):
    """One agent or viewer. Votes of one that goes are still counted."""

    __slots__ = (
        "_brought",
        "_inbox",
        "_reader",
        "_session",
        "_shared",
        "_subscriptions",
        "_token",
        "_work",
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
        super().__init__(transport, codec, peers)
        self._shared = shared
        self._token = token
        self.address = address
        self.agent: Agent | None = None
        self.tenant: Tenant | None = None
        self.key_hash: bytes | None = None
        self._brought = 0  # votes
        self._session = Session(shared.message_rate, shared.clock())
        self._subscriptions: dict[int, Subscription] | None = None
        self._inbox: deque[ClientMessage | Invalid] | None = None
        self._work: asyncio.Task[None] | None = None
        self._reader: asyncio.Event | None = None  # while what is in the inbox waits for the client to read
        self._timer = self._loop.call_later(HELLO_WITHIN, self.expel, NO_HELLO, "no hello in time")

    @property
    def watched(self) -> int:
        """Rows that it watches, over all its views."""
        return self._session.rows

    # What becomes of the socket

    def held(self) -> None:
        """Rooms pass this member over."""
        for subscription in (self._subscriptions or {}).values():
            subscription.hold()

    def freed(self) -> None:
        """Every view is brought up to date. What was sent while nothing was read comes at once, and is no flood."""
        self._session.held(self._loop.time() - self.blocked_since)
        for subscription in list((self._subscriptions or {}).values()):
            if self.blocked:
                break
            subscription.catch_up()
        self._shared.hub.unblocked()
        if self._reader is not None:
            self._reader.set()

    def left(self) -> None:
        """What is in the inbox is not answered any more."""
        self._inbox = None
        if self._reader is not None:
            self._reader.set()

    def gone(self) -> None:
        """Forgets everything about the client; votes on their way go on."""
        if self._work is not None:
            self._work.cancel()
        for subscription in (self._subscriptions or {}).values():
            self._shared.hub.leave(subscription)
        self._subscriptions = None
        self._shared.removed(self)

    def quiesce(self) -> asyncio.Task[None] | None:
        """Reads nothing more; what was read is still answered. Answers the work that is under way.

        Work that waits for the client to read is none: nobody knows whether it ever will.
        """
        self.hush()
        return self._work if self._reader is None else None

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops."""
        for message in () if self._closing else self._inbox or ():
            if isinstance(message, CastVote | Retract):
                self._refuse(message.id, PlauditError("overloaded", "The server restarts; send the vote again", 1000))
        self.expel(RESTART, "the server restarts", retry_after_ms=1000)

    # In

    def weigh(self, frames: int) -> None:
        """Frames that are no messages count, too."""
        if not self._closing:
            try:
                self._session.weigh(frames, self._shared.clock())
            except Expelled as error:
                self.expel(error.code, error.message)

    def received(self, message: frames.Message) -> None:
        """Deals with what a frame holds, or has it wait for what came before."""
        if message.opcode != self.codec.opcode:
            self.expel(NOT_PROTOCOL, "the wrong kind of frame for the subprotocol")
            return
        try:
            messages = self.codec.decode(message.payload)
        except NotProtocol as error:
            self.expel(NOT_PROTOCOL, str(error)[:100])
            return
        if self._work is not None:
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.extend(messages)
            return
        self._handle_all(messages)

    def _handle_all(self, messages: Sequence[ClientMessage | Invalid]) -> None:
        for place, message in enumerate(messages):
            waiting = self._handle(message)
            if self._closing:
                return
            if waiting is not None:
                rest = messages[place + 1 :] if isinstance(messages, list) else ()
                self._wait(waiting, message, rest)
                return

    def _wait(
        self, work: Coroutine[Any, Any, None], message: ClientMessage | Invalid, rest: Sequence[ClientMessage | Invalid]
    ) -> None:
        """Lets a message take its time: the ones behind it wait, and nothing more is read."""
        self._inbox = deque(rest)
        self.pause()
        self._work = self._loop.create_task(self._finish(work, message))

    async def _finish(self, work: Coroutine[Any, Any, None], message: ClientMessage | Invalid) -> None:
        since = self._shared.clock()
        await self._guarded(work, message)
        self._session.held(self._shared.clock() - since)
        while self._inbox and not self._closing:
            if self.blocked:
                await self._until_freed()
                continue
            # What it said before we stopped reading is a sign of life too.
            self.heard = True
            message = self._inbox.popleft()
            waiting = self._handle(message)
            if waiting is not None:
                since = self._shared.clock()
                await self._guarded(waiting, message)
                self._session.held(self._shared.clock() - since)
        self._work = self._inbox = None
        self.proceed()

    async def _until_freed(self) -> None:
        """Waits until the client reads again, or is sent away: a small message may ask for a large answer."""
        self._reader = asyncio.Event()
        try:
            await self._reader.wait()
        finally:
            self._reader = None

    async def _guarded(self, work: Coroutine[Any, Any, None], message: ClientMessage | Invalid) -> None:
        """Answers whatever goes wrong with a message."""
        try:
            await work
        except PlauditError as error:
            if error.code == "unauthorized" and isinstance(message, Hello):
                self.expel(BAD_TOKEN, error.message)
            else:
                self._refuse(message.id, error)
        except StorageError as error:
            # Whoever needs the store says at length that it is away; every client's every message needs not.
            log.debug("message not answered for want of a store", error=str(error))
            self._refuse(message.id, PlauditError("overloaded", "Not possible now; try again", 1000))
        except Exception:
            log.exception("message failed", type=type(message).__name__)
            self._refuse(message.id, PlauditError("internal"))

    def _handle(self, message: ClientMessage | Invalid) -> Coroutine[Any, Any, None] | None:
        """Deals with one message at once, or answers what has to be waited for."""
        try:
            self._session.admit(message, self._shared.clock())
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
        except PlauditError as error:
            self._refuse(message.id, error)
        except Expelled as error:
            self.expel(error.code, error.message)
        except Exception:
            log.exception("message failed", type=type(message).__name__)
            self._refuse(message.id, PlauditError("internal"))
        return None

    def _refuse(self, name: str | int | None, error: PlauditError) -> None:
        refusal = Error(name, error.code, error.message, error.temporary)
        if error.retry_after_ms is not None:
            refusal.retry_after_ms = error.retry_after_ms
        self.send(refusal)

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
            self._refuse(name, error)
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
