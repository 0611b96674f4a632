"""The outbox by itself: what it lets go, in which order, and when."""

from hypothesis import given
from hypothesis import strategies as st

from channels.outbox import Outbox
from channels.protocol import CastVote, Ping, Retract


def vote(key: int, item: str = "") -> CastVote:
    return CastVote(key, "songs", item or f"item{key}", "up")


def filled(size: int, *messages: CastVote | Retract | Ping) -> Outbox:
    outbox = Outbox(size, lambda: 0.0)
    for message in messages:
        outbox.add(message)
    return outbox


def ids(outbox: Outbox, now: float = 0.0) -> list[str | int]:
    return [message.id for message in outbox.take(now)]


def test_everything_goes_at_once_and_only_once() -> None:
    outbox = filled(10, vote(1), Retract(2, "songs", "b"), Ping(3))
    assert ids(outbox) == [1, 2, 3]
    assert ids(outbox) == []


def test_messages_on_one_ballot_go_one_after_another() -> None:
    outbox = filled(10, vote(1, "a"), Retract(2, "songs", "a"), vote(3, "b"), vote(4, "a"))
    assert ids(outbox) == [1, 3]
    outbox.settle(1)
    assert ids(outbox) == [2]
    outbox.settle(4)  # nobody waits for it any more
    outbox.settle(2)
    assert ids(outbox) == []


def test_a_lost_connection_sends_what_was_under_way_again_in_order() -> None:
    outbox = filled(10, vote(1), vote(2), vote(3))
    assert ids(outbox) == [1, 2, 3]
    outbox.settle(2)
    outbox.add(vote(4))
    outbox.lose()
    assert ids(outbox) == [1, 3, 4]


def test_a_refusal_makes_everything_wait() -> None:
    outbox = filled(10, vote(1), vote(2))
    assert ids(outbox) == [1, 2]
    outbox.refuse(1, now=5.0, retry_after=2.0)
    outbox.refuse(2, now=5.5, retry_after=2.0)
    outbox.add(vote(3))
    assert outbox.pause(5.5) == 1.5
    assert ids(outbox, 6.9) == []
    assert outbox.pause(7.0) == 0.0
    assert ids(outbox, 7.0) == [1]


def test_less_is_under_way_after_a_refusal_and_more_again_after_answers() -> None:
    outbox = filled(8, *map(vote, range(20)))
    assert len(ids(outbox)) == 8
    for key in range(8):
        outbox.refuse(key, now=0.0, retry_after=1.0)
    widths = []
    key = 20
    for _ in range(60):
        under_way = ids(outbox, 1.0)
        widths.append(len(under_way))
        for name in under_way:
            outbox.settle(int(name))
            outbox.add(vote(key))
            key += 1
    assert widths[0] == 4
    assert widths == sorted(widths)
    assert widths[-1] == 8


def test_refusals_in_a_row_wait_longer_until_something_is_taken() -> None:
    outbox = Outbox(10, lambda: 1.0)
    outbox.add(vote(1))
    now, pauses = 0.0, []
    for _ in range(3):
        assert ids(outbox, now) == [1]
        outbox.refuse(1, now, 1.0)
        pauses.append(outbox.pause(now))
        now += outbox.pause(now)
    assert [round(pause, 6) for pause in pauses] == [1.1, 1.2, 1.4]
    ids(outbox, now)
    outbox.settle(1)
    outbox.add(vote(2))
    ids(outbox, now)
    outbox.refuse(2, now, 1.0)
    assert round(outbox.pause(now), 6) == 1.1


@given(st.lists(st.tuples(st.sampled_from("avrlx"), st.integers(0, 4)), max_size=80), st.integers(1, 6))
def test_whatever_happens_nothing_is_lost_doubled_or_overtaken(steps: list[tuple[str, int]], size: int) -> None:
    outbox = Outbox(size, lambda: 0.5)
    open_: dict[int, CastVote] = {}
    under_way: list[int] = []
    now = 0.0
    for key, (step, choice) in enumerate(steps):
        match step:
            case "a" | "v":
                open_[key] = vote(key, "abcde"[choice])
                outbox.add(open_[key])
            case "r" if under_way:
                outbox.refuse(under_way.pop(choice % len(under_way)), now, 0.25)
            case "l":
                outbox.lose()
                under_way = []
            case "x" if open_:
                gone = sorted(open_)[choice % len(open_)]
                outbox.settle(gone)
                del open_[gone]
                under_way = [other for other in under_way if other != gone]
        now += 0.1
        sent = [int(message.id) for message in outbox.take(now)]
        assert not set(sent) & set(under_way)
        under_way += sent
        assert len(under_way) <= size
        items = [open_[other].item for other in under_way]
        assert len(items) == len(set(items))
        for other in under_way:
            # Nothing on the same ballot came before it and is still unanswered.
            assert not [older for older in open_ if older < other and open_[older].item == open_[other].item]
    for _ in range(100 * len(steps)):
        if not open_:
            break
        now += 100.0
        sent = [int(message.id) for message in outbox.take(now)]
        under_way += sent
        assert under_way
        outbox.settle(under_way[0])
        del open_[under_way.pop(0)]
    assert not open_
