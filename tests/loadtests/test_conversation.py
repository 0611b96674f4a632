"""One client's messages over several connections: what is reported, and what is asked again."""

from typing import Any

import pytest

from channels.protocol import (
    Ack,
    CastVote,
    Delta,
    Error,
    Ping,
    Pong,
    Resumed,
    ServerMessage,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from loadtests.checks import PATIENCE, CheckFailed, Watch
from loadtests.conversation import Conversation
from loadtests.report import Beacon, Report
from tests.loadtests.boards import delta, snapshot, view

OLD = view(7, x=3, y=2)
NEW = view(9, x=3, y=4)


class Client:
    """A conversation of a viewer of the board b, after its welcome, and everything that it reported."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, float | None, str | None]] = []
        self.beacon = Beacon()
        self.conversation = Conversation(Report(self._fire), self.beacon, [Watch("b", top=50)])
        hello = self.conversation.hello(None, None, 0.0)
        assert self.conversation.welcomed(Welcome(hello.id, "s", None, None, None, 25, 0), agent=False)

    def _fire(self, *, name: str, response_time: float | None, exception: Exception | None, **_: Any) -> None:
        self.lines.append((name, response_time, str(exception) if exception else None))

    def begin(self, now: float) -> int:
        """Starts a connection; answers the id of its subscription."""
        [ask] = self.conversation.begin(now)
        assert isinstance(ask, Subscribe)
        return int(ask.id)

    def watching(self) -> "Client":
        self.take(snapshot(OLD, self.begin(1.0)), 1.5)
        self.lines.clear()
        return self

    def take(self, message: ServerMessage, now: float = 2.0) -> list[Any]:
        return self.conversation.take(message, now, 0)

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [(name, error) for name, _, error in self.lines if error]


def test_times_have_names() -> None:
    client = Client()
    client.take(snapshot(OLD, client.begin(1.0)), 1.5)
    ping = Ping(client.conversation.next_id())
    client.conversation.expect(ping, 2.0)
    client.take(Pong(ping.id, 0), 2.25)
    client.beacon.voted("b", "y", 3, 2.5)
    client.beacon.voted("b", "y", 4, 2.625)
    client.take(delta(OLD, NEW), 3.0)
    assert client.lines == [
        ("subscribe", 500, None),
        ("ping", 250, None),
        ("delta", None, None),
        ("delta age", 500, None),
    ]


def test_a_reconnect_is_timed_from_the_loss_to_the_last_view() -> None:
    client = Client().watching()
    client.conversation.lost(10.0)
    client.conversation.end(11.0)
    message = client.begin(12.0)
    client.take(Resumed(message, 1, "e1", 7), 13.0)
    client.take(delta(OLD, NEW), 14.0)
    assert client.lines == [("catch-up after reconnect", 3000, None), ("delta", None, None)]


def test_who_has_diverged_subscribes_again() -> None:
    client = Client().watching()
    wrong = delta(OLD, NEW)
    wrong.digest ^= 1
    leave, ask = client.take(wrong)
    assert client.failures == [("delta", "a digest that does not hold")]
    assert isinstance(leave, Unsubscribe)
    assert isinstance(ask, Subscribe)
    assert (leave.sub, ask.version) == (1, None)
    client.take(wrong)  # on its way when the client left
    client.take(Ack(leave.id, "unchanged", None, None, None, None, None))
    client.take(snapshot(NEW, int(ask.id), sub=2))
    assert len(client.failures) == 1
    with pytest.raises(CheckFailed, match="of no subscription"):
        client.take(wrong)


def test_a_wrong_snapshot_ends_the_connection() -> None:
    client = Client()
    wrong = snapshot(OLD, client.begin(1.0))
    wrong.digest ^= 1
    with pytest.raises(CheckFailed, match="digest"):
        client.take(wrong)


def test_a_snapshot_in_place_of_deltas() -> None:
    client = Client().watching()
    client.take(snapshot(NEW, None))
    client.take(delta(NEW, view(10, x=5, y=4)))
    assert [name for name, _, _ in client.lines] == ["snapshot in place of deltas", "delta"]


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Welcome(1, "s", None, None, None, 25, 0), "a second welcome"),
        (Error(None, "internal", "", temporary=True), "an error about no message: internal"),
        (snapshot(OLD, 999), "never sent"),
        (snapshot(OLD, None, sub=7), "of no subscription"),
        (delta(OLD, NEW, sub=7), "of no subscription"),
    ],
)
def test_messages_that_nobody_asked_for(message: Snapshot | Delta | Error | Welcome, what: str) -> None:
    with pytest.raises(CheckFailed, match=what):
        Client().watching().take(message)


def test_votes_are_reported_right_or_wrong() -> None:
    client = Client().watching()
    seen: list[str] = []
    client.conversation._on_answer = lambda pending, answer, now: seen.append(type(answer).__name__)
    for answer in (
        Ack(3, "applied", 5, 1, 1, 0, None),
        Ack(4, "applied", 5, 1, 1, 0, None),
        Error(5, "overloaded", "", temporary=True),
        Ack(3, "applied", 5, 1, 1, 0, None),
    ):
        if answer.id != 3 or not seen:
            assert client.conversation.next_id() == answer.id
            client.conversation.expect(CastVote(answer.id, "b", "x", "up"), 1.0, ["applied"])
        client.take(answer)
    assert client.lines[0] == ("vote ack", 1000, None)
    assert client.failures == [
        ("vote ack", "a seq that did not rise"),
        ("vote ack", "refused as overloaded"),
        ("answer", "a second answer to one message"),
    ]
    assert seen == ["Ack", "Ack", "Error"]


def test_a_question_answered_by_something_else() -> None:
    client = Client()
    client.take(Error(client.begin(1.0), "unknown_board", "", temporary=False))
    assert client.failures == [("answer to Subscribe", "answered by unknown_board")]


def test_what_is_missing_is_reported_once() -> None:
    client = Client().watching()
    client.conversation.expect(Ping(client.conversation.next_id()), 2.0)
    client.conversation.expect_shown("b", "y", 3, 2.0)
    client.conversation.expect_shown("b", "nowhere", 3, 2.0)
    client.conversation.sweep(2.0 + PATIENCE)
    assert client.failures == []
    client.conversation.sweep(2.1 + PATIENCE)
    client.conversation.sweep(99.0)
    assert client.failures == [
        ("answer to Ping", "no answer within 10 seconds"),
        ("delta", "an acknowledged vote not shown within 10 seconds"),
    ]


def test_a_vote_that_was_shown_is_not_missing() -> None:
    client = Client().watching()
    client.conversation.expect_shown("b", "y", 3, 2.0)
    client.take(delta(OLD, NEW))
    client.conversation.sweep(99.0)
    assert client.failures == []


def test_a_viewer_is_not_taken_for_an_agent() -> None:
    with pytest.raises(CheckFailed, match="without its welcome"):
        Client().conversation.welcomed(Welcome(1, "s", "somebody", "free", 100, 25, 0), agent=False)
