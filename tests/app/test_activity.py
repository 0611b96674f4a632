"""Votes a second."""

from app.activity import SPAN, Activity


def test_votes_are_the_mean_of_the_last_whole_seconds() -> None:
    now = 100.2
    activity = Activity(lambda: now)
    activity.voted({1: 4, 2: 1})
    activity.voted({1: 6})
    # The second that is not over yet would show too few.
    assert activity.votes_per_second(1) == 0
    now = 101.0
    assert activity.votes_per_second(1) == 2
    assert activity.votes_per_second(2) == 0.2
    activity.voted({1: 5})
    now = 100 + SPAN + 0.9
    assert activity.votes_per_second(1) == 3
    now = 101 + SPAN
    assert activity.votes_per_second(1) == 1
    now = 102 + SPAN
    assert activity.votes_per_second(1) == 0
    assert activity.votes_per_second(9) == 0


def test_it_forgets_what_is_long_ago() -> None:
    now = 0.0
    activity = Activity(lambda: now)
    for second in range(1000):
        now = float(second)
        activity.voted({1: 5})
    now += 1
    assert activity.votes_per_second(1) == 5
    assert len(activity._votes[1]) <= SPAN + 1


def test_viewers_are_as_told_last() -> None:
    activity = Activity(lambda: 0.0)
    activity.watched({1: 3, 2: 1})
    activity.watched({1: 2})
    assert (activity.viewers(1), activity.viewers(2)) == (2, 0)
