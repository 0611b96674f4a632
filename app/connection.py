"""One websocket connection after its handshake: bytes in, messages answered, frames out.

An asyncio protocol without a task, a queue or a buffer of its own, so that ten thousand idle viewers cost little
and a broadcast is a loop of writes. Messages are dealt with in order; one that has to wait for a store holds back
those behind it, and stops the reading.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from channels import frames
from channels.codec import Codec, Invalid, NotProtocol
from channels.errors import BAD_TOKEN, CLOSE_CODES, NO_HELLO, NOT_PROTOCOL, PlauditError
from channels.protocol import (
    Ack,
    Bye,
    CastVote,
    ClientMessage,
    Error,
    Hello,
    Ping,
    Pong,
    Retract,
    ServerMessage,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from channels.ranking import score_of
from channels.room import Subscription
from channels.session import Expelled, Session, view_of
from storage.errors import StorageError
from storage.types import Agent, AroundView, Board, ItemsView, Outcome, Query, Status, Tenant, ViewSpec

if TYPE_CHECKING:
    from app.gateway import Gateway

HELLO_WITHIN: Final = 10.0
HIGH_WATER: Final = 256 * 1024
"""Bytes in a connection's buffer above which it is passed over."""

_CLOSE_WITHIN: Final = 5.0
_WORDS: Final = {
    Status.APPLIED: "applied",
    Status.CHANGED: "changed",
    Status.UNCHANGED: "unchanged",
    Status.RETRACTED: "retracted",
}

log = structlog.get_logger(__name__)


class Connection(asyncio.Protocol):
    """One agent or viewer. `peers` is uvicorn's set of connections, which it waits for when it stops."""

    __slots__ = (
        "_brought",
        "_closing",
        "_gateway",
        "_inbox",
        "_out",
        "_parser",
        "_peers",
        "_quiet",
        "_session",
        "_subscriptions",
        "_timer",
        "_token",
        "_transport",
        "_work",
        "address",
        "agent",
        "blocked",
        "blocked_since",
        "codec",
        "heard",
        "key_hash",
        "probed",
        "tenant",
        "write",
    )

    def __init__(
        self,
        gateway: Gateway,
        transport: asyncio.Transport,
        codec: Codec,
        token: str | None,
        address: str,
        peers: set[Any],
    ) -> None:
        self._gateway = gateway
        self._peers = peers
        self._transport = transport
        self._token = token
        self.codec = codec
        self.address = address
        self.agent: Agent | None = None
        self.tenant: Tenant | None = None
        self.key_hash: bytes | None = None
        # For rooms, whose loops over thousands of members do nothing but write.
        self.write = transport.write
        self.blocked = False  # whether nothing more must be written now, or ever
        self.blocked_since = 0.0
        self.heard = True
        self.probed = False
        self._brought = 0  # votes
        self._closing = False
        self._quiet = False
        self._parser = frames.FrameParser()
        self._session = Session(gateway.message_rate, gateway.clock())
        self._subscriptions: dict[int, Subscription] | None = None
        self._inbox: deque[ClientMessage | Invalid] | None = None
        self._work: asyncio.Task[None] | None = None
        self._out: list[ServerMessage] = []
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._timer: asyncio.TimerHandle | None = gateway.loop.call_later(
            HELLO_WITHIN, self.expel, NO_HELLO, "no hello in time"
        )

    # What the transport tells

    def data_received(self, data: bytes) -> None:
        """Reads what the client sent."""
        self.heard = True
        for event in self._parser.feed(data):
            if isinstance(event, frames.Message):
                if not self._closing:
                    self._receive(event)
            elif isinstance(event, frames.Ping):
                self._put(frames.frame(frames.PONG, event.payload))
            elif isinstance(event, frames.Close):
                self._closed_by_client(event.code)
            elif isinstance(event, frames.FrameError):
                self._give_up(event)

    def eof_received(self) -> bool:
        """The client will send no more: the transport closes by itself, and nothing more must be written to it."""
        self._hold()
        self.blocked_since = self._gateway.clock()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Forgets everything about the client; votes on their way go on."""
        self._closing = self.blocked = True
        self._stop_timer()
        if self._work is not None:
            self._work.cancel()
        for subscription in (self._subscriptions or {}).values():
            self._gateway.hub.leave(subscription)
        self._subscriptions = None
        self._gateway.remove(self)
        self._peers.discard(self)

    def quiesce(self) -> asyncio.Task[None] | None:
        """Reads nothing more; what was read is still answered. Answers the work that is under way."""
        self._quiet = True
        if not self._closing:
            self._transport.pause_reading()
        return self._work

    def pause_writing(self) -> None:
        """The client does not keep up: nothing is sent, and nothing more is read from it, until it does."""
        self._hold()
        self.blocked_since = self._gateway.clock()
        self._transport.pause_reading()

    def _hold(self) -> None:
        self.blocked = True
        for subscription in (self._subscriptions or {}).values():
            subscription.hold()

    def resume_writing(self) -> None:
        """The client keeps up again: it is brought up to date."""
        if self._closing or self._transport.is_closing():
            return
        self.blocked = False
        self._resume_reading()
        for subscription in list((self._subscriptions or {}).values()):
            if self.blocked:
                break
            subscription.catch_up()
        self._gateway.hub.unblocked()

    def _resume_reading(self) -> None:
        if self._work is None and not (self._closing or self._quiet or self.blocked):
            self._transport.resume_reading()

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops."""
        for message in () if self._closing else self._inbox or ():
            if isinstance(message, CastVote | Retract):
                self._refuse(message.id, PlauditError("overloaded", "The server restarts; send the vote again", 1000))
        self.expel(1012, "the server restarts", retry_after_ms=1000)

    # Out

    def _put(self, frame: bytes) -> None:
        """Hands a frame to the transport. After a goodbye nothing is sent."""
        if not self._closing and not self._transport.is_closing():
            self._transport.write(frame)

    def send(self, message: ServerMessage) -> None:
        """Sends a message, joined in one frame with all others of this turn of the loop."""
        if not self._out:
            self._gateway.loop.call_soon(self._flush)
        self._out.append(message)

    def _flush(self) -> None:
        out = self._out
        if out:
            self._out = []
            self._put(frames.frame(self.codec.opcode, self.codec.encode(out if len(out) > 1 else out[0])))

    def probe(self) -> None:
        """Asks a silent client for a sign of life; gives up one that gave none."""
        if self.heard or self._work is not None:  # while nothing is read, silence says nothing
            self.heard = self.probed = False
        elif self.probed:
            self._hold()
            self._transport.abort()
        else:
            self.probed = True
            self._put(frames.PING_FRAME)

    def expel(self, code: int, message: str, *, retry_after_ms: int | None = None) -> None:
        """Says bye and closes. The client has some seconds to answer."""
        if self._closing:
            return
        kind = CLOSE_CODES.get(code)
        if retry_after_ms is None and kind is not None and kind.retry:
            retry_after_ms = 1000
        self._flush()
        bye = self.codec.encode(Bye(code, message, retry_after_ms))
        self._put(frames.frame(self.codec.opcode, bye) + frames.close_frame(code, message))
        self._inbox = None
        self._end()
        self._transport.resume_reading()

    def _give_up(self, error: frames.FrameError) -> None:
        """Nothing that follows can be read, not even the client's goodbye: its end of stream has to do."""
        if not self._closing:
            self.expel(error.code, error.reason)
            self._transport.write_eof()

    def _closed_by_client(self, code: int) -> None:
        if not self._closing:
            self._flush()
            self._put(frames.close_frame(code) if code != frames.NO_STATUS else frames.frame(frames.CLOSE, b""))
            self._end()
        self._transport.close()

    def _end(self) -> None:
        """Sends nothing more. Whoever does not take what was sent, or does not answer, is cut off."""
        self._closing = True
        self._hold()
        self._stop_timer()
        self._timer = self._gateway.loop.call_later(_CLOSE_WITHIN, self._transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # In

    def _receive(self, event: frames.Message) -> None:
        if event.opcode != self.codec.opcode:
            self.expel(NOT_PROTOCOL, "the wrong kind of frame for the subprotocol")
            return
        try:
            messages = self.codec.decode(event.payload)
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
        self._transport.pause_reading()
        self._work = self._gateway.loop.create_task(self._finish(work, message))

    async def _finish(self, work: Coroutine[Any, Any, None], message: ClientMessage | Invalid) -> None:
        since = self._gateway.clock()
        await self._guarded(work, message)
        self._session.held(self._gateway.clock() - since)
        while self._inbox and not self._closing:
            # What it said before we stopped reading is a sign of life too.
            self.heard = True
            message = self._inbox.popleft()
            waiting = self._handle(message)
            if waiting is not None:
                since = self._gateway.clock()
                await self._guarded(waiting, message)
                self._session.held(self._gateway.clock() - since)
        self._work = self._inbox = None
        self._resume_reading()

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
            self._session.admit(message, self._gateway.clock())
            match message:
                case CastVote() | Retract():
                    return self._vote(message)
                case Subscribe():
                    return self._subscribe(message)
                case Unsubscribe():
                    self._unsubscribe(message)
                case Ping():
                    self.send(Pong(message.id, self._gateway.now()))
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
        board = self._gateway.registry.known_board(self.tenant, message.board)
        if board is None:
            return self._vote_on_unknown(message)
        self._cast(message, board)
        self._brought += 1
        # Under too much load nothing more is read: the client's own network stack slows it down.
        return self._gateway.voting.wait_for_room(board, self._brought)

    async def _vote_on_unknown(self, message: CastVote | Retract) -> None:
        assert self.tenant is not None
        self._cast(message, await self._gateway.registry.board(self.tenant, message.board))

    def _cast(self, message: CastVote | Retract, board: Board) -> None:
        assert self.agent is not None
        reply = partial(self._voted, message.id, self._gateway.clock())
        if isinstance(message, Retract):
            self._gateway.voting.retract(self.agent, board, message.item, reply)
        else:
            self._gateway.voting.cast(
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
            self._gateway.on_ack(self._gateway.clock() - since)
        word = _WORDS.get(outcome.status)
        if word is None:
            error = self._gateway.voting.refusal(outcome)
            assert error is not None
            self._refuse(name, error)
        else:
            score = score_of(outcome.points)
            self.send(Ack(name, word, outcome.seq, score, outcome.up, outcome.down, outcome.quota))  # type: ignore[arg-type]  # the words are those of the protocol

    # Everything else

    async def _hello(self, message: Hello) -> None:
        token = self._token if message.token is None else message.token
        agent, quota = None, None
        if token is not None:
            credential = await self._gateway.registry.credential(token, self.address)
            # At once: the key may be revoked while the rest is asked for.
            self._gateway.greeted(self, credential.key_hash)
            tenant, agent = credential.tenant, credential.agent
            if agent is not None:
                await self._gateway.registry.boards(tenant)
                quota = await self._gateway.quota_remaining(tenant, agent)
        else:
            tenant = await self._gateway.registry.tenant(message.tenant)
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
                self._gateway.heartbeat,
                self._gateway.now(),
            )
        )

    async def _subscribe(self, message: Subscribe) -> None:
        assert self.tenant is not None
        board = await self._gateway.registry.board(self.tenant, message.board)
        if message.window not in board.windows:
            raise PlauditError("invalid", f"The board {board.slug!r} has no window {message.window!r}")
        query = Query(board.number, message.window, view_of(message))
        number = self._session.next_number()
        subscription, first = await self._gateway.hub.join(
            board, query, self, number, name=message.id, epoch=message.epoch, version=message.version
        )
        view = subscription.room.view
        wanted = _items_of(query.view)
        missing = next((item for item in wanted if view is None or item not in view.rows), None)
        if missing is not None or self._closing:
            self._gateway.hub.leave(subscription)
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
        self._gateway.hub.leave(subscription)
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
