"""The order of what one client says: its messages are dealt with one after the other, and each is answered.

One that has to wait for a store holds back those behind it, and stops the reading. So does a client that does not read
its answers: what it asked for is not even put together until it does.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from app.websocket import Websocket
from channels import frames
from channels.codec import Codec, Invalid, NotProtocol
from channels.errors import BAD_TOKEN, FLOODING, NOT_PROTOCOL, PlauditError
from channels.protocol import ClientMessage, Error, Hello
from channels.session import Expelled, Session
from storage.errors import StorageError

log = structlog.get_logger(__name__)


class Conversation(Websocket):
    """A client's messages, for a subclass that knows what they mean. `clock` gives seconds and never goes back."""

    __slots__ = ("_clock", "_inbox", "_reader", "_session", "_work")

    def __init__(
        self,
        transport: asyncio.Transport,
        codec: Codec,
        peers: set[Any],
        clock: Callable[[], float],
        message_rate: float,
    ) -> None:
        super().__init__(transport, codec, peers)
        self._clock = clock
        self._session = Session(message_rate, clock())
        self._inbox: deque[ClientMessage | Invalid] | None = None
        self._work: asyncio.Task[None] | None = None
        self._reader: asyncio.Event | None = None  # while what is in the inbox waits for the client to read

    @abstractmethod
    def answer(self, message: ClientMessage | Invalid) -> Coroutine[Any, Any, None] | None:
        """Deals with a message at once, or answers what has to be waited for. Both may raise PlauditError."""

    def refuse(self, name: str | int | None, error: PlauditError) -> None:
        """Answers a message with what is wrong."""
        refusal = Error(name, error.code, error.message, error.temporary)
        if error.retry_after_ms is not None:
            refusal.retry_after_ms = error.retry_after_ms
        self.send(refusal)

    # What becomes of the socket

    def freed(self) -> None:
        """What was sent while nothing was read comes at once, and is no flood."""
        self._session.held(self._loop.time() - self.blocked_since)
        if self._reader is not None:
            self._reader.set()

    def left(self) -> None:
        """What is in the inbox is not answered any more."""
        self._inbox = None
        if self._reader is not None:
            self._reader.set()

    def gone(self) -> None:
        """Nobody waits for the work under way any more."""
        if self._work is not None:
            self._work.cancel()

    def quiesce(self) -> asyncio.Task[None] | None:
        """Reads nothing more; what was read is still answered. Answers the work that is under way.

        Work that waits for the client to read is none: nobody knows whether it ever will.
        """
        self.hush()
        return self._work if self._reader is None else None

    def unanswered(self) -> Sequence[ClientMessage | Invalid]:
        """What was said and waits."""
        return () if self._closing else self._inbox or ()

    # In

    def weigh(self, frames: int) -> None:
        """Frames that are no messages count, too, and what unpacking costs."""
        if not self._closing:
            try:
                self._session.weigh(frames, self._clock())
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
        if message.weight > len(messages):
            self.weigh(message.weight - len(messages))
        if self._work is not None:
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.extend(messages)
            # Compressed, a million of them fit into what is read at once, and none is counted before its turn.
            if len(self._inbox) > self._session.most_waiting:
                self._inbox.clear()
                self.expel(FLOODING, "far more messages than a connection may send")
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
        since = self._clock()
        await self._guarded(work, message)
        self._session.held(self._clock() - since)
        while self._inbox and not self._closing:
            if self.blocked:
                await self._until_freed()
                continue
            # What it said before we stopped reading is a sign of life too.
            self.heard = True
            message = self._inbox.popleft()
            waiting = self._handle(message)
            if waiting is not None:
                since = self._clock()
                await self._guarded(waiting, message)
                self._session.held(self._clock() - since)
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
                self.refuse(message.id, error)
        except StorageError as error:
            # Whoever needs the store says at length that it is away; every client's every message needs not.
            log.debug("message not answered for want of a store", error=str(error))
            self.refuse(message.id, PlauditError("overloaded", "Not possible now; try again", 1000))
        except Exception:
            log.exception("message failed", type=type(message).__name__)
            self.refuse(message.id, PlauditError("internal"))

    def _handle(self, message: ClientMessage | Invalid) -> Coroutine[Any, Any, None] | None:
        """Deals with one message at once, or answers what has to be waited for."""
        try:
            self._session.admit(message, self._clock())
            return self.answer(message)
        except PlauditError as error:
            self.refuse(message.id, error)
        except Expelled as error:
            self.expel(error.code, error.message)
        except Exception:
            log.exception("message failed", type=type(message).__name__)
            self.refuse(message.id, PlauditError("internal"))
        return None
