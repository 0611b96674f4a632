"""How old what a delta shows is."""

from loadtests.checks import Rise
from loadtests.report import Beacon


def test_the_oldest_vote_that_a_delta_shows_first() -> None:
    beacon = Beacon()
    for ballots, sent in ((3, 10.0), (4, 11.0), (5, 12.0)):
        beacon.voted("b", "x", ballots, sent)
    beacon.voted("b", "y", 8, 10.5)
    assert beacon.oldest("b", [Rise("x", 3, 5)]) == 11.0
    assert beacon.oldest("b", [Rise("x", 2, 9)]) == 10.0
    assert beacon.oldest("b", [Rise("x", 4, 5), Rise("y", 0, 8)]) == 10.5
    assert beacon.oldest("b", [Rise("x", 5, 9), Rise("z", 0, 1)]) is None
    assert beacon.oldest("c", [Rise("x", 0, 9)]) is None
    assert beacon.oldest("b", []) is None


def test_the_beacon_forgets() -> None:
    beacon = Beacon()
    for ballots in range(1, 2001):
        beacon.voted("b", "x", ballots, float(ballots))
    assert beacon.oldest("b", [Rise("x", 0, 10**9)]) is None
    assert beacon.oldest("b", [Rise("x", 0, 2000)]) == 1489.0
