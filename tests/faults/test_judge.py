"""The judge finds every kind of broken promise: an audit that never complains proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.faults.judge import Facts, Screen, Shown, Verdict, judge
from tests.faults.load import Ballots
from tests.faults.memory import Attempt, Key, Memory
from tests.faults.model import Event
from tests.faults.watcher import digest

NOW = datetime(2026, 6, 16, 12, 0, 30, tzinfo=UTC)
BALLOTS = Ballots("final", "free", ("x", "y"))
ANN, BOB = Key("ann", "final", "x"), Key("bob", "free", "x")
WINDOWS = ("all", "day", "week", "month", "trending")


def memory(*more: Attempt) -> Memory:
    """Ann has voted up, twice; Bob has given 5 and then 7."""
    found = Memory()
    attempts = [
        Attempt(ANN, 1, "applied", 11),
        Attempt(ANN, 1, "unchanged"),
        Attempt(BOB, 5, "applied", 12),
        Attempt(BOB, 7, "changed", 13),
        *more,
    ]
    for attempt in attempts:
        found.attempts[attempt.key].append(attempt)
    return found


def facts() -> Facts:
    """What stores and screens must hold then."""
    events = [
        Event(11, NOW, ANN, 1, None, 100),
        Event(12, NOW, BOB, 5, None, 500),
        Event(13, NOW, BOB, 7, 5, 200),
    ]
    rows = {
        "final": [Shown("x", 1, 100, 1, 0), Shown("y", 2, 0, 0, 0)],
        "free": [Shown("x", 1, 700, 1, 0), Shown("y", 2, 0, 0, 0)],
    }
    return Facts(
        ballots=BALLOTS,
        began=10,
        epoch="e",
        live_seq=13,
        seqs=[11, 12, 13],
        announced=0,
        may_lose=False,
        events=events,
        votes={ANN: (1, 11), BOB: (7, 13)},
        live={ANN: 1, BOB: 7},
        kept={
            ("final", "x"): (100, 1, 0),
            ("final", "y"): (0, 0, 0),
            ("free", "x"): (700, 1, 0),
            ("free", "y"): (0, 0, 0),
        },
        shown={("first", board, window): rows[board] for board in rows for window in WINDOWS},
        screens=[Screen("final", (), "e", digest({"x": 1, "y": 0})), Screen("free", (), "e", digest({"x": 7, "y": 0}))],
        now=NOW,
    )


def test_a_round_without_a_fault_is_clean() -> None:
    verdict = judge(facts(), memory())
    assert verdict == Verdict()
    assert verdict.clean


def without_first(found: Facts) -> Facts:
    return replace(found, events=found.events[1:], seqs=[12, 13])


def with_an_event(value: int) -> Callable[[Facts], Facts]:
    """One more that takes Bob from 7 to `value`."""

    def doctored(found: Facts) -> Facts:
        event = Event(14, NOW, BOB, value, 7, 100 * (value - 7))
        return replace(found, events=[*found.events, event], seqs=[*found.seqs, 14], live_seq=14)

    return doctored


def shows(window: str, *rows: Shown) -> Callable[[Facts], Facts]:
    return lambda found: replace(found, shown=dict(found.shown) | {("first", "free", window): rows})


LOST = [
    without_first,
    lambda found: replace(found, events=[replace(found.events[0], value=-1), *found.events[1:]]),
    lambda found: replace(found, events=[replace(found.events[0], key=BOB), *found.events[1:]]),
]
DOUBLED = [
    with_an_event(5),
    with_an_event(9),
    lambda found: replace(found, seqs=[11, 12, 12, 13]),
    lambda found: replace(found, events=[*found.events, replace(found.events[0], seq=14, previous=1, points=0)]),
]
DIVERGED = [
    lambda found: replace(found, seqs=[11, 13]),
    lambda found: replace(found, announced=1),
    lambda found: replace(found, live_seq=12),
    lambda found: replace(found, live_seq=14),
    lambda found: replace(found, stuck=1),
    lambda found: replace(found, events=[*found.events[:2], replace(found.events[2], previous=None)]),
    lambda found: replace(found, votes={ANN: (1, 11), BOB: (5, 12)}),
    lambda found: replace(found, votes={ANN: (1, 11), BOB: (7, 12)}),
    lambda found: replace(found, votes={ANN: (1, 11)}),
    lambda found: replace(found, live={ANN: 1}),
    lambda found: replace(found, live=dict(found.live) | {Key("cyd", "free", "y"): 1}),
    lambda found: replace(found, kept=dict(found.kept) | {("free", "x"): (700, 0, 1)}),
    shows("all"),
    shows("day", Shown("x", 1, 699, 1, 0), Shown("y", 2, 0, 0, 0)),
    shows("week", Shown("x", 1, 700, 0, 1), Shown("y", 2, 0, 0, 0)),
    shows("month", Shown("x", 1, 700, 1, 0), Shown("y", 1, 0, 0, 0)),
    shows("all", Shown("y", 2, 0, 0, 0), Shown("x", 1, 700, 1, 0)),
    shows("trending"),
    shows("trending", Shown("x", 1, 750, 1, 0), Shown("y", 2, 0, 0, 0)),
    lambda found: replace(found, screens=[Screen("free", (), "e", digest({"x": 6, "y": 0}))]),
    lambda found: replace(found, screens=[Screen("free", (), "lost", digest({"x": 7, "y": 0}))]),
    lambda found: replace(
        found, screens=[Screen("free", ("a delta from 2 back to 1",), "e", digest({"x": 7, "y": 0}))]
    ),
]


@pytest.mark.parametrize("doctored", LOST)
def test_a_lost_vote_is_found(doctored: Callable[[Facts], Facts]) -> None:
    assert judge(doctored(facts()), memory()).lost


@pytest.mark.parametrize("doctored", DOUBLED)
def test_a_doubled_vote_is_found(doctored: Callable[[Facts], Facts]) -> None:
    assert judge(doctored(facts()), memory()).doubled


@pytest.mark.parametrize("doctored", DIVERGED)
def test_a_store_or_screen_that_differs_is_found(doctored: Callable[[Facts], Facts]) -> None:
    assert judge(doctored(facts()), memory()).diverged


def test_a_vote_that_was_refused_must_not_count() -> None:
    refused = memory(Attempt(BOB, 9, code="overloaded"))
    assert judge(with_an_event(9)(facts()), refused).doubled


@pytest.mark.parametrize("code", [None, "internal"])
def test_a_vote_that_nobody_answered_may_count_once(code: str | None) -> None:
    doctored = replace(
        with_an_event(9)(facts()),
        votes={ANN: (1, 11), BOB: (9, 14)},
        live={ANN: 1, BOB: 9},
        kept=dict(facts().kept) | {("free", "x"): (900, 1, 0)},
        shown={
            key: [Shown("x", 1, 900, 1, 0), rows[1]] if key[1] == "free" else rows
            for key, rows in facts().shown.items()
        },
        screens=[Screen("free", (), "e", digest({"x": 9, "y": 0}))],
    )
    verdict = judge(doctored, memory(Attempt(BOB, 9, code=code)))
    assert verdict.clean
    assert verdict.untold == 1


def test_a_ballot_is_the_one_acknowledged_last() -> None:
    told = memory(Attempt(BOB, 5, "unchanged"))
    assert judge(facts(), told).lost


def test_two_votes_never_have_the_same_seq() -> None:
    assert judge(facts(), memory(Attempt(BOB, 7, "changed", 13))).doubled


def test_a_quota_below_zero_is_found() -> None:
    told = memory()
    told.negative_quotas = 1
    assert judge(facts(), told).diverged


def test_a_loss_is_forgiven_where_the_store_lost_its_data_and_the_log_tells_the_number() -> None:
    rest = without_first(facts())
    lost = replace(
        rest,
        may_lose=True,
        announced=1,
        votes={BOB: (7, 13)},
        live={BOB: 7},
        kept=dict(rest.kept) | {("final", "x"): (0, 0, 0)},
        shown={
            key: [Shown("x", 1, 0, 0, 0), Shown("y", 1, 0, 0, 0)] if key[1] == "final" else rows
            for key, rows in rest.shown.items()
        },
        screens=[Screen("final", (), "e", digest({"x": 0, "y": 0}))],
    )
    verdict = judge(lost, memory())
    assert verdict.clean
    assert verdict.forfeited == 2
    assert judge(replace(lost, announced=2), memory()).diverged
    assert judge(replace(lost, may_lose=False), memory()).lost
