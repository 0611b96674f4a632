"""The Python client: votes, and boards that stay live, over one websocket that comes back by itself.

    async with PlauditClient("http://127.0.0.1:8000", key) as client:
        ack = await client.vote("songs", "suno_123", "up", comment="that bridge")
        async for board in client.watch("songs", top=10):
            print(board.entries)

What was sent and not answered is sent again after a reconnect. That is safe: a vote that did count is
answered with `unchanged`. More, with examples, is in docs/client.md.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from itertools import count
from types import TracebackType
from typing import Self

from channels.casting import Vote, cast_vote, check, retract
from channels.codec import MSGPACK, Codec
from channels.errors import PlauditError
from channels.feeds import Feed, Feeds
from channels.link import LOST, Link, error_of
from channels.outbox import Message, Outbox
from channels.protocol import (
    DEFAULT_SPAN,
    Ack,
    Choice,
    Delta,
    Entry,
    Error,
    Hello,
    Ping,
    Pong,
    Resumed,
    ServerMessage,
    Snapshot,
    Welcome,
)
from channels.watching import BoardView, Watched
from storage.types import Window

__all__ = ["LOST", "Ack", "BoardView", "Entry", "PlauditClient", "PlauditError", "Vote", "Welcome"]

_RESENT = frozenset({"overloaded", "too_fast"})
"""Errors that pass by themselves. An `internal` one is temporary too, but somebody should hear of it."""


_Answer = asyncio.Future[Ack | Pong]


class PlauditClient:
    """A connection of one agent, or of a viewer where no key is given; `tenant` is for viewers.

    Entering raises PlauditError where the server refuses the key or the key can be none, another of `LOST` where
    none can be reached within `patience` seconds. Once entered, lost connections are made again with full-jitter
    back-off for as long as the client is open. At most `outbox` messages wait for their answers; further ones
    wait for room. Votes that the server will not have for now (`overloaded`, `too_fast`) are sent again when it
    says, unless `resend` is false: then those errors are raised like any other.

    `on_connection` is called with True for every connection that is made and with False when it is lost, not when
    the client is left. `jitter` gives numbers in [0, 1).
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        tenant: str | None = None,
        *,
        codec: Codec = MSGPACK,
        outbox: int = 1000,
        resend: bool = True,
        patience: float = 0.0,
        on_connection: Callable[[bool], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._codec = codec
        self._resend = resend
        self._on_connection = on_connection
        self._ids = count(1)
        self._link = Link(self, url, Hello(0, key, tenant), codec, patience=patience, jitter=jitter)
        self._space = asyncio.Semaphore(outbox)
        self._outbox = Outbox(outbox, jitter)
        self._answers: dict[int, _Answer] = {}
        self._pump: asyncio.TimerHandle | None = None
        self._feeds = Feeds(self._link.send, lambda: next(self._ids), jitter)
        self._failure: Exception | None = RuntimeError("the client is not open: use it in `async with`")

    @property
    def welcome(self) -> Welcome | None:
        """What the server last said about this agent."""
        return self._link.welcome

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; without one, what is watched may be out of date."""
        return self._link.connected

    async def __aenter__(self) -> Self:
        self._failure = None
        await self._link.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._on_connection = None
        await self._link.close()

    # What a caller does

    async def vote(self, board: str, item: str, choice: Choice | int, comment: str | None = None) -> Ack:
        """Casts a ballot and waits for its ack. Raises PlauditError where the server refuses it.

        Who stops waiting (a timeout, a cancelled task) does not know whether the vote counts.
        """
        return _as_ack(await (await self._submit(cast_vote(next(self._ids), Vote(board, item, choice, comment)))))

    async def retract(self, board: str, item: str) -> Ack:
        """Takes a ballot back. Raises PlauditError (`no_ballot` where there is none).

        Sent again after a lost answer, it finds no ballot any more: then, too, the error is `no_ballot`.
        """
        return _as_ack(await (await self._submit(retract(next(self._ids), board, item))))

    async def vote_many(self, votes: Iterable[Vote]) -> list[Ack | PlauditError]:
        """Casts many ballots at once; gives for each, in order, its ack or the error that it got."""
        answers = [await self._attempt(vote) for vote in votes]
        return [await _outcome(answer) for answer in answers]

    async def ping(self) -> int:
        """The server's time, in milliseconds since 1970."""
        pong = await (await self._submit(Ping(next(self._ids))))
        if not isinstance(pong, Pong):
            raise PlauditError("internal", "the server answered a ping with an ack")
        return pong.server_time

    async def watch(
        self,
        board: str,
        *,
        top: int | None = None,
        items: Sequence[str] | None = None,
        around: str | None = None,
        span: int = DEFAULT_SPAN,
        window: Window = "all",
    ) -> AsyncGenerator[BoardView, None]:
        """The board now and after each change; one who is slow to take them gets the latest only.

        A view that no longer agrees with the server's digest is asked for anew and not shown. Errors that pass
        are waited out; others are raised as PlauditError. Closing the iterator ends the subscription; leaving
        a loop over it does so only once it is collected.
        """
        feed = Feed(Watched(board, window, top, items, around, span))
        check(self._codec, feed.watched.subscribe(0))
        self._feeds.add(feed)
        try:
            while True:
                if self._failure is not None:
                    raise self._failure
                await feed.changed.wait()
                feed.changed.clear()
                if feed.error is not None:
                    raise feed.error
                if (shown := feed.watched.board()) is not None:
                    yield shown
        finally:
            self._feeds.remove(feed)

    # Outgoing

    async def _attempt(self, vote: Vote) -> _Answer | PlauditError:
        try:
            return await self._submit(cast_vote(next(self._ids), vote))
        except PlauditError as error:
            return error

    async def _submit(self, message: Message) -> _Answer:
        check(self._codec, message)
        await self._space.acquire()
        key = int(message.id)
        answer: _Answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda answer: self._settled(key, answer))
        self._answers[key] = answer
        self._outbox.add(message)
        if self._failure is not None:
            answer.set_exception(self._failure)
        self._send_due()
        return answer

    def _send_due(self) -> None:
        """Sends what may be sent now, and comes back when a pause is over."""
        if not self._link.connected or self._pump is not None:
            return
        loop = asyncio.get_running_loop()
        for message in self._outbox.take(loop.time()):
            self._link.send(message)
        if pause := self._outbox.pause(loop.time()):
            self._pump = loop.call_later(pause, self._go_on)

    def _go_on(self) -> None:
        self._pump = None
        self._send_due()

    def _settled(self, key: int, answer: _Answer) -> None:
        del self._answers[key]
        self._outbox.settle(key)
        self._space.release()
        if not answer.cancelled():
            # The caller may have gone; asyncio need not complain of an error that nobody read.
            answer.exception()
        self._send_due()

    # What the connection calls

    def opened(self) -> None:
        """Starts a connection's life with everything that is open: unanswered messages, watched boards."""
        self._send_due()
        self._feeds.opened()
        if self._on_connection:
            self._on_connection(True)

    def lost(self) -> None:
        """Makes ready for the next connection."""
        self._outbox.lose()
        self._feeds.lost()
        if self._on_connection:
            self._on_connection(False)

    def taken(self, message: ServerMessage) -> None:
        """Hands a message to whoever waits for it."""
        match message:
            case Ack(id=int(key)) | Pong(id=int(key)):
                if (answer := self._answers.get(key)) and not answer.done():
                    answer.set_result(message)
            case Error(id=int(key)):
                self._refused(key, error_of(message))
            case Snapshot() | Resumed():
                self._feeds.subscribed(message)
            case Delta():
                self._feeds.changed(message)
            case _:
                pass  # an error that concerns no message of ours, or one that the connection has dealt with

    def _refused(self, key: int, error: PlauditError) -> None:
        answer = self._answers.get(key)
        if answer is None:
            self._feeds.refused(key, error)
        elif answer.done():
            pass
        elif self._resend and error.code in _RESENT:
            self._outbox.refuse(key, asyncio.get_running_loop().time(), error.retry_after or 0.0)
            self._send_due()
        else:
            answer.set_exception(error)

    def ended(self, error: Exception) -> None:
        """Tells everyone who waits."""
        self._failure = error
        if self._pump is not None:
            self._pump.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        self._feeds.fail(error)


def _as_ack(answer: Ack | Pong) -> Ack:
    if not isinstance(answer, Ack):
        raise PlauditError("internal", "the server answered a vote with a pong")
    return answer


async def _outcome(answer: _Answer | PlauditError) -> Ack | PlauditError:
    try:
        return answer if isinstance(answer, PlauditError) else _as_ack(await answer)
    except PlauditError as error:
        return error
