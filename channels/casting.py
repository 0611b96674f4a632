"""What a client wants to say as messages, refused at once where no server could take them. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from channels.codec import Codec, Invalid
from channels.errors import PlauditError
from channels.frames import MAX_SIZE
from channels.protocol import CastVote, Choice, ClientMessage, Retract


class Vote(NamedTuple):
    """One vote; `choice` is "up", "down" or the ballot's integer value."""

    board: str
    item: str
    choice: Choice | int
    comment: str | None = None


def cast_vote(message_id: int, vote: Vote) -> CastVote:
    """The message that casts a vote. Raises PlauditError `invalid`."""
    board, item, choice, comment = vote
    up_down, value = (None, choice) if isinstance(choice, int) else (choice, None)
    with as_invalid():
        return CastVote(message_id, board, item, up_down, value, comment)


def retract(message_id: int, board: str, item: str) -> Retract:
    """The message that takes a ballot back. Raises PlauditError `invalid`."""
    with as_invalid():
        return Retract(message_id, board, item)


def check(codec: Codec, message: ClientMessage) -> None:
    """Raises PlauditError, `invalid` or `too_large`, for a message that would be refused at every try."""
    with as_invalid():
        payload = codec.encode(message)
    if len(payload) > MAX_SIZE:
        raise PlauditError("too_large", f"a message holds at most {MAX_SIZE} bytes")
    [checked] = codec.decode(payload)
    if isinstance(checked, Invalid):
        raise PlauditError("invalid", checked.message)


@contextmanager
def as_invalid() -> Iterator[None]:
    """Makes of what can be in no message (a lone surrogate, a number too large) the contract's error."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise PlauditError("invalid", str(error)) from error
