"""Everything that a server may get wrong is seen, and nothing else is complained of."""

from collections.abc import Callable

import pytest

from channels.protocol import Ack, CastVote, ClientMessage, Delta, Entry, Error, Ping, Resumed, Retract, Snapshot
from loadtests.checks import PATIENCE, Answers, CheckFailed, Pending, Rise, Watch, check_ack, check_error
from tests.loadtests.boards import delta, snapshot, view

OLD = view(7, x=3, y=2, z=0)
NEW = view(9, x=3, y=4, z=0)


@pytest.fixture
def watch() -> Watch:
    """A view that holds OLD."""
    watch = Watch("b", top=50)
    watch.snapshot(snapshot(OLD))
    return watch


def test_what_is_right_is_taken(watch: Watch) -> None:
    assert watch.delta(delta(OLD, NEW)) == [Rise("y", 2, 4)]
    assert watch.view == NEW
    resumption = watch.subscribe(5)
    assert (resumption.top, resumption.epoch, resumption.version) == (50, "e1", 9)
    watch.resumed(Resumed(5, 2, "e1", 9))
    # A rebuilt board begins again, at any version.
    watch.snapshot(snapshot(view(1, epoch="e2", x=3), None))
    assert watch.view == view(1, epoch="e2", x=3)


def _entry(message: Delta | Snapshot, place: int, **other: int) -> None:
    entry = message.entries[place]
    fields = {name: getattr(entry, name) for name in Entry.__struct_fields__} | other
    message.entries[place] = Entry(**fields)


@pytest.mark.parametrize(
    ("what", "twist"),
    [
        ("a digest that does not hold", lambda m: setattr(m, "digest", m.digest ^ 1)),
        ("a digest that does not hold", lambda m: _entry(m, 0, score=5)),
        ("a digest that does not hold", lambda m: m.left.append("z")),
        ("a delta that does not start where the last one ended", lambda m: setattr(m, "prev", 8)),
        ("a version that did not rise", lambda m: setattr(m, "version", 7)),
        ("a rank that does not follow from the scores", lambda m: _entry(m, 0, rank=2)),
        ("more or fewer entries than the view has", lambda m: setattr(m, "total", 4)),
    ],
)
def test_a_wrong_delta(watch: Watch, what: str, twist: Callable[[Delta], None]) -> None:
    message = delta(OLD, NEW)
    twist(message)
    with pytest.raises(CheckFailed, match=f"^{what}$"):
        watch.delta(message)
    assert watch.view is None
    with pytest.raises(CheckFailed, match="before any snapshot"):
        watch.delta(message)


@pytest.mark.parametrize(
    ("what", "twist"),
    [
        ("a digest that does not hold", lambda m: setattr(m, "digest", 0)),
        ("a snapshot of something else than was asked for", lambda m: setattr(m, "window", "day")),
        ("a ranking out of order, or with wrong ranks", lambda m: m.entries.reverse()),
        ("a ranking out of order, or with wrong ranks", lambda m: _entry(m, 2, rank=2)),
        ("an item twice in one snapshot", lambda m: m.entries.append(m.entries[0])),
        ("more or fewer entries than the view has", lambda m: setattr(m, "total", 50)),
        ("a version went back", lambda m: setattr(m, "version", 6)),
    ],
)
def test_a_wrong_snapshot(watch: Watch, what: str, twist: Callable[[Snapshot], None]) -> None:
    message = snapshot(NEW, None)
    twist(message)
    with pytest.raises(CheckFailed, match=f"^{what}$"):
        watch.snapshot(message)
    assert watch.view is None


def test_resumed_from_elsewhere(watch: Watch) -> None:
    with pytest.raises(CheckFailed, match="not held"):
        watch.resumed(Resumed(1, 1, "e1", 8))


def test_views_of_chosen_items() -> None:
    some = Watch("b", items=["x", "z"])
    with pytest.raises(CheckFailed, match="more or fewer entries"):
        some.snapshot(snapshot(OLD))
    around = Watch("b", around="w")
    with pytest.raises(CheckFailed, match="not in it"):
        around.snapshot(snapshot(OLD))


VOTE = Pending(CastVote(1, "b", "x", "up"), 100.0, frozenset({"applied"}), frozenset(), 40)


def test_answers_come_once() -> None:
    answers = Answers()
    assert answers.next_id() == 1
    answers.expect(VOTE)
    assert answers.take(1) is VOTE
    with pytest.raises(CheckFailed, match="a second answer"):
        answers.take(1)
    for unknown in (2, "1", None, 0):
        with pytest.raises(CheckFailed, match="never sent"):
            answers.take(unknown)


def test_answers_that_are_late() -> None:
    answers = Answers()
    answers.next_id()
    answers.expect(VOTE)
    assert answers.overdue(100.0 + PATIENCE) == []
    assert answers.overdue(100.1 + PATIENCE) == [VOTE]
    assert answers.overdue(200.0) == []
    assert answers.take(1) is None
    with pytest.raises(CheckFailed, match="a second answer"):
        answers.take(1)


def test_votes_are_sent_again_and_may_have_counted() -> None:
    answers = Answers()
    messages: list[ClientMessage] = [
        CastVote(answers.next_id(), "b", "x", "up"),
        Retract(answers.next_id(), "b", "y"),
        Ping(answers.next_id()),
    ]
    for message, status in zip(messages, ("applied", "retracted", ""), strict=True):
        answers.expect(Pending(message, 1.0, frozenset({status})))
    assert answers.again(5.0) == messages[:2]
    vote, retraction = answers.take(1), answers.take(2)
    assert vote is not None
    assert retraction is not None
    assert (vote.sent, vote.statuses) == (5.0, frozenset({"applied", "unchanged"}))
    assert (retraction.statuses, retraction.codes) == (frozenset({"retracted"}), frozenset({"no_ballot"}))
    assert answers.waiting == 0


@pytest.mark.parametrize(
    ("status", "seq", "what"),
    [
        ("unchanged", None, "acknowledged as unchanged"),
        ("applied", None, "a seq where nothing"),
        ("applied", 40, "did not rise"),
    ],
)
def test_a_wrong_ack(status: str, seq: int | None, what: str) -> None:
    check_ack(Ack(1, "applied", 41, 1, 1, 0, None), VOTE)
    with pytest.raises(CheckFailed, match=what):
        check_ack(Ack(1, status, seq, 1, 1, 0, None), VOTE)  # type: ignore[arg-type]  # a status of the protocol


def test_a_wrong_error() -> None:
    final = VOTE._replace(statuses=frozenset(), codes=frozenset({"already_voted"}))
    check_error(Error(1, "already_voted", "", temporary=False), final)
    with pytest.raises(CheckFailed, match="refused as overloaded"):
        check_error(Error(1, "overloaded", "", temporary=True), final)
