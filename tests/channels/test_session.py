"""The rules of one connection, on a clock of the test's own."""

import pytest

from channels.codec import Invalid
from channels.errors import FLOODING, NOT_PROTOCOL, PlauditError
from channels.protocol import CastVote, ClientMessage, Hello, Ping, Retract, Subscribe, Unsubscribe
from channels.session import MAX_ROWS, MAX_SUBSCRIPTIONS, ODD_FRAMES, Expelled, Session
from storage.types import AroundView, ItemsView, TopView

VOTE = CastVote(1, "songs", "a", "up")
AFTER_HELLO = [VOTE, Retract(1, "songs", "a"), Subscribe(1, "songs"), Unsubscribe(1, 1), Ping(1)]


def greeted(rate: float = 10, *, agent: bool = True) -> Session:
    session = Session(rate, 0.0)
    session.admit(Hello(1), 0.0)
    session.greeted = True
    session.may_vote = agent
    return session


def refused(session: Session, message: ClientMessage | Invalid, now: float = 0.0) -> PlauditError:
    with pytest.raises(PlauditError) as caught:
        session.admit(message, now)
    return caught.value


@pytest.mark.parametrize("message", [*AFTER_HELLO, Invalid(1, "wrong", "vote")])
def test_nothing_comes_before_hello(message: ClientMessage | Invalid) -> None:
    with pytest.raises(Expelled) as caught:
        Session(10, 0.0).admit(message, 0.0)
    assert caught.value.code == NOT_PROTOCOL


def test_a_hello_that_is_wrong_may_be_said_again() -> None:
    session = Session(10, 0.0)
    assert refused(session, Invalid(7, "`token` is no string", "hello")).code == "invalid"
    session.admit(Hello(8), 0.0)


def test_hello_is_said_once() -> None:
    assert refused(greeted(), Hello(2)).code == "invalid"


@pytest.mark.parametrize("message", AFTER_HELLO)
def test_an_agent_may_do_everything(message: ClientMessage) -> None:
    greeted().admit(message, 0.0)


@pytest.mark.parametrize(
    ("message", "allowed"), [(message, not isinstance(message, CastVote | Retract)) for message in AFTER_HELLO]
)
def test_a_viewer_may_do_all_but_vote(message: ClientMessage, allowed: bool) -> None:
    session = greeted(agent=False)
    if allowed:
        session.admit(message, 0.0)
    else:
        assert refused(session, message).code == "unauthorized"


def test_what_is_wrong_with_a_message_is_said() -> None:
    assert refused(greeted(), Invalid(1, "a vote has no `x`", "vote")).message == "a vote has no `x`"


def test_views_of_one_connection_are_bounded() -> None:
    session = greeted()
    for _ in range(MAX_SUBSCRIPTIONS - 1):
        session.watch(TopView(1))
    session.admit(Subscribe(1, "songs", top=1), 0.0)
    session.watch(TopView(1))
    assert refused(session, Subscribe(1, "songs", top=1)).code == "invalid"
    session.unwatch(TopView(1))
    session.admit(Subscribe(1, "songs", top=1), 0.0)


def test_rows_of_all_views_of_one_connection_are_bounded() -> None:
    session = greeted()
    for view in (TopView(1000), AroundView("a", 499), ItemsView(("a", "b")), TopView(MAX_ROWS - 2001)):
        session.watch(view)
    assert refused(session, Subscribe(1, "songs", top=1)).code == "invalid"
    session.unwatch(ItemsView(("a", "b")))
    session.admit(Subscribe(1, "songs", items=["a", "b"]), 0.0)


def test_numbers_are_never_given_twice() -> None:
    session = greeted()
    assert [session.next_number() for _ in range(3)] == [1, 2, 3]


def test_a_seconds_worth_may_come_at_once_and_the_next_is_too_fast() -> None:
    session = greeted(rate=5)  # whose hello was the first of five
    for _ in range(4):
        session.admit(VOTE, 0.0)
    error = refused(session, VOTE)
    assert (error.code, error.temporary, error.retry_after_ms) == ("too_fast", True, 1000)
    # After as long as it was told to wait, even a session that was refused several times goes on.
    for _ in range(3):
        refused(session, VOTE)
    session.admit(VOTE, 1.0)


def test_a_steady_pace_at_the_rate_is_never_too_fast() -> None:
    session = greeted(rate=5)
    for n in range(100):
        session.admit(VOTE, n / 5)


def test_patience_is_not_saved_up() -> None:
    session = greeted(rate=5)
    for _ in range(5):
        session.admit(VOTE, 1000.0)
    assert refused(session, VOTE, 1000.0).code == "too_fast"


def test_a_viewers_votes_and_wrong_messages_count_too() -> None:
    session = greeted(rate=3, agent=False)
    assert refused(session, VOTE).code == "unauthorized"
    assert refused(session, Invalid(1, "wrong", "vote")).code == "invalid"
    assert refused(session, Ping(1)).code == "too_fast"


def test_a_second_seconds_worth_on_top_is_flooding() -> None:
    session = greeted(rate=5)
    for _ in range(4):
        session.admit(VOTE, 0.0)
    for _ in range(5):
        assert refused(session, VOTE).code == "too_fast"
    with pytest.raises(Expelled) as caught:
        session.admit(VOTE, 0.0)
    assert caught.value.code == FLOODING


def test_frames_that_are_no_messages_count_too() -> None:
    session = greeted(rate=2 * ODD_FRAMES)
    session.weigh(2 * ODD_FRAMES, 0.0)
    assert refused(session, VOTE, 0.0).code == "too_fast"
    session.weigh(3 * ODD_FRAMES, 1.0)
    with pytest.raises(Expelled) as caught:
        session.weigh(ODD_FRAMES, 1.0)
    assert caught.value.code == FLOODING


def test_who_may_send_few_messages_may_send_other_frames() -> None:
    session = greeted(rate=5)
    session.weigh(ODD_FRAMES // 5, 0.0)
    for _ in range(3):
        session.admit(VOTE, 0.0)
    assert refused(session, VOTE, 0.0).code == "too_fast"
