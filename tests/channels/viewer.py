"""A member of a room that believes nothing: it reads what it is sent and holds each message to the contract."""

import zlib

from channels.codec import JSON, Codec
from channels.delta import apply
from channels.frames import DEFLATED
from channels.protocol import Delta, Resumed, ServerMessage, Snapshot
from channels.ranking import View
from channels.wire import Label, change_of, label_of, view_of


class Viewer:
    """What a client with one subscription has been shown."""

    def __init__(self, codec: Codec = JSON, *, top: bool = True) -> None:
        self.codec = codec
        self.blocked = False
        self.watched = 50
        self.top = top
        self.view: View | None = None
        self.labels: dict[str, Label | None] = {}
        self.frames: list[bytes] = []
        self.messages: list[ServerMessage] = []

    @property
    def transport(self) -> "Viewer":
        return self

    def write(self, frame: bytes) -> None:
        assert not self.blocked, "nothing is written to a member whose buffer is full"
        self.frames.append(frame)
        assert self.codec.deflates or not frame[0] & DEFLATED, "nothing is compressed for who did not agree to it"
        for message in self.codec.decode_server(payload(frame)):
            self.messages.append(message)
            self.take(message)

    def take(self, message: ServerMessage) -> None:
        """Applies a message as the contract says."""
        match message:
            case Snapshot():
                assert self.view is None or self.view.epoch != message.epoch or self.view.version <= message.version
                self.view = view_of(message, top=self.top)
                self.labels = {entry.item: label_of(entry) for entry in message.entries}
                assert self.view.digest == message.digest
            case Resumed():
                assert self.view is not None
                assert (self.view.epoch, self.view.version) == (message.epoch, message.version)
            case Delta():
                assert self.view is not None
                assert message.prev == self.view.version < message.version
                entered = [entry for entry in message.entries if entry.item not in self.view.rows]
                self.view = apply(change_of(message, self.view), self.view)
                assert self.view.digest == message.digest
                self.labels.update({entry.item: label_of(entry) for entry in entered})
                for item in message.left:
                    self.labels.pop(item, None)
            case _:
                raise AssertionError(message)


def payload(frame: bytes) -> bytes:
    """What a server's whole frame carries."""
    carried = frame[{126: 4, 127: 10}.get(frame[1], 2) :]
    return zlib.decompress(carried + b"\0\0\xff\xff\x03\0", -15) if frame[0] & DEFLATED else carried
