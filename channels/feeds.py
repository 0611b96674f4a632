"""A client's subscriptions: which board each one shows, and asking for it anew whenever that is needed."""

import asyncio
from collections.abc import Callable

from channels.backoff import full_jitter
from channels.errors import PlauditError
from channels.protocol import ClientMessage, Delta, Resumed, Snapshot, Unsubscribe
from channels.watching import Watched


class Feed:
    """A watched board, and the wake-up call of whoever iterates over it."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.changed = asyncio.Event()
        self.error: Exception | None = None
        self.sub: int | None = None
        self.failed = 0
        self.again: asyncio.TimerHandle | None = None

    def fail(self, error: Exception) -> None:
        """Ends the iteration with this error."""
        self.error = error
        self.changed.set()


class Feeds:
    """All that a client watches. `jitter` gives numbers in [0, 1)."""

    def __init__(
        self, send: Callable[[ClientMessage], None], next_id: Callable[[], int], jitter: Callable[[], float]
    ) -> None:
        self._send = send
        self._next_id = next_id
        self._jitter = jitter
        self._feeds: list[Feed] = []
        self._asked: dict[str | int, Feed] = {}

    def add(self, feed: Feed) -> None:
        """Starts a subscription."""
        self._feeds.append(feed)
        self._subscribe(feed)

    def remove(self, feed: Feed) -> None:
        """Ends a subscription."""
        self._feeds.remove(feed)
        self._unsubscribe(feed)

    def opened(self) -> None:
        """Subscribes to everything on a new connection."""
        for feed in self._feeds:
            self._subscribe(feed)

    def lost(self) -> None:
        """Forgets the numbers of a connection that is gone."""
        self._asked.clear()
        for feed in self._feeds:
            feed.sub = None
            _stop(feed)

    def fail(self, error: Exception) -> None:
        """Ends everything: there will be no further connection."""
        for feed in self._feeds:
            feed.fail(error)

    def refused(self, message_id: int, error: PlauditError) -> None:
        """Takes an error that may answer a subscription: one that may pass is waited out."""
        feed = self._asked.pop(message_id, None)
        if feed is None or feed not in self._feeds:
            return
        if error.temporary:
            self._subscribe_later(feed, error.retry_after or 0.0)
        else:
            feed.fail(error)

    def subscribed(self, message: Snapshot | Resumed) -> None:
        """Takes the answer to a subscription, or a snapshot that the server sends by itself."""
        feed = self._of(message.sub) if message.id is None else self._asked.pop(message.id, None)
        if feed is None:
            return
        feed.sub = message.sub
        if feed not in self._feeds:  # its iteration ended before the answer came
            self._unsubscribe(feed)
        elif isinstance(message, Snapshot):
            self._show(feed, holds=feed.watched.snapshot(message))
        elif feed.watched.resumed(message):
            feed.failed = 0
        else:
            self._show(feed, holds=False)

    def changed(self, message: Delta) -> None:
        """Takes a delta."""
        if feed := self._of(message.sub):
            self._show(feed, holds=feed.watched.delta(message))

    def _of(self, sub: int) -> Feed | None:
        return next((feed for feed in self._feeds if feed.sub == sub), None)

    def _show(self, feed: Feed, *, holds: bool) -> None:
        if holds:
            feed.failed = 0
            feed.changed.set()
            return
        self._unsubscribe(feed)
        if feed.failed:
            # A server that sends nonsense again and again is not asked in a tight loop.
            self._subscribe_later(feed, 0.0)
        else:
            feed.failed = 1
            self._subscribe(feed)

    def _subscribe(self, feed: Feed) -> None:
        _stop(feed)
        key = self._next_id()
        self._asked[key] = feed
        self._send(feed.watched.subscribe(key))

    def _subscribe_later(self, feed: Feed, seconds: float) -> None:
        delay = seconds + full_jitter(feed.failed, self._jitter)
        feed.failed += 1
        feed.again = asyncio.get_running_loop().call_later(delay, self._subscribe, feed)

    def _unsubscribe(self, feed: Feed) -> None:
        _stop(feed)
        if feed.sub is not None:
            self._send(Unsubscribe(self._next_id(), feed.sub))
            feed.sub = None


def _stop(feed: Feed) -> None:
    if feed.again is not None:
        feed.again.cancel()
        feed.again = None
