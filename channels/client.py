"""The Python client: votes, and boards that stay live, over one websocket that comes back by itself.

    async with PlauditClient("http://127.0.0.1:8000", key) as client:
        ack = await client.vote("songs", "suno_123", "up", comment="that bridge")
        async for board in client.watch("songs", top=10):
            print(board.entries)

What was sent and not answered is sent again after a reconnect. That is safe: a vote that did count is
answered with `unchanged`.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from itertools import count
from types import TracebackType
from typing import NamedTuple, Self

from channels.codec import MSGPACK, Codec, Invalid
from channels.errors import PlauditError
from channels.link import Link, error_of
from channels.protocol import (
    DEFAULT_SPAN,
    Ack,
    CastVote,
    Choice,
    ClientMessage,
    Delta,
    Error,
    Hello,
    Ping,
    Pong,
    Resumed,
    Retract,
    ServerMessage,
    Snapshot,
    Unsubscribe,
    Welcome,
    Window,
)
from channels.watching import BoardView, Watched

__all__ = ["Ack", "BoardView", "PlauditClient", "PlauditError", "Vote"]


class Vote(NamedTuple):
    """One vote for `vote_many`; `choice` is "up", "down" or the ballot's integer value."""

    board: str
    item: str
    choice: Choice | int
    comment: str | None = None


_Answer = asyncio.Future[Ack | Pong]


class _Pending(NamedTuple):
    """A message that was not answered yet, and who waits for it."""

    message: ClientMessage
    answer: _Answer


class _Feed:
    """A watched board, and the wake-up call of whoever iterates over it."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.sub: int | None = None
        self.changed = asyncio.Event()
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        self.error = error
        self.changed.set()


class PlauditClient:
    """A connection of one agent, or of a viewer where no key is given; `tenant` is for viewers.

    Entering raises PlauditError where the server refuses the key, OSError where it can't be reached. Once
    entered, lost connections are made again with full-jitter back-off for as long as the client is open. At
    most `outbox` messages wait for their answers; further ones wait for room. `jitter` gives numbers in [0,
    1).
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        tenant: str | None = None,
        *,
        codec: Codec = MSGPACK,
        outbox: int = 1000,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._codec = codec
        self._link = Link(url, Hello(0, key, tenant), codec, jitter, self._open, self._take, self._fail)
        self._ids = count(1)
        self._space = asyncio.Semaphore(outbox)
        self._outbox: dict[int, _Pending] = {}
        self._feeds: list[_Feed] = []
        self._asked: dict[int, _Feed] = {}
        self._failure: Exception | None = None

    @property
    def welcome(self) -> Welcome | None:
        """What the server last said about this agent."""
        return self._link.welcome

    async def __aenter__(self) -> Self:
        await self._link.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()

    # What a caller does

    async def vote(self, board: str, item: str, choice: Choice | int, comment: str | None = None) -> Ack:
        """Casts a ballot and waits for its ack. Raises PlauditError where the server refuses it."""
        return _as_ack(await (await self._submit(self._cast(Vote(board, item, choice, comment)))))

    async def retract(self, board: str, item: str) -> Ack:
        """Takes a ballot back. Raises PlauditError (`no_ballot` where there is none)."""
        return _as_ack(await (await self._submit(Retract(next(self._ids), board, item))))

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

        A view that no longer agrees with the server's digest is asked for anew and not shown. Closing the iterator
        ends the subscription; leaving a loop over it does so only once it is collected.
        """
        feed = _Feed(Watched(board, window, top, items, around, span))
        self._feeds.append(feed)
        self._subscribe(feed)
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
            self._unsubscribe(feed)

    # Outgoing

    def _cast(self, vote: Vote) -> CastVote:
        board, item, choice, comment = vote
        up_down, value = (None, choice) if isinstance(choice, int) else (choice, None)
        try:
            return CastVote(next(self._ids), board, item, up_down, value, comment)
        except ValueError as error:
            raise PlauditError("invalid", str(error)) from error

    async def _attempt(self, vote: Vote) -> _Answer | PlauditError:
        try:
            return await self._submit(self._cast(vote))
        except PlauditError as error:
            return error

    async def _submit(self, message: CastVote | Retract | Ping) -> _Answer:
        # A message that the server can't take would be sent again at every reconnect.
        [checked] = self._codec.decode(self._codec.encode(message))
        if isinstance(checked, Invalid):
            raise PlauditError("invalid", checked.message)
        await self._space.acquire()
        key = int(message.id)
        answer: _Answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda answer: self._settled(key, answer))
        self._outbox[key] = _Pending(message, answer)
        if self._failure is not None:
            answer.set_exception(self._failure)
        self._link.send(message)
        return answer

    def _settled(self, key: int, answer: _Answer) -> None:
        del self._outbox[key]
        self._space.release()
        if not answer.cancelled():
            # The caller may have gone; asyncio need not complain of an error that nobody read.
            answer.exception()

    def _subscribe(self, feed: _Feed) -> None:
        key = next(self._ids)
        self._asked[key] = feed
        self._link.send(feed.watched.subscribe(key))

    def _unsubscribe(self, feed: _Feed) -> None:
        if feed.sub is not None:
            self._link.send(Unsubscribe(next(self._ids), feed.sub))
            feed.sub = None

    # What the connection calls

    def _open(self) -> None:
        """Starts a connection's life with everything that is open: unanswered messages, watched boards."""
        for pending in self._outbox.values():
            self._link.send(pending.message)
        self._asked.clear()
        for feed in self._feeds:
            feed.sub = None
            self._subscribe(feed)

    def _take(self, message: ServerMessage) -> None:
        match message:
            case Ack(id=int(key)) | Pong(id=int(key)):
                if (pending := self._outbox.get(key)) and not pending.answer.done():
                    pending.answer.set_result(message)
            case Error(id=int(key)):
                self._refused(key, error_of(message))
            case Snapshot(id=int(key)) | Resumed(id=int(key)):
                self._subscribed(key, message)
            case Delta(sub=sub):
                for feed in self._feeds:
                    if feed.sub == sub:
                        self._show(feed, feed.watched.delta(message))
            case _:
                pass  # an error that concerns no message of ours, or one that the connection has dealt with

    def _refused(self, key: int, error: PlauditError) -> None:
        if (pending := self._outbox.get(key)) and not pending.answer.done():
            pending.answer.set_exception(error)
        elif feed := self._asked.pop(key, None):
            feed.fail(error)

    def _subscribed(self, message_id: int, message: Snapshot | Resumed) -> None:
        feed = self._asked.pop(message_id, None)
        if feed is None:
            return
        feed.sub = message.sub
        if feed not in self._feeds:  # its iteration ended before the answer came
            self._unsubscribe(feed)
        elif isinstance(message, Snapshot):
            self._show(feed, feed.watched.snapshot(message))

    def _show(self, feed: _Feed, holds: bool) -> None:
        if holds:
            feed.changed.set()
        else:
            self._unsubscribe(feed)
            self._subscribe(feed)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        for pending in self._outbox.values():
            if not pending.answer.done():
                pending.answer.set_exception(error)
        for feed in self._feeds:
            feed.fail(error)


def _as_ack(answer: Ack | Pong) -> Ack:
    if not isinstance(answer, Ack):
        raise PlauditError("internal", "the server answered a vote with a pong")
    return answer


async def _outcome(answer: _Answer | PlauditError) -> Ack | PlauditError:
    try:
        return answer if isinstance(answer, PlauditError) else _as_ack(await answer)
    except PlauditError as error:
        return error
