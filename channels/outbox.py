"""What a client said and got no answer to: what to send now, what waits, and until when. Pure.

Messages about one ballot go one at a time, each after the answer to the one before: a vote that has to be sent
again then never overtakes a later one. A server that refuses for now gets nothing until its pause is over, and
half as much at once from then on; with each answer that grows again.
"""

from collections import deque
from collections.abc import Callable

from channels.backoff import full_jitter
from channels.protocol import CastVote, Ping, Retract

Message = CastVote | Retract | Ping


class Outbox:
    """Unanswered messages by their ids. `now` is in seconds, of a clock that never goes back.

    At most `size` of them are under way at once. `jitter` gives numbers in [0, 1).
    """

    def __init__(self, size: int, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._size = size
        self._window = float(size)
        self._messages: dict[int, Message] = {}
        self._lines: dict[tuple[str, str], deque[int]] = {}
        self._ready: deque[int] = deque()
        self._under_way: set[int] = set()
        self._pauses = 0
        self._paused_until = 0.0

    def add(self, message: Message) -> None:
        """Takes a message. Its id is a number higher than those of the ones before."""
        key = int(message.id)
        self._messages[key] = message
        if not isinstance(message, Ping):
            line = self._lines.setdefault((message.board, message.item), deque())
            line.append(key)
            if line[0] != key:
                return
        self._ready.append(key)

    def settle(self, key: int) -> None:
        """Forgets a message: it was answered, or nobody waits for the answer any more."""
        message = self._messages.pop(key)
        if key in self._under_way:
            self._under_way.remove(key)
            self._pauses = 0
            self._window = min(self._size, self._window + 1 / self._window)
        if not isinstance(message, Ping):
            self._leave_line((message.board, message.item), key)

    def _leave_line(self, ballot: tuple[str, str], key: int) -> None:
        line = self._lines[ballot]
        was_first = line[0] == key
        line.remove(key)
        if not line:
            del self._lines[ballot]
        elif was_first:
            self._ready.append(line[0])

    def refuse(self, key: int, now: float, retry_after: float) -> None:
        """Notes that the server will not have a message for `retry_after` seconds: all of them wait."""
        if now >= self._paused_until:
            # Only the first refusal of a burst says something; the rest were under way with it.
            self._window = max(1.0, len(self._under_way) / 2)
            self._paused_until = now + retry_after + full_jitter(self._pauses, self._jitter)
            self._pauses += 1
        self._under_way.discard(key)
        self._ready.append(key)

    def lose(self) -> None:
        """Notes that the connection is gone: what was under way is to be sent again, in its order."""
        self._ready = deque(sorted({*self._under_way, *self._ready}))
        self._under_way.clear()

    def take(self, now: float) -> list[Message]:
        """The messages to send now; they are under way from here on."""
        taken: list[Message] = []
        while self._ready and now >= self._paused_until and len(self._under_way) < int(self._window):
            key = self._ready.popleft()
            # One that was settled before its turn came is gone.
            if key in self._messages:
                self._under_way.add(key)
                taken.append(self._messages[key])
        return taken

    def pause(self, now: float) -> float:
        """Seconds until anything may be sent; 0 outside a pause."""
        return max(0.0, self._paused_until - now)
