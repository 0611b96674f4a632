"""The state of one watched board at a client: what to ask for, what came, whether it still holds. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from channels.casting import as_invalid
from channels.delta import apply
from channels.protocol import DEFAULT_SPAN, Delta, Entry, Resumed, Snapshot, Subscribe
from channels.ranking import View
from channels.wire import Label, change_of, entry_of, label_of, view_of
from storage.types import Window


class BoardView(Struct, frozen=True):
    """A board as a watcher sees it: entries in ranking order, in state (epoch, version); `total` counts its items."""

    board: str
    window: Window
    epoch: str
    version: int
    total: int
    entries: list[Entry]


class Watched:
    """One subscription and the view that it holds, None until a snapshot came. Raises PlauditError `invalid`."""

    def __init__(
        self,
        board: str,
        window: Window = "all",
        top: int | None = None,
        items: Sequence[str] | None = None,
        around: str | None = None,
        span: int = DEFAULT_SPAN,
    ) -> None:
        with as_invalid():
            self._ask = Subscribe(0, board, window, top, None if items is None else list(items), around, span)
        self._top = items is None and around is None
        self._labels: dict[str, Label] = {}
        self.view: View | None = None

    def subscribe(self, message_id: int) -> Subscribe:
        """The message that starts the subscription, or resumes it where a view is held."""
        ask, view = self._ask, self.view
        epoch, version = (None, None) if view is None else (view.epoch, view.version)
        return Subscribe(message_id, ask.board, ask.window, ask.top, ask.items, ask.around, ask.span, epoch, version)

    def snapshot(self, message: Snapshot) -> bool:
        """Takes the whole view anew. False where its digest does not hold; the view is then dropped."""
        self._labels.clear()
        return self._hold(view_of(message, top=self._top), message)

    def resumed(self, message: Resumed) -> bool:
        """Whether the view that is held stands, as the server says. Where it is another one, it is dropped."""
        view = self.view
        if view is not None and (view.epoch, view.version) != (message.epoch, message.version):
            self.view = None
        return self.view is not None

    def delta(self, message: Delta) -> bool:
        """Takes a change. False where it does not fit the view that is held; the view is then dropped."""
        if self.view is None or message.prev != self.view.version:
            self.view = None
            return False
        return self._hold(apply(change_of(message, self.view), self.view), message)

    def board(self) -> BoardView | None:
        """What to show, None while there is no view."""
        view = self.view
        if view is None:
            return None
        entries = [entry_of(row, self._labels.get(item)) for item, row in view.rows.items()]
        return BoardView(self._ask.board, self._ask.window, view.epoch, view.version, view.total, entries)

    def _hold(self, view: View, message: Snapshot | Delta) -> bool:
        for entry in message.entries:
            if label := label_of(entry):
                self._labels[entry.item] = label
        # What left comes with its label again should it return.
        for item in self._labels.keys() - view.rows.keys():
            del self._labels[item]
        self.view = view if view.digest == message.digest else None
        return self.view is not None
